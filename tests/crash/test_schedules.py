"""kill -9 around the firing of what is planned: each time has one row, and one send."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.points import NAMES, SCHEDULES
from tests.crash.trapped import TrappedGateway, wait_for_death
from tests.e2e.tally import MARK
from tests.e2e.world import World, wait_until, world
from tests.process import ROOT, clean_environment

pytestmark = pytest.mark.heavy

IN_GATEWAY = [name for name in NAMES if not name.startswith(("webhook:", "ingest:"))]
"""Where the gateway can die on the way of what the worker has fired."""

SETTLE_SECONDS = 60.0


class Worker:
    """A `manage.py run_huey` with a trap of its own."""

    def __init__(self, made: World) -> None:
        self._made = made
        self._folder = made.gateway.data_dir.parent
        self.trap = self._folder / "worker-trap.json"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it: the first thing it does is to fire what is due."""
        settings = {**self._made.gateway.env, "CRASH_TRAP": str(self.trap)}
        with (self._folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.launch", "run_huey"],
                cwd=ROOT,
                env=clean_environment(self._made.gateway.data_dir, settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill9(self) -> None:
        """SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def dies_at(self, point: str, arrival: int) -> None:
        """Start it with the trap set, and wait until it has walked into it."""
        self.trap.write_text(f'{{"point": "{point}", "arrival": {arrival}, "pause": 0}}')
        self.spawn()
        assert self.process
        assert self.process.wait(60) == -9, f"{point} was never reached:\n{self.log}"
        self.trap.unlink()

    @property
    def log(self) -> str:
        """What it said."""
        return (self._folder / "worker.log").read_text()[-3000:]


@contextmanager
def worker_of(made: World) -> Iterator[Worker]:
    found = Worker(made)
    try:
        yield found
    finally:
        found.kill9()


@pytest.fixture(scope="module")
def planned_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("planned"), kind=TrappedGateway) as made:
        yield made


def meet(made: World, *people: int) -> None:
    """They have written before, and were answered."""
    for person in people:
        made.say(person)
    made.settle()
    made.quiet()


def plan(made: World, person: int, **changes: object) -> str:
    """A schedule of `person`'s, due five seconds ago; its key is the word that it says."""
    (contact,) = made.probe.rows("sessions_app.Contact", "pk", user_id=str(person))
    name = made.tally.new_id(person)
    due = datetime.now(UTC) - timedelta(seconds=5)
    fields = {"kind": "every", "spec": "86400", "text": f"{name} is planned", "id": name}
    made.probe.create(
        "gateway.Schedule",
        contact_id=contact["pk"],
        channel="telegram",
        scope_key=f"user:{person}",
        chat_id=str(person),
        created_at=(due - timedelta(days=1)).isoformat(),
        next_run=due.isoformat(),
        **(fields | changes),
    )
    return name


def two_kinds(made: World, first: int) -> list[str]:
    """Texts and prompts of four people, all due."""
    meet(made, *range(first, first + 4))
    names = [plan(made, person) for person in (first, first + 1)]
    for person in (first + 2, first + 3):
        name = plan(made, person)
        made.probe.update("gateway.Schedule", {"pk": name}, text="", prompt=f"{name} is asked")
        names.append(name)
    return names


def every_time_has_one_row_and_one_send(made: World, names: list[str]) -> None:
    made.settle(SETTLE_SECONDS)
    made.quiet(SETTLE_SECONDS)

    def ended() -> bool:
        made.probe.enqueue("fire_planned")
        time.sleep(0.2)
        return not made.probe.rows("gateway.Occurrence", "pk", state="claimed")

    wait_until(ended, 30, "the end of each occurrence")
    for name in names:
        rows = made.probe.rows("gateway.Occurrence", "state", "reason", schedule=name)
        assert rows == [{"state": "ran", "reason": ""}]
    assert made.tally.problems() == {}
    assert made.probe.faults() == []
    now = datetime.now(UTC).isoformat()
    assert made.probe.count("gateway.Schedule", next_run__lt=now) == 0


@pytest.mark.parametrize("arrival", [1, 3])
@pytest.mark.parametrize("point", SCHEDULES)
def test_the_worker_is_killed_at_every_point(
    planned_world: World, point: str, arrival: int
) -> None:
    first = 60_000 + 100 * SCHEDULES.index(point) + 10 * arrival
    with worker_of(planned_world) as worker:
        names = two_kinds(planned_world, first)
        worker.dies_at(point, arrival)
        worker.spawn()
        every_time_has_one_row_and_one_send(planned_world, names)


@pytest.mark.parametrize("point", SCHEDULES)
def test_worker_and_gateway_are_killed_together(planned_world: World, point: str) -> None:
    gateway = planned_world.gateway
    with worker_of(planned_world) as worker:
        names = two_kinds(planned_world, 61_000 + 10 * SCHEDULES.index(point))
        worker.dies_at(point, 2)
        gateway.kill9()
        worker.dies_at(point, 1)  # and again while it picks up what it left
        worker.spawn()
        gateway.spawn()
        every_time_has_one_row_and_one_send(planned_world, names)


@pytest.mark.parametrize("point", IN_GATEWAY)
def test_the_gateway_is_killed_at_every_point_of_the_way_out(
    planned_world: World, point: str
) -> None:
    gateway = planned_world.gateway
    assert isinstance(gateway, TrappedGateway)
    names = two_kinds(planned_world, 62_000 + 10 * IN_GATEWAY.index(point))
    gateway.set_trap(point, 1)
    with worker_of(planned_world) as worker:
        worker.spawn()
        wait_for_death(gateway, point)
        gateway.remove_trap()
        gateway.spawn()
        every_time_has_one_row_and_one_send(planned_world, names)


def more_than(made: World, name: str, before: int) -> bool:
    return made.probe.count("gateway.Occurrence", schedule=name) > before


def test_kills_at_any_moment_skip_and_double_no_second(planned_world: World) -> None:
    """Once a second, made up for; both processes are killed again and again meanwhile."""
    moment, person = random.Random(7), 63_001
    with worker_of(planned_world) as worker:
        meet(planned_world, person)
        name = plan(planned_world, person, spec="1", catch_up="all")
        for kill in range(8):
            before = planned_world.probe.count("gateway.Occurrence", schedule=name)
            worker.spawn()
            fired = functools.partial(more_than, planned_world, name, before)
            wait_until(fired, SETTLE_SECONDS, "a time that fires")
            time.sleep(moment.uniform(0.0, 1.5))
            worker.kill9()
            if kill % 3 == 1:
                planned_world.gateway.kill9()
                planned_world.gateway.spawn()
        planned_world.probe.update("gateway.Schedule", {"pk": name}, enabled=False)
        worker.spawn()
        planned_world.settle()
        planned_world.quiet()

    rows = planned_world.probe.rows("gateway.Occurrence", "due_at", "state", schedule=name)
    due = sorted(datetime.fromisoformat(row["due_at"]) for row in rows)
    assert len(due) > 10
    assert {later - one for one, later in pairwise(due)} == {timedelta(seconds=1)}
    assert {row["state"] for row in rows} <= {"claimed", "ran"}
    said = [text for text in planned_world.telegram.texts(person) if name in text]
    assert sum(MARK not in text for text in said) <= len(due) <= len(said)
    planned_world.probe.update("gateway.Schedule", {}, next_run=None)


def test_a_worker_that_was_down_loses_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as made, worker_of(made) as worker:
        meet(made, 64_001)
        name = plan(made, 64_001)
        late = datetime.now(UTC) - timedelta(days=2, seconds=5)
        moved = {"next_run": late.isoformat(), "created_at": late.isoformat()}
        made.probe.update("gateway.Schedule", {}, catch_up="all", **moved)
        worker.spawn()
        wait_until(lambda: len(made.telegram.texts(64_001)) == 4, 30, "three planned texts")
        made.quiet()
        assert made.probe.count("gateway.Occurrence", schedule=name) == 3
