"""A storm of messages, duplicates and bad arrivals: each is answered once, or set aside."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import orjson
import pytest
from django.db import OperationalError

from adapters.base import Inbound, Rejected
from gateway.agents.base import AgentError, Event, Final, Question, Token
from gateway.ledger import Ledger, Unavailable
from gateway.models import Cursor, Delivery, SetAside, Turn
from gateway.turns import RunnerSettings
from sessions_app.models import Message
from tests.core.house import House, at_points
from tests.core.kit import dispositions, inbound, texts, until

pytestmark = pytest.mark.usefixtures("agent")

MakeLedger = Callable[..., Ledger]


async def _cursors(house: House) -> list[str]:
    found: list[str] = await house.read(
        lambda: list(Cursor.objects.values_list("value", flat=True))
    )
    return found


# --- a storm ------------------------------------------------------------------------------------


def unanswered(question: Question) -> list[str]:
    """What the person wrote since the last answer, as the agent sees it."""
    entries = [orjson.loads(entry) for entry in question.history]
    last = max((i for i, e in enumerate(entries) if e["role"] == "assistant"), default=-1)
    return [entry["content"] for entry in entries[last + 1 :]]


@pytest.mark.parametrize("seed", range(6))
async def test_in_a_storm_every_message_is_answered_once_and_in_order(seed: int) -> None:
    """OC 121831, OC 139847, OC 5951, CW 3608: messages in mid-turn, retries, duplicates,
    a database that fails now and then; nobody comes by to wake what sleeps."""
    rng = random.Random(seed)
    users = [f"u{n}" for n in range(8)]

    async def moody(question: Question) -> AsyncIterator[Event]:
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(rng.choice([0, 0, 0.001]))
        if rng.random() < 0.2:
            raise AgentError("unreachable", "not now", retryable=True)
        yield Token(text := " ".join(unanswered(question)))
        await asyncio.sleep(rng.choice([0, 0.002]))
        yield Final(text)

    def fail(name: str) -> None:
        if name.endswith("before_commit") and random.Random().random() < 0.05:
            raise OperationalError("database is locked")

    settings = RunnerSettings(attempts=100, retry_seconds=0.001, max_turns=rng.choice([3, 500]))
    written: dict[str, list[str]] = defaultdict(list)

    async def person(user: str) -> None:
        for number in range(12):
            message = inbound(f"{user}.{number}", f"{user}.{number}", user)
            written[f"chat-{user}"].append(message.text)
            while True:
                try:
                    await house.write(*[message] * rng.randrange(1, 3))
                    break
                except Unavailable:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(rng.choice([0, 0, 0.002, 0.01]))

    async with House(moody, runner=settings) as house:
        with at_points(fail):
            await asyncio.gather(*map(person, users))
            expected = sum(len(texts) for texts in written.values())
            await until(lambda: sum(len(text.split()) for text in house.chat.said) >= expected, 30)
        await house.settled(lambda: not Turn.objects.filter(state__in=["queued", "running"]))
        await house.settled(lambda: not Delivery.objects.exclude(state="sent"))
        got: dict[str, list[str]] = defaultdict(list)
        for outbound in house.chat.sent:
            got[outbound.chat_id].extend(outbound.text.split())
        assert got == written
        assert set((await house.read(dispositions)).values()) == {"answered"}
        roles = await house.read(
            lambda: [
                (m.session_id, m.role, m.text)
                for m in Message.objects.order_by("session_id", "seq")
            ]
        )
    for session in {row[0] for row in roles}:
        asked = [text for s, role, text in roles if s == session and role == "user"]
        answered = [text for s, role, text in roles if s == session and role == "assistant"]
        assert " ".join(answered).split() == asked


async def test_fifty_webhooks_with_the_same_update_at_once_make_one_answer() -> None:
    """OC 42681."""
    async with House() as house:
        await asyncio.gather(*(house.write(inbound("1", "a")) for _ in range(50)))
        await house.write(inbound("2", "b", user="u2"))
        assert await house.said(2) == ["fine", "fine"]
        assert await house.read(lambda: Message.objects.filter(role="user").count()) == 2


# --- the way in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        inbound("9", "bad", user="u9", target={"quote": "\ud800"}),
        inbound("9", "bad\0\ud800", user="u9\ud800", chat_id="c\0", sender_name="\udfff\0"),
        Rejected("9\ud800\0", "no sender \ud800", "{\0\ud800}"),
        Rejected("", "x" * 100_000, "y" * 100_000),
    ],
    ids=["target", "text and ids", "rejected", "long"],
)
async def test_one_bad_arrival_does_not_hold_back_its_neighbours(bad: Inbound | Rejected) -> None:
    """python-telegram-bot's get_updates: set the bad one aside, and go on."""
    async with House() as house:
        await house.write(inbound("1", "a"), bad, inbound("2", "b", user="u2"), cursor="10")
        assert await _cursors(house) == ["10"]
        known = await house.read(texts)
        assert {"a", "b"} <= set(known)
        aside = await house.read(SetAside.objects.count)
        assert aside + sum(text.startswith("bad") for text in known) == 1
