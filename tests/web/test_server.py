"""gateway/server.py as a process: limits, back-pressure, start and stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.process import ROOT, clean_environment, free_port

MEGABYTE = 1024 * 1024
LIMIT = 4 * MEGABYTE  # the default of OPENCLAW_MAX_BODY_BYTES


class Bare:
    """tests/web/bare_server.py, running."""

    def __init__(self, tmp_path: Any, mode: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = tmp_path / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.web.bare_server", str(self.port), mode],
                cwd=ROOT,
                env=clean_environment(tmp_path / "data")
                | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def close(self) -> None:
        """Let go of a process that ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def line(self) -> dict[str, Any]:
        """The next thing it prints."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, self.log.read_text()
        said: dict[str, Any] = json.loads(text)
        return said

    def state(self) -> dict[str, Any]:
        said: dict[str, Any] = httpx.get(f"{self.url}/state").json()
        return said

    def memory(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def comes_to_rest(self, count: str) -> None:
        """Wait until a count of the server's stays as it is."""
        seen = [-1]
        self.until(
            lambda: seen.append(self.state()[count]) or len(set(seen[-10:])) == 1,  # type: ignore[func-returns-value]
            60,
        )


@pytest.fixture
def start(tmp_path: Any) -> Iterator[Callable[..., Bare]]:
    started: list[Bare] = []

    def start(mode: str = "", port: int = 0) -> Bare:
        started.append(Bare(tmp_path, mode, port))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()
        server.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    server = Bare(tmp_path_factory.mktemp("bare"))
    assert server.line()["ready"] == "uvloop"
    yield server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    server.close()


def test_body_up_to_the_limit_is_taken(shared: Bare) -> None:
    answer = httpx.post(f"{shared.url}/body", content=b"x" * LIMIT)
    assert (answer.status_code, answer.text) == (200, str(LIMIT))


def _chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * MEGABYTE


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_body_above_the_limit_is_refused_and_never_buffered(shared: Bare, form: str) -> None:
    before, bodies = shared.memory(), shared.state()["bodies"]
    content = b"x" * (20 * MEGABYTE) if form == "length" else _chunks(20)
    answer = httpx.post(f"{shared.url}/body", content=content)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert shared.state()["bodies"] == bodies
    assert shared.memory() - before < LIMIT + 4 * MEGABYTE


def test_refusal_comes_before_the_body_and_instead_of_100_continue(shared: Bare) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as client:
        client.sendall(
            b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_slow_reader_of_a_response_holds_the_sender_back(shared: Bare) -> None:
    before = shared.memory()
    with httpx.stream("GET", f"{shared.url}/stream") as response:
        shared.until(lambda: shared.state().get("streamed", 0) > 0)
        shared.comes_to_rest("streamed")
        assert shared.state()["streamed"] < 50
        assert shared.memory() - before < 30 * MEGABYTE
        assert sum(len(part) for part in response.iter_raw()) == 200 * MEGABYTE


def test_slow_reader_of_a_websocket_holds_the_sender_back(shared: Bare) -> None:
    before = shared.memory()
    with connect(
        f"ws://127.0.0.1:{shared.port}/pour", max_size=None, max_queue=1, proxy=None
    ) as client:
        shared.until(lambda: "poured" in shared.state())
        shared.comes_to_rest("poured")
        assert shared.state()["poured"] < 50
        assert shared.memory() - before < 30 * MEGABYTE
        assert sum(len(client.recv()) for _ in range(200)) == 200 * MEGABYTE


def test_a_sender_held_back_is_freed_when_its_reader_goes(shared: Bare) -> None:
    with httpx.stream("GET", f"{shared.url}/stream"):
        shared.until(lambda: shared.state().get("streamed", 0) > 0)
    shared.until(lambda: shared.state()["connections"] == 1)


def test_finished_connections_do_not_pile_up(shared: Bare) -> None:
    with httpx.Client() as client:
        for _ in range(300):
            client.post(f"{shared.url}/body", content=b"x")
        assert client.get(f"{shared.url}/state").json()["connections"] <= 3


def test_failing_application_is_answered_at_once_and_logged(shared: Bare) -> None:
    took = []
    with httpx.Client(timeout=30) as client:
        for _ in range(8):
            started = time.monotonic()
            answer = client.get(f"{shared.url}/fail")
            took.append(time.monotonic() - started)
            assert answer.status_code == 500
    # with a look once a second each but the first would take one
    assert min(took[1:]) < 0.9
    assert "a fault in the application" not in answer.text
    assert "LookupError" in shared.log.read_text()


def test_errors_inside_twisted_are_logged(shared: Bare) -> None:
    httpx.get(f"{shared.url}/twisted")
    shared.until(lambda: "ZeroDivisionError" in shared.log.read_text())


def test_taken_port_ends_the_start_with_one_clear_line(start: Callable[..., Bare]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = start(port=port)
        assert server.process.wait(30) == 1
    lines = server.log.read_text().splitlines()
    assert len(lines) == 1
    assert f"port {port}" in lines[0]
    assert "OPENCLAW_PORT=" in lines[0]


def test_failing_start_ends_the_process(start: Callable[..., Bare]) -> None:
    server = start("start-error")
    assert server.process.wait(30) == 1
    assert "cannot start" in server.log.read_text()


def test_connections_wait_until_everything_is_ready(start: Callable[..., Bare]) -> None:
    server = start("slow-start")
    assert server.line() == {"starting": True}
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.3) as client:
        client.sendall(b"GET /state HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert server.process.stdin is not None
        server.process.stdin.write(b"go on\n")
        server.process.stdin.flush()
        client.settimeout(30)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_sigterm_stops_listening_drains_and_leaves(start: Callable[..., Bare]) -> None:
    server = start()
    server.line()
    with connect(f"ws://127.0.0.1:{server.port}/ws/sleep", proxy=None) as client:
        server.process.send_signal(signal.SIGTERM)
        assert server.line() == {"stopped": True}
        left = server.line()
        assert (left["left"], left["cancelled"]) == (True, 1)
        assert server.process.wait(30) == 0
        with pytest.raises(Exception, match="1012"):
            client.recv(timeout=30)


def test_stopping_in_mid_handshake_or_request_is_clean(start: Callable[..., Bare]) -> None:
    server = start()
    server.line()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /sta")
        server.until(lambda: server.state() is not None)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()


def test_second_signal_cuts_the_drain_short(start: Callable[..., Bare]) -> None:
    server = start("slow-stop")
    server.line()
    server.process.send_signal(signal.SIGTERM)
    assert server.line() == {"stopping": True}
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
