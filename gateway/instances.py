"""One program that answers, kept running: started, waited for, restarted, ended.

Its standing::

    starting -> ready -> (ended by itself, hung, too large) -> starting …

Whoever wants it waits for `ready`. A program that ends is started again after a
pause: half a second at first, doubled each time up to 30 s, half a second again
once it has run for a minute. It gets a new port each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import socket
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.agents.base import AgentError, Target
from gateway.guarded import describe_ending, disband, relay, spawn

MAX_LINE = 2000
"""Characters of one line of a program's output that are logged."""

LAST_WORDS_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE, HEALTHY_SECONDS = 0.5, 30.0, 60.0
PROBE_PAUSE = 0.05

_given: set[int] = set()
"""Ports of programs that start or run: one that starts does not listen yet."""

Probe = Callable[[Target], Awaitable[str | None]]
"""Why a target is not healthy; None where it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A managed agent, as its row says."""

    name: str
    command: str
    protocol: str = "rpc"
    per_session: bool = False
    max_instances: int = 20
    idle_seconds: float = 900.0

    def url(self, port: int) -> str:
        """Where it answers."""
        path = "v1" if self.protocol == "openai" else "rpc/message"
        return f"http://127.0.0.1:{port}/{path}"


@dataclass(frozen=True, slots=True)
class Care:
    """Seconds and mebibytes: how programs are treated. `environment` is all they are given."""

    start_seconds: float = 30.0
    stop_seconds: float = 5.0
    max_memory_mb: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)


class Instance:
    """A program of a plan, for everybody or for one session. Begin with `start`."""

    def __init__(self, plan: Plan, session: str, probe: Probe, care: Care) -> None:
        self.plan, self.session = plan, session
        self.users, self.used_at = 0, asyncio.get_running_loop().time()
        self.detail = "is starting"
        self.starts = 0
        self._probe, self._care = probe, care
        self._child: Process | None = None
        self._port = 0
        self._ready = asyncio.Event()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doubts: asyncio.Task[None] | None = None
        self._logger = logging.getLogger(f"agent.{plan.name}")

    def start(self) -> None:
        """From now on it is kept running."""
        self._task = asyncio.create_task(self._keep(), name=f"agent {self.plan.name}")

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._child.pid if self._child and self._child.returncode is None else None

    async def address(self) -> str:
        """Its URL, once it is ready. Raises `AgentError` unreachable where it takes too long."""
        try:
            async with asyncio.timeout(self._care.start_seconds):
                await self._ready.wait()
        except TimeoutError:
            raise AgentError("unreachable", f"the program {self.detail}", retryable=True) from None
        return self.plan.url(self._port)

    def doubt(self) -> None:
        """It hung: nobody gets it until /health has answered; where that fails, it ends."""
        if self._ready.is_set():
            self._ready.clear()
            self._doubts = asyncio.create_task(self._examine(self._child))

    def kill(self, why: str) -> None:
        """End it at once; it is started again."""
        if self.pid is not None and self._child is not None:
            self._say(f"{why}: ended by force", logging.WARNING)
            self._ready.clear()
            self._child.kill()

    async def end(self) -> None:
        """SIGTERM, then SIGKILL, for it and all it started; it is not started again."""
        self._ending.set()
        self._ready.clear()
        child = self._child
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), self._care.stop_seconds)
            disband(child)
        tasks = [task for task in (self._task, self._doubts) if task is not None]
        await asyncio.wait(tasks, timeout=self._care.stop_seconds)
        for task in tasks:
            task.cancel()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._ending.is_set():
            begun = loop.time()
            self.detail = await self._run_once()
            self._ready.clear()
            if self._ending.is_set():
                return
            if loop.time() - begun >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            self._say(f"{self.detail}; starting it again in {pause:g} s", logging.WARNING)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _run_once(self) -> str:
        """Returns in words how it ended."""
        self._port = take_port()
        try:
            return await self._live()
        finally:
            give_back(self._port)

    async def _live(self) -> str:
        try:
            child = await spawn(self._command(), self._environment(), self._care.stop_seconds)
        except (OSError, ValueError) as error:
            return f"could not be started: {error}"
        self._child = child
        self.starts += 1
        if self._ending.is_set():  # told to end while it was being started
            child.kill()
        assert child.stdout is not None
        relaying = asyncio.create_task(relay(child.stdout, self._say))
        waking = asyncio.create_task(self._wake(child))
        code = await child.wait()
        disband(child)
        waking.cancel()
        await asyncio.wait({relaying}, timeout=LAST_WORDS_SECONDS)
        relaying.cancel()
        return describe_ending(code)

    async def _wake(self, child: Process) -> None:
        """Ready as soon as /health answers; too late, and it is started again."""
        try:
            async with asyncio.timeout(self._care.start_seconds):
                while (reason := await self._asked()) is not None:
                    self.detail = f"is starting: {reason}"
                    await asyncio.sleep(PROBE_PAUSE)
        except TimeoutError:
            self._say(f"not healthy within {self._care.start_seconds:g} s", logging.WARNING)
            child.kill()
        else:
            self.detail = "answers"
            self._ready.set()

    async def _examine(self, child: Process | None) -> None:
        reason = await self._asked()
        if child is None or child is not self._child or child.returncode is not None:
            return  # another runs already
        if reason is None:
            self._ready.set()
        else:
            self.kill(f"hangs ({reason})")

    async def _asked(self) -> str | None:
        plan = self.plan
        return await self._probe(Target(plan.name, plan.url(self._port), plan.protocol))

    def _command(self) -> list[str]:
        return [word.replace("{port}", str(self._port)) for word in shlex.split(self.plan.command)]

    def _environment(self) -> dict[str, str]:
        own = {"PORT": str(self._port)}
        if self.session:
            own["OPENCLAW_SESSION_ID"] = self.session
        return {**self._care.environment, **own}

    def _say(self, line: str, level: int = logging.INFO) -> None:
        whose = f"[{self.session}] " if self.session else ""
        self._logger.log(level, "%s%s", whose, line[:MAX_LINE])


def take_port() -> int:
    """A port of this machine that nobody listens on now, and no program of ours was given."""
    with contextlib.ExitStack() as stack:
        while True:  # those we may not take are held meanwhile, so that others come
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port not in _given:
                _given.add(port)
                return port


def give_back(port: int) -> None:
    """The program that was given this port has ended."""
    _given.discard(port)
