"""Measures the gateway beside a bare loop that does the same job: `python -m bench`."""
