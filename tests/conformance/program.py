"""An agent as a program of its own: started on a free port, waited for, ended."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.process import ROOT, free_port

START_SECONDS = 30.0


@contextmanager
def agent_process(
    command: Sequence[str], port_name: str = "PORT", env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Runs `command` with a free port in its environment; gives the address to ask."""
    port = free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OPENCLAW_")}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**kept, **(env or {}), port_name: str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/rpc/message"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < deadline, "it did not start"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
