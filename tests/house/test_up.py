"""`manage.py up` from the outside: one command, three processes, two links, a quiet end."""

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.process import ROOT, clean_environment, free_port, fresh_data_dir

COMMAND = [sys.executable, "manage.py", "up"]


class Up:
    """One running `up`; its output is read as it comes."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.port, self.pi_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.text = ""
        ports = {"OPENCLAW_PORT": str(self.port), "OPENCLAW_PI_PORT": str(self.pi_port)}
        self.process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=clean_environment(data_dir, {**ports, **env}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.text += line

    def until(self, fits: Callable[[], object], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not fits():
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None or "Traceback" not in self.text, self.text
            time.sleep(0.02)

    def ready(self) -> "Up":
        self.until(lambda: re.search(r"^  Admin .*\n(.+\n)*\n", self.text, re.M))
        return self

    def children(self) -> dict[str, psutil.Process]:
        """The child processes by what they run: gateway, run_huey, pi."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            words = child.cmdline()
            found[words[2].removesuffix(".py")] = child
        return found

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(90)
        self._reader.join(10)
        return code

    def remove(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            everything = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for child in everything:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self.process.wait()
        self._reader.join(10)
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def make(data_dir: Path, **env: str) -> Up:
        started.append(Up(data_dir, **env))
        return started[-1]

    yield make
    for up in started:
        up.remove()


def refused(data_dir: Path, **env: str) -> str:
    """What `up` says, in one go, when it does not start."""
    done = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=clean_environment(data_dir, env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def link(up: Up) -> str:
    found = re.search(r"^  Chat +(\S+)$", up.text, re.M)
    assert found, up.text
    return found[1]


def password(up: Up) -> str | None:
    found = re.search(r"^  Operator +operator, password (\S+) \(shown only now\)$", up.text, re.M)
    return found and found[1]


def log_in(up: Up, secret: str) -> bool:
    """Whether the admin's own login form takes the operator's password."""
    with httpx.Client(base_url=up.url, follow_redirects=True) as browser:
        page = browser.get("/admin/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {"username": "operator", "password": secret, "csrfmiddlewaretoken": token[1]}
        done = browser.post("/admin/login/?next=/admin/", data=form)
        return done.url.path == "/admin/" and done.status_code == 200


def is_open_to_others(path: Path) -> bool:
    """Whether it is a file that others may read; it may go at any moment."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat().st_mode
        return stat.S_ISREG(found) and bool(found & 0o077)
    return False


def test_first_start_second_start_and_quiet_end(tmp_path: Path, start: Callable[..., Up]) -> None:
    data_dir = tmp_path / "data"
    up = start(data_dir).ready()
    assert set(up.children()) == {"gateway", "run_huey", "pi"}
    assert link(up).startswith(f"{up.url}/chat/?")
    with httpx.Client(follow_redirects=True) as browser:
        page = browser.get(link(up))
    assert (page.status_code, page.url.path) == (200, "/chat/")
    assert 'name="password"' not in page.text  # the invitation was enough
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert os.listdir(data_dir)
    assert [path for path in data_dir.rglob("*") if is_open_to_others(path)] == []
    secret = password(up)
    assert secret and log_in(up, secret) and not log_in(up, "openclaw")
    children = list(up.children().values())
    assert up.end() == 0
    assert "Traceback" not in up.text
    assert "starting it again" not in up.text, up.text
    assert not any(child.is_running() for child in children)
    assert secret.encode() not in b"".join(
        path.read_bytes() for path in data_dir.rglob("*") if path.is_file()
    )

    again = start(data_dir).ready()
    assert password(again) is None
    assert log_in(again, secret)

    said = refused(data_dir)  # beside one that runs
    assert f"It is running already: process {again.process.pid}, {again.url}" in said
    assert "OPENCLAW_PORT=8001" in said
    assert again.end(signal.SIGTERM) == 0


def test_killed_child_comes_back_and_killed_parent_leaves_no_child(
    tmp_path: Path, start: Callable[..., Up]
) -> None:
    up = start(fresh_data_dir(tmp_path)).ready()
    first = up.children()
    first["gateway"].kill()
    up.until(lambda: "was ended by SIGKILL; starting it again in 0.5 s" in up.text)

    def healthy() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{up.url}/healthz").status_code == 200
        return False

    up.until(healthy)
    second = up.children()
    assert second["gateway"].pid != first["gateway"].pid
    assert second["run_huey"].pid == first["run_huey"].pid

    up.process.kill()
    up.process.wait()
    _, alive = psutil.wait_procs([second["gateway"], second["run_huey"], second["pi"]], timeout=60)
    assert alive == []


def test_own_agent_needs_no_bundled_one_and_a_bad_channel_is_left_out(
    tmp_path: Path, start: Callable[..., Up]
) -> None:
    up = start(
        fresh_data_dir(tmp_path),
        OPENCLAW_AGENT_URL=f"http://127.0.0.1:{free_port()}/rpc/message",
        OPENCLAW_CHANNELS="webchat,pigeon",
        OPENCLAW_DURABLITY="full",
    ).ready()
    assert "pi" not in up.children()
    assert "Warning: Channel pigeon is left out" in up.text
    assert "Did you mean OPENCLAW_DURABILITY?" in up.text
    assert up.end() == 0


@pytest.mark.parametrize("setting", ["OPENCLAW_PORT", "OPENCLAW_PI_PORT"])
def test_taken_port_is_said_with_the_way_out(tmp_path: Path, setting: str) -> None:
    ports = {"OPENCLAW_PORT": str(free_port()), "OPENCLAW_PI_PORT": str(free_port())}
    with socket.create_server(("127.0.0.1", int(ports[setting]))):
        said = refused(fresh_data_dir(tmp_path), **ports)
    who = {"OPENCLAW_PORT": "the gateway", "OPENCLAW_PI_PORT": "the bundled agent Pi"}[setting]
    assert f"Port {ports[setting]} is taken, and {who} needs it." in said
    advice = re.search(rf"Choose another: {setting}=(\d+) make run", said)
    assert advice and advice[1] != ports[setting]


def test_misconfiguration_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    said = refused(tmp_path / "data", OPENCLAW_RESTORE="sometimes")
    assert "OPENCLAW_RESTORE is 'sometimes'. Use one of: never, on_restart, always." in said
    assert not (tmp_path / "data" / "openclaw.sqlite3").exists()
