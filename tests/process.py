"""The real gateway as a process of its own, for tests that start, kill and restart it.

Usable without pytest::

    gateway = Gateway.start({"OPENCLAW_AGENT_URL": "http://127.0.0.1:9000/rpc/message"})
    gateway.kill9(); gateway.restart(); gateway.stop(); gateway.remove()
"""

from __future__ import annotations

import atexit
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0
STOP_SECONDS = 60.0

_given: deque[int] = deque(maxlen=1000)  # who restarts comes back to the same port


def free_port() -> int:
    """A port nobody listens on, from below the range that outgoing connections are given.

    None of those that were given out here lately.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # a random choice keeps parallel runs apart
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.append(port)
            return port


def clean_environment(data_dir: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: ours without any setting, then `env`."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("OPENCLAW_") and key not in ("DATABASE_URL", "CI")
    }
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "openclaw_site.settings",
        "OPENCLAW_ENV_FILE": os.devnull,
        "OPENCLAW_TIMEZONE": "UTC",
        "OPENCLAW_DATA_DIR": str(data_dir),
        "PYTHONUNBUFFERED": "1",
        **(env or {}),
    }


def manage(*arguments: str, data_dir: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a management command to its end. Returns stdout; raises with all output if it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(data_dir, env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


@functools.cache
def migrated_template() -> Path:
    """A data folder with a migrated database. Made once per run; copy it, never use it."""
    folder = Path(tempfile.mkdtemp(prefix="openclaw-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    manage("migrate", "--verbosity", "0", data_dir=folder / "data")
    return folder / "data"


def fresh_data_dir(parent: Path | None = None) -> Path:
    """A data folder with an empty, migrated database."""
    folder = Path(tempfile.mkdtemp(prefix="openclaw-gateway-", dir=parent))
    return Path(shutil.copytree(migrated_template(), folder / "data"))


class Gateway:
    """One `manage.py gateway` and its data folder, which outlives kills and restarts."""

    def __init__(self, data_dir: Path, env: Mapping[str, str], port: int) -> None:
        self.data_dir = data_dir
        self.env = dict(env)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log_path = data_dir.parent / "gateway.log"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        env: Mapping[str, str] | None = None,
        *,
        data_dir: Path | None = None,
        wait: bool = True,
    ) -> Gateway:
        """A gateway on a data folder of its own; returns when /healthz answers."""
        env = dict(env or {})
        port = int(env.get("OPENCLAW_PORT") or free_port())
        gateway = cls(data_dir or fresh_data_dir(), env, port)
        gateway.spawn(wait=wait)
        return gateway

    def spawn(self, *, wait: bool = True) -> None:
        """Start the process. The log goes on in the same file."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "gateway"],
                cwd=ROOT,
                env=clean_environment(
                    self.data_dir,
                    {"OPENCLAW_LOG_FORMAT": "text", **self.env, "OPENCLAW_PORT": str(self.port)},
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_ready()

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError when the process was never started."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._running().poll()

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Returns when /healthz answers 200. Raises with the log when it does not."""
        deadline = time.monotonic() + seconds
        while not self.healthy():
            if (code := self.returncode) is not None:
                raise RuntimeError(f"the gateway ended with {code}:\n{self.log_text()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready in {seconds} s:\n{self.log_text()}")
            time.sleep(0.02)

    def healthy(self) -> bool:
        """Whether /healthz answers 200 now."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill9(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._running().kill()
        self._running().wait()

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and wait. Returns the exit status; raises TimeoutExpired if it stays."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        return process.wait(seconds)

    def restart(self, env: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start again on the same port and data folder; `env` changes some settings."""
        if self.returncode is None:
            self.stop()
        self.env.update(env or {})
        self.spawn(wait=wait)

    def log_text(self) -> str:
        """Everything it printed since its first start."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def remove(self) -> None:
        """Kill it if it runs, and delete its data folder."""
        if self.process and self.process.poll() is None:
            self.kill9()
        shutil.rmtree(self.data_dir.parent, ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("the gateway was not started")
        return self.process
