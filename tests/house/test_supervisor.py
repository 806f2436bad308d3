"""The supervisor keeps children running, and leaves none behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from gateway.supervisor import Pace, Program, Supervisor
from tests.process import ROOT

QUICK = Pace(first=0.05, longest=0.2, healthy=60, stop=2)


def python(name: str, code: str) -> Program:
    return Program(name, [sys.executable, "-u", "-c", code])


class Watched:
    """A supervisor with what it told; `until` waits for a line."""

    def __init__(self, *programs: Program, pace: Pace = QUICK) -> None:
        self.lines: list[tuple[str, str]] = []
        self.supervisor = Supervisor(programs, self._tell, pace)
        self.task = asyncio.create_task(self.supervisor.run())
        self._news = asyncio.Event()

    def _tell(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._news.set()

    async def until(self, fits: Callable[[list[tuple[str, str]]], object]) -> None:
        async with asyncio.timeout(15):
            while not fits(self.lines):
                self._news.clear()
                await self._news.wait()

    def said(self, name: str) -> list[str]:
        return [line for who, line in self.lines if who == name]

    async def end(self) -> None:
        self.supervisor.stop()
        async with asyncio.timeout(15):
            await self.task


SLEEP = "import time; print('up', flush=True); time.sleep(60)"


async def test_output_is_handed_on_line_by_line_with_its_name() -> None:
    watched = Watched(python("one", r"print('a\nb', end=''); import time; time.sleep(60)"))
    await watched.until(lambda lines: ("one", "a") in lines)
    await watched.end()
    assert watched.said("one") == ["a", "b"]


async def test_endless_line_is_handed_on_in_pieces() -> None:
    watched = Watched(python("one", "print('x' * 1_000_000); " + SLEEP))
    await watched.until(lambda lines: ("one", "up") in lines)
    await watched.end()
    text = watched.said("one")[:-1]
    assert sum(map(len, text)) == 1_000_000
    assert max(map(len, text)) <= 2 * 64 * 1024


async def test_child_that_dies_is_started_again_with_growing_pauses() -> None:
    watched = Watched(python("one", "raise SystemExit(3)"), python("two", SLEEP))
    await watched.until(lambda lines: len([1 for who, _ in lines if who == "one"]) >= 4)
    await watched.end()
    pauses = [line.rsplit(" in ")[1] for line in watched.said("one")[:4]]
    assert pauses == ["0.05 s", "0.1 s", "0.2 s", "0.2 s"]
    assert "ended with exit status 3" in watched.said("one")[0]
    assert watched.said("two") == ["up"]


async def test_pause_is_short_again_after_a_healthy_run() -> None:
    pace = Pace(first=0.05, longest=5, healthy=0.0, stop=2)
    watched = Watched(python("one", "raise SystemExit(3)"), pace=pace)
    await watched.until(lambda lines: len(lines) >= 3)
    await watched.end()
    assert {line.rsplit(" in ")[1] for line in watched.said("one")} == {"0.05 s"}


async def test_killed_child_is_named_by_its_signal() -> None:
    code = "import os; print(os.getpid(), flush=True); import time; time.sleep(60)"
    watched = Watched(python("one", code))
    await watched.until(lambda lines: len(lines) == 1)
    os.kill(int(watched.said("one")[0]), signal.SIGKILL)
    await watched.until(lambda lines: len(lines) == 3)
    await watched.end()
    assert "was ended by SIGKILL" in watched.said("one")[1]


async def test_missing_program_is_said_and_tried_again() -> None:
    watched = Watched(Program("one", ["/nowhere/at/all"]))
    await watched.until(lambda lines: len(lines) >= 2)
    await watched.end()
    assert "could not be started" in watched.said("one")[0]


LINGER = """
import signal, sys, time
def end(*_):
    time.sleep(0.2); print('ended', flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)
"""


async def test_children_end_in_the_order_given_each_after_the_one_before() -> None:
    patient = replace(QUICK, stop=30)
    watched = Watched(python("one", LINGER), python("two", LINGER), pace=patient)
    await watched.until(lambda lines: lines.count(("one", "up")) + lines.count(("two", "up")) == 2)
    await watched.end()
    assert watched.lines[2:] == [("one", "ended"), ("two", "ended")]
    assert watched.supervisor.killed == []


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)
"""


async def test_stubborn_child_is_killed_after_a_bounded_wait() -> None:
    watched = Watched(python("one", STUBBORN), pace=Pace(stop=0.3))
    await watched.until(lambda lines: ("one", "up") in lines)
    await watched.end()
    assert watched.supervisor.killed == ["one"]


async def test_second_stop_does_not_wait() -> None:
    watched = Watched(python("one", STUBBORN), pace=Pace(stop=60))
    await watched.until(lambda lines: ("one", "up") in lines)
    watched.supervisor.stop()
    await watched.end()
    assert watched.supervisor.killed == ["one"]


async def test_ends_when_nobody_reads_what_it_says() -> None:
    def tell(name: str, line: str) -> None:
        raise BrokenPipeError

    supervisor = Supervisor([python("one", SLEEP)], tell, QUICK)
    async with asyncio.timeout(15):
        await supervisor.run()


STANDALONE = """
import asyncio, sys
from gateway.supervisor import Pace, Program, Supervisor, stop_on_signals
async def main():
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    programs = [Program(name, [sys.executable, "-c", code]) for name in ("one", "two")]
    pace = Pace(stop=int(sys.argv[1]))
    supervisor = Supervisor(programs, lambda _, line: print(line, flush=True), pace)
    stop_on_signals(supervisor)
    await supervisor.run()
asyncio.run(main())
"""


def start_standalone(stop: int) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", STANDALONE, str(stop)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, [int(process.stdout.readline()) for _ in range(2)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(pids: list[int], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.02)


def groups_of(pids: list[int]) -> list[int]:
    """Everything in the process groups of these: the children, what they started, the guards."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) in pids:
                found.append(process.pid)
    return found


def test_no_child_outlives_a_supervisor_killed_with_sigkill(tmp_path: Path) -> None:
    process, pids = start_standalone(1)
    with process:
        everything = groups_of(pids)
        assert set(pids) < set(everything)  # the guards too
        process.kill()
        process.wait()
        wait_gone(everything)


def test_each_ending_signal_ends_everything_quietly() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process, pids = start_standalone(30)
        with process:
            everything = groups_of(pids)
            process.send_signal(number)
            assert process.wait(60) == 0
            assert process.stdout and process.stdout.read() == ""
            wait_gone([*pids, *everything])
