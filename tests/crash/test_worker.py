"""The worker is killed again and again: the gateway does not notice, and the work gets done."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests.crash.trapped import under_load
from tests.e2e.world import World, wait_until, world
from tests.process import ROOT, clean_environment

pytestmark = pytest.mark.heavy

WORKER_KILLS = 20
LONG_AGO = "2020-01-01T00:00:00+00:00"


@contextmanager
def worker(made: World) -> Iterator[subprocess.Popen[bytes]]:
    """A `manage.py run_huey` on the world's data folder; killed at the end."""
    with (made.gateway.data_dir.parent / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_huey"],
            cwd=ROOT,
            env=clean_environment(made.gateway.data_dir, made.gateway.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        assert process.poll() is None, (made.gateway.data_dir.parent / "worker.log").read_text()
        process.kill()
        process.wait()


def last_beat(made: World) -> datetime | None:
    rows = made.probe.rows("gateway.Heartbeat", "at", name="worker")
    return datetime.fromisoformat(rows[0]["at"]) if rows else None


def alive_since(made: World, moment: datetime) -> bool:
    """Whether a worker has worked since then: a kill of one that only starts proves little."""
    beat = last_beat(made)
    return beat is not None and beat > moment


def state(made: World, person: int) -> str:
    (row,) = made.probe.rows("sessions_app.Session", "state", chat_id=str(person))
    return str(row["state"])


def test_twenty_kills_of_the_worker_lose_nothing(tmp_path: Path) -> None:
    moment = random.Random(40)
    idle = range(40_101, 40_101 + WORKER_KILLS)
    with world(tmp_path) as made:
        for person in idle:
            made.say(person)
        made.settle()
        made.quiet()
        with under_load(made, range(40_001, 40_006), per_second=10):
            for person in idle:
                made.probe.update(
                    "sessions_app.Session", {"chat_id": str(person)}, expires_at=LONG_AGO
                )
                made.probe.enqueue("clean_up")
                started = datetime.now(UTC)
                with worker(made):
                    wait_until(partial(alive_since, made, started), 60, "a sign of life")
                    time.sleep(moment.uniform(0.0, 0.7))
        made.settle()
        before = datetime.now(UTC)

        with worker(made):
            wait_until(partial(alive_since, made, before), 60, "a sign of life")
            made.probe.enqueue("clean_up")
            wait_until(lambda: all(state(made, p) == "terminated" for p in idle), 30, "cleaning up")

        made.quiet()
        assert made.tally.problems() == {}
        assert made.tally.marked() == 0
        assert {state(made, person) for person in range(40_001, 40_006)} == {"active"}
        assert made.gateway.stop() == 0
        assert made.probe.faults() == []


def test_a_session_with_a_turn_under_way_is_left_alone_by_the_cleaning(tmp_path: Path) -> None:
    with world(tmp_path) as made, worker(made):
        made.agent.behave(first=60.0)
        made.say(40_201)
        made.telegram.say(40_202, "#first=0")
        wait_until(lambda: made.telegram.texts(40_202))
        wait_until(lambda: last_beat(made))
        people = {"chat_id__in": ["40201", "40202"]}
        wait_until(lambda: not made.probe.rows(
            "gateway.Delivery", "pk", state__in=["queued", "sending"]))  # fmt: skip
        made.probe.update("sessions_app.Session", people, expires_at=LONG_AGO)

        made.probe.enqueue("clean_up")

        wait_until(lambda: state(made, 40_202) == "terminated", 30)
        assert state(made, 40_201) == "active"
