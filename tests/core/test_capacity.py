"""When as much runs as may run: whoever had to wait is looked for as soon as there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from django.db import OperationalError

from adapters.base import Outbound, Receipt
from gateway import delivery
from gateway.agents.base import Event, Final, Question
from gateway.ledger import Ledger
from gateway.ledger.batcher import Claimer
from gateway.models import Delivery
from gateway.turns import RunnerSettings
from tests.core.house import House
from tests.core.kit import TestChat, dispositions, inbound, queue, until

pytestmark = pytest.mark.usefixtures("agent")


async def _echo(question: Question) -> AsyncIterator[Event]:
    yield Final("fine")


@pytest.mark.parametrize(("max_turns", "max_sends"), [(1, 200), (500, 1), (1, 1)])
@pytest.mark.parametrize("limit", ["MAX_SENDS", "MAX_ALL"])
async def test_with_room_for_one_everybody_is_answered(
    monkeypatch: pytest.MonkeyPatch, limit: str, max_turns: int, max_sends: int
) -> None:
    """A full runner and a full sender lose no wake-up: nothing else would come and look."""
    monkeypatch.setattr(delivery, limit, max_sends)
    async with House(_echo, runner=RunnerSettings(max_turns=max_turns)) as house:
        await house.write(*(inbound(str(n), f"m{n}", user=f"u{n}") for n in range(8)))
        await house.settled(lambda: Delivery.objects.filter(state="sent").count() == 8)
        assert set((await house.read(dispositions)).values()) == {"answered"}


async def test_a_platform_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 sends that get no answer for a minute kept every other channel waiting as long."""
    monkeypatch.setattr(delivery, "MAX_SENDS", 3)
    go = asyncio.Event()

    async def hang(outbound: Outbound) -> Receipt:
        if outbound.text == "hangs":
            await go.wait()
        return Receipt(outbound.key)

    async with House(chat=TestChat(hang)) as house:
        house.limiter.add_channel("other", house.chat.capabilities, unlimited=True)

        def fill() -> None:
            for number in range(10):
                queue("hangs", f"h{number}")
            for number in range(5):
                queue("goes", f"g{number}", channel="other")

        await house.ledger.call(fill)
        house.ledger.poke()
        await house.settled(lambda: Delivery.objects.filter(text="goes", state="sent").count() == 5)
        assert house.chat.said.count("hangs") == 3
        go.set()
        await house.settled(lambda: Delivery.objects.filter(state="sent").count() == 15)


async def test_a_round_that_the_database_refused_is_looked_for_again() -> None:
    """What it would have claimed comes although nobody pokes a second time."""
    refused = iter([True, True, False])
    taken: list[list[str]] = []

    def claim(limit: int) -> list[str]:
        if next(refused, False):
            raise OperationalError("database is locked")
        return ["work"] if not taken else []

    ledger = Ledger({}, on_rollback=lambda: None)
    ledger.start()
    ledger.claim_for(Claimer("some", claim, lambda: 4, taken.append, after=("never",)))
    try:
        await until(lambda: taken == [["work"]])
    finally:
        await ledger.stop()
