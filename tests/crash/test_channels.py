"""kill -9 on every channel, at the points where a platform is involved and at any moment."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.trapped import (
    TrappedGateway,
    crash_at,
    crash_somewhen,
    under_load,
)
from tests.e2e.channels import WAYS
from tests.e2e.town import town

pytestmark = pytest.mark.heavy

POINTS = (
    "ingest:before_commit",
    "ingest:after_commit",
    "finish_turns:after_commit",
    "start_deliveries:after_commit",
    "send:before",
    "send:after",
    "finish_deliveries:before_commit",
)
ANY_MOMENT = 7
SETTLE_SECONDS = 120.0

DROPS_REPEATS = ("discord",)
"""Platforms that drop a repeated send: there not even a marked double may be seen."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WAYS)
def test_kills_on_every_channel_lose_nothing_and_double_nothing_unlabelled(
    name: str, tmp_path: Path
) -> None:
    moment = random.Random(len(name))
    with town(tmp_path, [name], kind=TrappedGateway) as made:
        gateway = made.gateway
        assert isinstance(gateway, TrappedGateway)
        made.say(1)
        made.settle()  # a bot that was never there before cannot know what it missed
        for number, point in enumerate(POINTS):
            for arrival in (1, 4):
                crash_at(made, point, arrival, range(10 * number + 1, 10 * number + 5))
        made.settle(SETTLE_SECONDS)
        with under_load(made, range(200, 210), per_second=20):
            for _ in range(ANY_MOMENT):
                crash_somewhen(made, moment)
        gateway.wait_ready()
        made.settle(SETTLE_SECONDS)
        (channel,) = made.channels
        said, marked = len(made.said()), made.marked(channel)
        print(f"\n{name}: {gateway.kills} kills, {said} messages, {marked} marked repeats")
        assert gateway.kills >= 20
        assert made.problems() == {}
        if name in DROPS_REPEATS:
            assert marked == 0


def test_what_was_sent_when_it_was_killed_is_settled_by_the_platforms_own_word(
    tmp_path: Path,
) -> None:
    """Sent, and the answer lost: WhatsApp's statuses carry our id, so nothing is repeated."""
    with town(tmp_path, ["whatsapp"], kind=TrappedGateway) as made:
        made.say(1)
        made.settle()
        for number in range(3):
            # one at a time: another send on its way may not have reached the platform
            crash_at(made, "send:after", 1, range(10 * number + 10, 10 * number + 11))
            made.settle(SETTLE_SECONDS)
        assert made.problems() == {}
        assert made.marked("whatsapp") == 0
        assert all(len(one.replies) == 1 for one in made.said().values())
