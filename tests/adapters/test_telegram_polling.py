"""Polling that loses nothing: our own offset, moved when the messages are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

import adapters.telegram
from adapters.base import ChannelDown, Cursor, Inbound, Outbound, Rejected
from adapters.telegram import OFFSET_LIFE_SECONDS, TelegramAdapter
from tests.adapters.telegram_harness import TOKEN
from tests.fakes.telegram import FakeTelegram


class Inlet:
    """The core's side: keeps what it is given, unless told to fail."""

    def __init__(self, cursor: Cursor | None = None) -> None:
        self.arrivals: list[Inbound | Rejected] = []
        self.cursors: list[str | None] = []
        self.position = cursor
        self.failures: list[str] = []
        self.alive_count = 0
        self.broken: Exception | None = None
        self.changed = asyncio.Event()

    async def cursor(self) -> Cursor | None:
        return self.position

    async def accept(
        self, arrivals: Sequence[Inbound | Rejected], cursor: str | None = None
    ) -> None:
        if self.broken is not None:
            raise self.broken
        self.arrivals += arrivals
        self.cursors.append(cursor)
        if cursor is not None:
            self.position = Cursor(cursor, 0.0)
        self.changed.set()

    def alive(self) -> None:
        self.alive_count += 1
        self.changed.set()

    def failing(self, detail: str) -> None:
        self.failures.append(detail)
        self.changed.set()

    async def until(self, predicate: Any) -> None:
        async with asyncio.timeout(5):
            while not predicate():
                self.changed.clear()
                await self.changed.wait()

    @property
    def texts(self) -> list[str]:
        return [arrival.text for arrival in self.arrivals if isinstance(arrival, Inbound)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between failed polls are real, but short."""
    monkeypatch.setattr(adapters.telegram, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(adapters.telegram, "LONGEST_PAUSE_SECONDS", 0.02)


@pytest.fixture
async def listening(adapter: TelegramAdapter) -> AsyncIterator[Any]:
    """Starts `adapter.listen` with an inlet; stops all of them at the end."""
    tasks: list[asyncio.Task[None]] = []

    def start(inlet: Inlet) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(adapter.listen(inlet)))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_poller_and_a_sender_share_the_transport(
    adapter: TelegramAdapter, fake: FakeTelegram, listening: Any
) -> None:
    inlet = Inlet()
    listening(inlet)
    await fake.until(lambda: len(fake.called("getUpdates")) >= 2)
    await asyncio.gather(*(adapter.send(Outbound("k", str(n), "hi")) for n in range(1, 50)))
    assert len(fake.sent) == 49


async def test_asks_for_the_next_only_when_these_are_kept(
    fake: FakeTelegram, listening: Any
) -> None:
    inlet = Inlet()
    for number in range(250):
        fake.say(5, f"message {number}")
    listening(inlet)
    await inlet.until(lambda: len(inlet.texts) == 250)
    assert inlet.texts == [f"message {number}" for number in range(250)]
    await fake.until(lambda: not fake.pending)
    assert inlet.position is not None
    assert offsets(fake) == [None, *inlet.cursors]


async def test_nothing_moves_while_the_database_fails(fake: FakeTelegram, listening: Any) -> None:
    inlet = Inlet()
    inlet.broken = OSError("disk full")
    fake.say(5, "precious")
    for _ in range(3):
        with pytest.raises(OSError, match="disk full"):
            await listening(inlet)
        assert len(fake.pending) == 1
    inlet.broken = None
    listening(inlet)
    await inlet.until(lambda: inlet.texts == ["precious"])
    await fake.until(lambda: not fake.pending)


async def test_one_poisoned_update_blocks_nobody(fake: FakeTelegram, listening: Any) -> None:
    inlet = Inlet()
    fake.say(5, "before")
    fake.push({"message": {"message_id": "seven", "chat": [1]}})
    fake.push({"edited_message": None})
    fake.say(5, "after")
    listening(inlet)
    await inlet.until(lambda: len(inlet.arrivals) == 4)
    assert inlet.texts == ["before", "after"]
    rejected = [arrival for arrival in inlet.arrivals if isinstance(arrival, Rejected)]
    assert [item.external_id for item in rejected] == ["update:1002", "update:1003"]
    assert json.loads(rejected[0].payload)["message"]["message_id"] == "seven"
    await fake.until(lambda: not fake.pending)


async def test_unsupported_updates_are_passed_over(fake: FakeTelegram, listening: Any) -> None:
    inlet = Inlet()
    fake.push({"poll_answer": {"poll_id": "1"}})
    fake.push({"something_new": {}})
    listening(inlet)
    await fake.until(lambda: not fake.pending)
    assert inlet.arrivals == []
    assert inlet.cursors == ["1003"]


async def test_goes_on_where_it_was(fake: FakeTelegram, listening: Any) -> None:
    for text in ("seen", "seen too", "new"):
        fake.say(5, text)
    inlet = Inlet(Cursor("1003", 3600.0))
    listening(inlet)
    await inlet.until(lambda: inlet.texts == ["new"])


@pytest.mark.parametrize("cursor", [Cursor("999999", OFFSET_LIFE_SECONDS + 60), Cursor("?", 1.0)])
async def test_a_stale_offset_is_forgotten(
    cursor: Cursor, fake: FakeTelegram, listening: Any
) -> None:
    fake.say(5, "numbered afresh")
    inlet = Inlet(cursor)
    listening(inlet)
    await inlet.until(lambda: inlet.texts == ["numbered afresh"])
    assert "offset" not in fake.called("getUpdates")[0].params


async def test_an_offset_grows_stale_while_we_listen(
    fake: FakeTelegram, listening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inlet = Inlet()
    fake.say(5, "first")
    listening(inlet)
    await fake.until(lambda: offsets(fake)[-1:] == ["1002"])
    monkeypatch.setattr(adapters.telegram, "OFFSET_LIFE_SECONDS", 0.0)
    fake.fail("getUpdates", status=500)
    fake.push({"update_id": 5_000, "poll": {}})
    await fake.until(lambda: offsets(fake)[-1] is None)


def offsets(fake: FakeTelegram) -> list[str | None]:
    return [call.params.get("offset") for call in fake.called("getUpdates")]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 409, "description": "Conflict: terminated by other getUpdates"}, "terminated"),
        ({"status": 502, "body": b"<html>"}, "Bad Gateway"),
        ({"drop": "before"}, "disconnected"),
        ({"status": 200, "body": b'{"ok":true,"result":{}}'}, "no list"),
        ({"status": 200, "body": b'{"ok":true,"result":[17]}'}, "without an id"),
        ({"status": 200, "body": b"["}, "not JSON"),
    ],
    ids=["conflict", "bad gateway", "hung up", "no list", "no ids", "not JSON"],
)
async def test_a_failed_poll_is_reported_and_repeated(
    fault: dict[str, Any], said: str, fake: FakeTelegram, listening: Any
) -> None:
    inlet = Inlet()
    fake.fail("getUpdates", times=2, **fault)
    fake.say(5, "after the storm")
    task = listening(inlet)
    await inlet.until(lambda: inlet.texts)
    assert inlet.texts == ["after the storm"]
    assert said in inlet.failures[0]
    assert TOKEN not in "".join(inlet.failures)
    assert inlet.alive_count >= 1
    assert not task.done()


async def test_a_second_poller_is_told_apart(
    adapter: TelegramAdapter, fake: FakeTelegram, listening: Any
) -> None:
    one, other = Inlet(), Inlet()
    listening(one)
    await fake.until(lambda: len(fake.called("getUpdates")) >= 2)
    listening(other)
    await one.until(lambda: one.failures)
    assert "other getUpdates" in one.failures[0]


async def test_a_revoked_token_ends_listening(fake: FakeTelegram, listening: Any) -> None:
    inlet = Inlet()
    fake.fail("getUpdates", status=401, description="Unauthorized")
    with pytest.raises(ChannelDown):
        await listening(inlet)
    assert len(inlet.failures) == 1
    assert inlet.alive_count == 0


async def test_is_alive_soon_though_nobody_writes(fake: FakeTelegram, listening: Any) -> None:
    inlet = Inlet()
    listening(inlet)
    await inlet.until(lambda: inlet.alive_count == 1)
    waits = [call.params["timeout"] for call in fake.called("getUpdates")]
    assert waits[0] == "0"
    await fake.until(lambda: len(fake.called("getUpdates")) == 2)
    assert fake.called("getUpdates")[1].params["timeout"] == "50"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every `asyncio.sleep`, written down instead of slept."""
    asked: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    monkeypatch.setattr(adapters.telegram, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(adapters.telegram, "LONGEST_PAUSE_SECONDS", 30.0)
    return asked


async def test_pauses_grow_are_bounded_and_start_again(
    fake: FakeTelegram, listening: Any, pauses: list[float]
) -> None:
    inlet = Inlet()
    fake.fail("getUpdates", status=500, times=7)
    listening(inlet)
    await inlet.until(lambda: inlet.alive_count)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    fake.fail("getUpdates", status=500)
    fake.say(5, "ends the poll that waits")
    await inlet.until(lambda: len(inlet.failures) == 8)
    assert pauses[7:] == [1]


async def test_waits_as_long_as_telegram_asks(
    fake: FakeTelegram, listening: Any, pauses: list[float]
) -> None:
    inlet = Inlet()
    fake.fail("getUpdates", retry_after=77)
    listening(inlet)
    await inlet.until(lambda: inlet.alive_count)
    assert pauses == [77]
