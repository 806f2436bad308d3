"""A database that cannot be written: the platform tries again later, and nothing is half-done."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.world import MODES, World, wait_until, world
from tests.process import ROOT, clean_environment

pytestmark = pytest.mark.heavy

HOLD_THE_LOCK = """
import sys, django
django.setup()
from django.db import transaction
with transaction.atomic():  # BEGIN IMMEDIATE: nobody else may write
    print("held", flush=True)
    sys.stdin.read()
"""
LOG_ROOM = 256 * 1024
"""Bytes that any file may still grow to: the log goes on, the write-ahead log does not."""


@contextmanager
def locked(made: World) -> Iterator[None]:
    """Another process holds the database's write lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK],
        cwd=ROOT,
        env=clean_environment(made.gateway.data_dir),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.communicate()
    assert holder.returncode == 0


@contextmanager
def full(made: World) -> Iterator[None]:
    """No file of the gateway grows any more, as on a full disk."""
    made.say(91, "x" * 2 * LOG_ROOM)
    made.settle()
    made.quiet()
    wal = made.gateway.data_dir / "openclaw.sqlite3-wal"
    assert wal.stat().st_size > LOG_ROOM > made.gateway.log_path.stat().st_size
    _, hard = resource.prlimit(made.gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(made.gateway.pid, resource.RLIMIT_FSIZE, (LOG_ROOM, hard))
    try:
        yield
    finally:
        resource.prlimit(made.gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))


Fault = Callable[[World], AbstractContextManager[None]]


@pytest.mark.parametrize("fault", [locked, full])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_or_half_written(tmp_path: Path, mode: str, fault: Fault) -> None:
    with world(tmp_path, mode) as made:
        made.say(92)
        made.settle()
        made.quiet()
        with fault(made):
            logged = len(made.gateway.log_text())
            made.agent.behave(first=0.5)
            waiting = [made.say(person) for person in (92, 93, 94) for _ in range(3)]
            if mode == "webhook":
                name = made.tally.new_id(95)
                update = made.update(95, name)
                assert made.post(update) == 503
            wait_until(lambda: "cannot be written" in made.gateway.log_text()[logged:], 40)
            with urllib.request.urlopen(f"{made.gateway.url}/healthz", timeout=30) as answer:
                assert answer.status == 200  # the loop does not wait for the database
            handed_over = [made.update_ids[name] for name in waiting]
            assert set(handed_over) <= set(made.telegram.pending)
            assert not any(made.tally.answered(name) for name in waiting)
        made.agent.behave()
        if mode == "webhook":
            assert made.post(update) == 200  # the platform tries again

        made.settle()
        made.quiet()

        assert made.gateway.stop() == 0
        problems = made.tally.problems()
        problems.pop("unasked", None)  # the later parts of the long answer carry no id
        assert problems == {}
        assert made.tally.marked() == 0
        assert made.telegram.pending == {} or mode == "polling"
        assert made.probe.faults() == []


def test_a_turn_that_ends_while_the_disk_is_full_is_delivered_afterwards(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.say(96)
        made.settle()
        with full(made):
            pass  # the disk has been filled once, so that only the log's room is left
        logged = len(made.gateway.log_text())
        made.agent.behave(first=5.0)
        calls = len(made.agent.calls)
        made.say(96)
        wait_until(lambda: len(made.agent.calls) > calls)
        hard = resource.prlimit(made.gateway.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(made.gateway.pid, resource.RLIMIT_FSIZE, (LOG_ROOM, hard))
        wait_until(lambda: "cannot be written" in made.gateway.log_text()[logged:])
        resource.prlimit(made.gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))

        made.settle()
        made.quiet()

        assert len(made.agent.calls) == calls + 1
        assert made.tally.marked() == 0
        assert os.path.exists(made.gateway.data_dir)
        assert made.probe.faults() == []
