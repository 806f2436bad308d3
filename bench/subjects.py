"""What is measured: the gateway and the bare loop, each a process of its own."""

from __future__ import annotations

import abc
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench import bare
from bench.load import Platform
from tests.process import ROOT, Gateway, clean_environment, free_port, fresh_data_dir

MB = 1_000_000
STORED = "stored.sqlite3"


class Subject(abc.ABC):
    """A program under test. `token` is how the platform knows its bot."""

    name: str
    token: str

    def __init__(self, platform: Platform, agent_url: str) -> None:
        self.platform, self.agent_url = platform, agent_url
        self.folder = Path(tempfile.mkdtemp(prefix="openclaw-bench-"))
        self.ready_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def seed(self, messages: int) -> None:
        """Store a past. Before the first start."""

    @abc.abstractmethod
    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process; do not wait for it."""

    def healthy(self) -> bool:
        """Whether it serves; asked in a thread."""
        return True

    async def start(self) -> None:
        """Returns when it works; `ready_seconds` says how long that took."""
        started = time.perf_counter()
        self._process = self.spawn()
        self._usage = psutil.Process(self._process.pid)
        await self._ready()
        self.ready_seconds = time.perf_counter() - started

    def kill(self) -> None:
        """End the process; what it stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.platform.forget(self.token)

    def remove(self) -> None:
        """End the process and delete what it stored."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _ready(self) -> None:
        """It serves, and its webhook is registered."""
        registered = asyncio.ensure_future(self.platform.registered(self.token))
        try:
            while not (registered.done() and await asyncio.to_thread(self.healthy)):
                if self._process is None or self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended:\n{self.log()}")
                await asyncio.wait({registered}, timeout=0.01)
            registered.result()
        finally:
            registered.cancel()

    def log(self) -> str:
        """What the process printed."""
        return (self.folder / "log").read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """Processor time used so far, of all its threads, user and system."""
        used = self._usage.cpu_times()
        return used.user + used.system

    def memory_mb(self) -> float:
        """Resident memory, 10^6 bytes."""
        return self._usage.memory_info().rss / MB


class BareLoop(Subject):
    """`bench.bare`."""

    name, token = "bare loop", "1:bare"

    def seed(self, messages: int) -> None:
        bare.seed(str(self.folder / STORED), messages)

    def spawn(self) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "bench.bare", "--database", str(self.folder / STORED)),
            *("--port", str(free_port()), "--agent", self.agent_url),
            *("--platform", f"{self.platform.url}/bot{self.token}"),
        ]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


class OurGateway(Subject):
    """`manage.py gateway` with telegram and webchat, as it is run in production."""

    name, token = "gateway", "2:FAKE-gateway"
    secret = "a-fake-secret"

    def __init__(self, platform: Platform, agent_url: str) -> None:
        super().__init__(platform, agent_url)
        port = free_port()
        environment = {
            "OPENCLAW_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "OPENCLAW_CHANNELS": "telegram,webchat",
            "OPENCLAW_TELEGRAM_TOKEN": self.token,
            "OPENCLAW_TELEGRAM_SECRET": self.secret,
            "OPENCLAW_TELEGRAM_MODE": "webhook",
            "OPENCLAW_TELEGRAM_API_URL": platform.url,
            "OPENCLAW_TELEGRAM_RATE": "unlimited",
            "OPENCLAW_TELEGRAM_ACCESS": "open",
            "OPENCLAW_AGENT_URL": agent_url,
        }
        self._gateway = Gateway(fresh_data_dir(self.folder), environment, port)
        self._gateway.log_path = self.folder / "log"

    def seed(self, messages: int) -> None:
        subprocess.run(
            [sys.executable, "-m", "bench.seed", str(messages)],
            cwd=ROOT,
            env=clean_environment(self._gateway.data_dir),
            check=True,
        )

    def spawn(self) -> subprocess.Popen[bytes]:
        self._gateway.spawn(wait=False)
        assert self._gateway.process is not None
        return self._gateway.process

    def healthy(self) -> bool:
        return self._gateway.healthy()


KINDS: tuple[type[Subject], ...] = (BareLoop, OurGateway)
