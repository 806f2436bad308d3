"""`full` and `normal` lose nothing in a crash; `batched` loses no more than it says."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.crash.trapped import (
    KILLS,
    TrappedGateway,
    crash_at,
    under_load,
    wait_for_death,
)
from tests.e2e.world import MODES, World, wait_until, world
from tests.fakes.telegram import FakeTelegram

pytestmark = pytest.mark.heavy

AT_RISK_SECONDS = {"webhook": 1.0, "polling": 0.0}
"""What was acknowledged this long before the crash is safe from it; polled messages always.

On a machine that works: what it stood still meanwhile comes on top (`standstills`).
"""

ROUNDS = max(4, KILLS // 20)


class AckingTelegram(FakeTelegram):
    """A fake that notes when each update was acknowledged: by a 2xx, or by a moved offset."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.acked: dict[int, float] = {}

    def confirm(self, update_id: int) -> None:
        """A webhook call was answered with 2xx."""
        self.acked[update_id] = time.monotonic()
        super().confirm(update_id)

    async def _do_getupdates(self, params: dict[str, Any]) -> Any:
        for update_id in [found for found in self.pending if found < int(params.get("offset", 0))]:
            self.acked[update_id] = time.monotonic()
        return await super()._do_getupdates(params)


@contextmanager
def standstills(folder: Path) -> Iterator[list[float]]:
    """How long this machine let somebody wait who only slept and wrote a little to the disk."""
    over = threading.Event()
    found = [0.0]

    def work() -> None:
        with (folder / "standstills").open("wb", buffering=0) as file:
            before = time.monotonic()
            while not over.wait(0.05):
                file.write(b".")
                os.fsync(file.fileno())
                now = time.monotonic()
                found.append(now - before - 0.05)
                before = now

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def only_these_are_open(made: World, at_risk: set[str]) -> bool:
    return made.tally.all_answered() or made.tally.open <= at_risk


@pytest.mark.parametrize("mode", MODES)
def test_batched_loses_only_what_was_acknowledged_in_the_last_moment(
    tmp_path: Path, mode: str
) -> None:
    moment = random.Random(30)
    with world(tmp_path, mode, telegram_kind=AckingTelegram, OPENCLAW_DURABILITY="batched") as made:
        telegram = made.telegram
        assert isinstance(telegram, AckingTelegram)
        at_risk: set[str] = set()
        for _ in range(ROUNDS):
            with (
                standstills(tmp_path) as stood_still,
                under_load(made, range(30_001, 30_031), per_second=150),
            ):
                time.sleep(moment.uniform(0.3, 1.5))
                killed_at = time.monotonic()
                made.gateway.kill9()
            slack = 2 * max(stood_still) if AT_RISK_SECONDS[mode] else 0.0  # a wait and a commit
            at_risk |= {
                name
                for name, update_id in made.update_ids.items()
                if telegram.acked.get(update_id, 0.0) > killed_at - AT_RISK_SECONDS[mode] - slack
            }
            made.gateway.spawn()
            wait_until(partial(only_these_are_open, made, at_risk), 60)
        made.quiet()

        lost = set(made.tally.open)
        print(f"\nbatched, {mode}: {len(lost)} lost of {len(made.tally.said)} in {ROUNDS} kills")
        assert lost <= at_risk
        assert made.tally.problems(reported=lost) == {}
        assert made.gateway.stop() == 0
        assert made.probe.faults() == []


@pytest.mark.parametrize("kill", range(2))
def test_batched_loses_nothing_that_was_polled(tmp_path: Path, kill: int) -> None:
    """It dies before the commit, but not before the next poll could have gone out."""
    with world(tmp_path, "polling", kind=TrappedGateway, OPENCLAW_DURABILITY="batched") as made:
        gateway = made.gateway
        assert isinstance(gateway, TrappedGateway)
        gateway.set_trap("ingest:before_commit", 1 + kill, pause=1.0)
        with under_load(made, range(30_301, 30_306), per_second=20):
            wait_for_death(gateway, "ingest:before_commit")
        gateway.remove_trap()
        gateway.spawn()

        made.settle()
        made.quiet()
        assert made.tally.problems() == {}
        assert made.tally.marked() == 0


def test_batched_writes_everything_before_it_stops(tmp_path: Path) -> None:
    with world(tmp_path, OPENCLAW_DURABILITY="batched") as made:
        wait_until(lambda: made.telegram.webhook.url)
        for person in range(30_101, 30_121):
            made.say(person)
        wait_until(lambda: not made.telegram.pending)

        assert made.gateway.stop() == 0
        made.gateway.restart()
        made.settle()

        made.quiet()
        assert made.tally.problems() == {}


def test_full_keeps_everything(tmp_path: Path) -> None:
    with world(tmp_path, kind=TrappedGateway, OPENCLAW_DURABILITY="full") as made:
        for point in ("ingest:after_commit", "webhook:before_answer"):
            crash_at(made, point, 3, range(30_201, 30_206))
            made.settle()
        made.quiet()

        assert made.tally.problems() == {}
        assert made.gateway.stop() == 0
        assert made.probe.faults() == []
