"""Keeps a few child processes running side by side, for a laptop or a first try.

Each child's output is handed on line by line. A child that ends is started
again after a pause: half a second at first, doubled each time up to 30 s, and
half a second again once it has run for a minute. `stop` ends them in the order
given, each with SIGTERM, then SIGKILL when it takes too long.

No child outlives its supervisor, not even one killed with SIGKILL: all children
share the process group of a guard, a shell that waits for the end of a pipe
whose other end only the supervisor holds. When that end closes, the guard ends
the group. (Works the same on Linux and macOS, with nothing to be done inside
the children.) A group of their own also keeps the terminal's Ctrl-C from them:
the supervisor alone decides when and in which order they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_LINE_BYTES = 64 * 1024
"""Longer lines are handed on in pieces, so that no child can fill our memory."""

LAST_WORDS_SECONDS = 1.0
"""How long after its end a child's output is still read: something it started may hold it."""

GUARD = "trap '' TERM INT HUP; read -r _; kill -TERM 0; sleep {seconds}; kill -KILL 0"


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
        self._spawning = asyncio.Lock()  # one guard, however many children start at once
        self._children: dict[str, Process] = {}
        self._guard: Process | None = None
        self.killed: list[str] = []

    async def run(self) -> None:
        """Start all, keep them running, and return when `stop` was called and all have ended."""
        try:
            keepers = {
                program.name: asyncio.create_task(self._keep(program), name=program.name)
                for program in self._programs
            }
            await self._stopping.wait()
            for name, keeper in keepers.items():
                await self._end(name)
                await keeper
        finally:
            if self._guard is not None:
                self._guard.kill()
                await self._guard.wait()

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
            child = await self._spawn(program.command, program.env)
        except OSError as error:
            return f"could not be started: {error}"
        self._children[program.name] = child
        if self._stopping.is_set():  # told to stop while this one was being started
            child.kill()
        assert child.stdout is not None
        relay = asyncio.create_task(self._relay(program.name, child.stdout))
        code = await child.wait()
        del self._children[program.name]
        await asyncio.wait({relay}, timeout=LAST_WORDS_SECONDS)
        relay.cancel()
        return describe_ending(code)

    async def _spawn(self, command: Sequence[str], env: Mapping[str, str]) -> Process:
        async with self._spawning:
            if self._guard is None or self._guard.returncode is not None:
                self._guard = await asyncio.create_subprocess_exec(
                    "/bin/sh",
                    "-c",
                    GUARD.format(seconds=round(self._pace.stop)),
                    stdin=PIPE,
                    stdout=DEVNULL,
                    stderr=DEVNULL,
                    process_group=0,
                )
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                env={**os.environ, **env},
                process_group=self._guard.pid,
            )

    async def _relay(self, name: str, output: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await output.read(MAX_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) >= MAX_LINE_BYTES:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._say(name, line.decode(errors="replace").rstrip("\r"))
        if rest:
            self._say(name, rest.decode(errors="replace"))

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


def describe_ending(code: int) -> str:
    """How a child ended, in words, from asyncio's return code (negative for a signal)."""
    if code >= 0:
        return f"ended with exit status {code}"
    return f"was ended by {signal.Signals(-code).name}"


def stop_on_signals(supervisor: Supervisor) -> None:
    """Let SIGINT, SIGTERM and SIGHUP stop it. Called inside the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
