"""kill -9 at every point of a message's way, and at any moment: nothing lost, nothing doubled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ledger.recovery import MAX_CRASHES
from gateway.points import NAMES
from tests.crash.trapped import (
    KILLS,
    TrappedGateway,
    crash_at,
    crash_in_recovery,
    crash_somewhen,
    under_load,
    wait_for_death,
)
from tests.e2e.world import MODES, World, wait_until, world

pytestmark = pytest.mark.heavy

ARRIVALS = range(1, 2 + KILLS // 100)
"""At which arrival at a point it dies, one after the other; then twice more for recovery."""

OF_WEBHOOKS = [name for name in NAMES if name.startswith("webhook:")]
RANDOM_KILLS = KILLS // 4 or 8
SETTLE_SECONDS = 90.0


@pytest.fixture(scope="module", params=MODES)
def crash_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("crash"), request.param, kind=TrappedGateway) as made:
        yield made
        assert isinstance(made.gateway, TrappedGateway)
        print(
            f"\n{request.param}: {made.gateway.kills} kills, {len(made.tally.said)} messages, "
            f"{made.tally.marked()} marked repeats, {made.tally.problems() or 'no problems'}"
        )


def every_promise_is_kept(made: World) -> None:
    """Everything is answered, once or with the mark, and no work is left."""
    made.settle(SETTLE_SECONDS)
    made.quiet(SETTLE_SECONDS)
    assert made.tally.problems() == {}
    assert made.probe.faults() == []
    assert made.probe.rows("sessions_app.Message", "pk", disposition="pending") == []


def killed_everywhere(made: World, point: str) -> None:
    first = 10_000 + 100 * NAMES.index(point)
    people = range(first, first + 6)

    for arrival in ARRIVALS:
        crash_at(made, point, arrival, people)
        every_promise_is_kept(made)
    crash_in_recovery(made, point, people)

    every_promise_is_kept(made)


@pytest.mark.parametrize("point", [name for name in NAMES if name not in OF_WEBHOOKS])
def test_a_kill_at_every_point_loses_nothing(crash_world: World, point: str) -> None:
    killed_everywhere(crash_world, point)


@pytest.mark.parametrize("crash_world", ["webhook"], indirect=True)
@pytest.mark.parametrize("point", OF_WEBHOOKS)
def test_a_kill_before_the_webhook_is_answered_loses_nothing(
    crash_world: World, point: str
) -> None:
    killed_everywhere(crash_world, point)


@pytest.mark.parametrize("place", ["before_commit", "after_commit"])
def test_a_kill_while_a_preview_opens_loses_nothing(tmp_path: Path, place: str) -> None:
    """In groups answers grow by edits: the row of the first part is there before the answer."""
    with world(tmp_path, kind=TrappedGateway, OPENCLAW_TELEGRAM_GROUPS="all") as made:
        gateway = made.gateway
        assert isinstance(gateway, TrappedGateway)
        made.agent.behave(tokens=20, delay=0.2)
        gateway.set_trap(f"open_previews:{place}", 1)
        made.say(32, chat=-1032)
        wait_for_death(gateway, f"open_previews:{place}")
        gateway.remove_trap()
        made.agent.behave()
        gateway.spawn()

        every_promise_is_kept(made)


@pytest.mark.timeout(1200)
def test_kills_at_any_moment_under_load_lose_nothing(crash_world: World) -> None:
    moment = random.Random(20)
    people = range(20_000, 20_030)

    with under_load(crash_world, people, per_second=40):
        for _ in range(RANDOM_KILLS):
            crash_somewhen(crash_world, moment)

    every_promise_is_kept(crash_world)


def test_a_message_that_kills_the_gateway_every_time_is_quarantined(tmp_path: Path) -> None:
    with world(tmp_path, kind=TrappedGateway, CRASH_QUARANTINE="1") as made:
        gateway = made.gateway
        assert isinstance(gateway, TrappedGateway)
        made.say(30)
        made.settle()
        made.quiet()
        gateway.set_trap("agent:asked", 1)
        killer = made.say(31)
        for _ in range(MAX_CRASHES):
            wait_for_death(gateway, "agent:asked")
            gateway.spawn(wait=False)
        gateway.wait_ready()  # the trap is still set, but nobody walks into it

        (turn,) = made.probe.rows("gateway.Turn", "state", "crashes", session__chat_id="31")
        messages = made.probe.rows(
            "sessions_app.Message", "role", "disposition", session__chat_id="31"
        )
        assert turn == {"state": "quarantined", "crashes": MAX_CRASHES}
        assert messages == [
            {"role": "user", "disposition": "failed"},
            {"role": "system", "disposition": ""},  # the person is told, once
        ]
        gateway.remove_trap()
        gateway.restart()
        later = [made.say(30), made.say(31)]
        wait_until(lambda: all(made.tally.answered(name) for name in later), SETTLE_SECONDS)
        made.quiet()
        assert made.tally.problems(reported={killer}) == {}
        assert made.tally.marked() == 0
