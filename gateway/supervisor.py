"""Keeps a few child processes running side by side, for a laptop or a first try.

Each child's output is handed on line by line. A child that ends is started
again after a pause: half a second at first, doubled each time up to 30 s, and
half a second again once it has run for a minute. `stop` ends them in the order
given, each with SIGTERM, then SIGKILL when it takes too long.

No child outlives its supervisor, not even one killed with SIGKILL: see
`gateway.guarded`. The supervisor alone decides when and in which order they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway.guarded import describe_ending, disband, relay, spawn

LAST_WORDS_SECONDS = 1.0
"""How long after its end a child's output is still read: something it started may hold it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: its name in the output, its command, and what its environment adds."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: the pauses before a restart, and how long an ending child may take."""

    first: float = 0.5
    longest: float = 30.0
    healthy: float = 60.0
    stop: float = 15.0


Tell = Callable[[str, str], None]
"""Called with a program's name and one line, without its end."""


class Supervisor:
    """Runs programs until told to stop. `tell` gets every line, the supervisor's own too."""

    def __init__(self, programs: Sequence[Program], tell: Tell, pace: Pace | None = None) -> None:
        self._programs = programs
        self._tell = tell
        self._pace = pace or Pace()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._children: dict[str, Process] = {}
        self.killed: list[str] = []

    async def run(self) -> None:
        """Start all, keep them running, and return when `stop` was called and all have ended."""
        keepers = {
            program.name: asyncio.create_task(self._keep(program), name=program.name)
            for program in self._programs
        }
        await self._stopping.wait()
        for name, keeper in keepers.items():
            await self._end(name)
            await keeper

    def stop(self) -> None:
        """End all children. Called a second time: without waiting for any of them."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def _keep(self, program: Program) -> None:
        loop = asyncio.get_running_loop()
        pause = self._pace.first
        while not self._stopping.is_set():
            started = loop.time()
            ending = await self._run_once(program)
            if self._stopping.is_set():
                return
            if loop.time() - started >= self._pace.healthy:
                pause = self._pace.first
            self._say(program.name, f"{ending}; starting it again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, self._pace.longest)

    async def _run_once(self, program: Program) -> str:
        """Returns in words how it ended."""
        try:
            child = await spawn(program.command, {**os.environ, **program.env}, self._pace.stop)
        except OSError as error:
            return f"could not be started: {error}"
        self._children[program.name] = child
        if self._stopping.is_set():  # told to stop while this one was being started
            child.kill()
        assert child.stdout is not None
        relaying = asyncio.create_task(relay(child.stdout, partial(self._say, program.name)))
        code = await child.wait()
        disband(child)
        del self._children[program.name]
        await asyncio.wait({relaying}, timeout=LAST_WORDS_SECONDS)
        relaying.cancel()
        return describe_ending(code)

    async def _end(self, name: str) -> None:
        """Ask a child to end; make it end if it does not, or if nobody wants to wait."""
        child = self._children.get(name)
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        ended = asyncio.create_task(child.wait())
        hurried = asyncio.create_task(self._hurry.wait())
        done, _ = await asyncio.wait(
            {ended, hurried}, timeout=self._pace.stop, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        if ended not in done:
            self.killed.append(name)
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await ended

    def _say(self, name: str, line: str) -> None:
        try:
            self._tell(name, line)
        except OSError:  # the terminal or the pipe we print to is gone: so is our reason to run
            self._stopping.set()


def stop_on_signals(supervisor: Supervisor) -> None:
    """Let SIGINT, SIGTERM and SIGHUP stop it. Called inside the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
