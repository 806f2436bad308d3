"""Pi, the bundled agent: it speaks agent protocol v1 over HTTP and imports nothing else of ours."""
