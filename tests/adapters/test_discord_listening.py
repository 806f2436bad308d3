"""Listening on Discord: nothing is lost by drops, new sessions, outages and bad events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

import adapters._discord_listen
import adapters.discord
from adapters._discord_client import Place, place_of
from adapters.base import Arriving, ChannelDown, Cursor, Inbound, Rejected, SendError, Transient
from adapters.discord import DiscordAdapter, DiscordConfig
from tests.adapters.discord_harness import TOKEN
from tests.fakes._discord_parts import BOT_ID, direct_chat, user, user_id
from tests.fakes.discord import FakeDiscord


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library pauses for seconds before it connects or identifies again."""

    async def at_once(*_: Any, **__: Any) -> None:
        return

    monkeypatch.setattr("discord.Client.before_identify_hook", at_once)
    monkeypatch.setattr("discord.backoff.ExponentialBackoff.delay", lambda _: 0.01)


class Inlet:
    """The core's side: keeps what it is given, unless told to fail."""

    def __init__(self) -> None:
        self.arrivals: list[Arriving] = []
        self.position: Cursor | None = None
        self.failures: list[str] = []
        self.broken: Exception | None = None
        self.known: list[str] = []
        self.alive_count = 0
        self.changed = asyncio.Event()

    async def cursor(self) -> Cursor | None:
        return self.position

    async def chats(self) -> list[str]:
        return self.known

    async def accept(self, arrivals: Sequence[Arriving], cursor: str | None = None) -> None:
        if self.broken is not None:
            raise self.broken
        known = {one.external_id for one in self.inbound}
        for one in arrivals:
            if not isinstance(one, Inbound) or one.is_edit or one.external_id not in known:
                self.arrivals.append(one)
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
        async with asyncio.timeout(8):
            while not predicate():
                self.changed.clear()
                await self.changed.wait()

    @property
    def inbound(self) -> list[Inbound]:
        return [one for one in self.arrivals if isinstance(one, Inbound)]

    @property
    def texts(self) -> list[str]:
        return [one.text for one in self.inbound]


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord(token=TOKEN) as running:
        yield running


@pytest.fixture
def adapter(fake: FakeDiscord, transport: httpx.AsyncBaseTransport) -> DiscordAdapter:
    return made(fake, transport)


def made(fake: FakeDiscord, transport: httpx.AsyncBaseTransport, **more: str) -> DiscordAdapter:
    """An adapter as after a start of the process: it remembers nothing."""
    settings = {"token": TOKEN, "api_url": fake.url, "gateway_url": fake.gateway_url, **more}
    return DiscordAdapter(DiscordConfig(**settings), transport)


@pytest.fixture
async def listening(adapter: DiscordAdapter) -> AsyncIterator[Any]:
    """Starts `listen` with an inlet, and waits until it is connected."""
    tasks: list[asyncio.Task[None]] = []

    async def start(inlet: Inlet, other: DiscordAdapter | None = None) -> asyncio.Task[None]:
        seen, first = inlet.alive_count, inlet.position is None
        task = asyncio.create_task((other or adapter).listen(inlet))
        tasks.append(task)
        up = lambda: inlet.position if first else inlet.alive_count > seen  # noqa: E731
        waiting = asyncio.create_task(inlet.until(up))
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return task

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def place(inlet: Inlet) -> Place:
    found = place_of(inlet.position)
    assert found is not None
    return found


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_messages_come_in_order_with_a_cursor_that_follows(
    fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    await listening(inlet)
    for number in range(200):
        last = fake.say(5, f"message {number}")
    await inlet.until(lambda: len(inlet.texts) == 200)
    assert inlet.texts == [f"message {number}" for number in range(200)]
    assert place(inlet).after == int(last["id"])
    assert [one["intents"] for one in fake.gateway.identifies] == [46593]
    assert inlet.inbound[0].chat_id == direct_chat(5)
    assert inlet.inbound[0].user_id == user_id(5)


async def test_the_very_first_start_fetches_nothing_and_remembers_the_moment(
    fake: FakeDiscord, listening: Any
) -> None:
    channel = fake.add_guild()
    fake.say(5, "long ago", chat=channel)
    inlet = Inlet()
    await listening(inlet)
    assert inlet.arrivals == []
    assert inlet.position is not None
    assert not fake.called("history")


async def test_a_heartbeat_that_is_answered_is_a_sign_of_life(
    fake: FakeDiscord, listening: Any
) -> None:
    fake.gateway.heartbeat_seconds = 0.05
    inlet = Inlet()
    await listening(inlet)
    seen = inlet.alive_count
    await inlet.until(lambda: inlet.alive_count >= seen + 3)
    assert fake.gateway.heartbeats >= 3


async def test_what_came_while_the_connection_was_cut_is_replayed(
    fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    await listening(inlet)
    for number in range(3):
        fake.gateway.drop()
        fake.say(5, f"while cut {number}")
        await inlet.until(lambda number=number: f"while cut {number}" in inlet.texts)
    assert inlet.texts == ["while cut 0", "while cut 1", "while cut 2"]
    assert len(fake.gateway.identifies) == 1
    assert len(fake.gateway.resumes) == 3
    assert not fake.called("history")
    assert "the connection to Discord was lost; reconnecting" in inlet.failures


@pytest.mark.parametrize("how", ["reconnect", "invalid, may resume", "closed with 4000"])
async def test_discord_asks_for_a_new_connection(
    how: str, fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    await listening(inlet)
    match how:
        case "reconnect":
            fake.gateway.reconnect()
        case "invalid, may resume":
            fake.gateway.invalidate(True)
        case _:
            fake.gateway.close(4000)
    await fake.until(lambda: fake.gateway.resumes)
    fake.say(5, "after")
    await inlet.until(lambda: inlet.texts == ["after"])
    assert len(fake.gateway.identifies) == 1


async def test_an_invalid_session_is_begun_anew_and_what_it_missed_is_fetched(
    fake: FakeDiscord, listening: Any
) -> None:
    channel = fake.add_guild()
    inlet = Inlet()
    await listening(inlet)
    fake.say(5, "first")
    await inlet.until(lambda: inlet.texts == ["first"])
    fake.gateway.invalidate(False)
    fake.say(5, "missed")
    fake.say(6, "missed, too", chat=channel)
    await inlet.until(lambda: len(inlet.texts) == 3)
    fake.say(5, "later")
    await inlet.until(lambda: len(inlet.texts) == 4)
    assert set(inlet.texts[1:3]) == {"missed", "missed, too"}
    assert inlet.texts[3] == "later"
    assert len(fake.gateway.identifies) == 2


async def test_what_came_while_the_process_was_down_is_fetched(
    fake: FakeDiscord, listening: Any, transport: httpx.AsyncBaseTransport
) -> None:
    channel = fake.add_guild()
    thread = fake.add_channel(next(iter(fake.guilds)), 11)
    quiet = fake.add_channel(next(iter(fake.guilds)))
    fake.direct(7)
    inlet = Inlet()
    task = await listening(inlet)
    await stopped(task)
    fake.gateway.forget()
    for number in range(250):
        fake.say(5, f"message {number}")
    fake.say(6, "in the channel", chat=channel)
    fake.say(6, "in the thread", chat=thread)
    inlet.known = [direct_chat(5), direct_chat(7), channel, direct_chat(99)]
    await listening(inlet, made(fake, transport))
    await inlet.until(lambda: len(inlet.texts) == 252)
    mine = [one.text for one in inlet.inbound if one.chat_id == direct_chat(5)]
    assert mine == [f"message {number}" for number in range(250)]
    groups = {one.text for one in inlet.inbound if one.is_group}
    assert groups == {"in the channel", "in the thread"}
    assert not [call for call in fake.called("history") if quiet in call.path]
    newest = max(int(one.external_id) for one in inlet.inbound)
    await inlet.until(lambda: place(inlet).after >= newest)


async def test_a_new_process_resumes_the_session_and_hears_also_who_is_new(
    fake: FakeDiscord, listening: Any, transport: httpx.AsyncBaseTransport
) -> None:
    """A first direct message is in no history that a bot can find."""
    channel = fake.add_guild()
    role = next(iter(fake.guilds.values()))["roles"][1]["id"]
    inlet = Inlet()
    task = await listening(inlet)
    fake.say(5, "before")
    await inlet.until(lambda: inlet.texts == ["before"])
    await stopped(task)
    fake.say(99, "hello, I am new")
    fake.say(6, f"<@&{role}> hi", chat=channel, mention_roles=[role])
    await listening(inlet, made(fake, transport))
    await inlet.until(lambda: len(inlet.texts) == 3)
    assert inlet.texts == ["before", "hello, I am new", "hi"]
    assert inlet.inbound[2].addressed
    assert len(fake.gateway.identifies) == len(fake.gateway.resumes) == 1
    assert not fake.called("history")
    fake.gateway.drop()
    fake.say(5, "after")
    await inlet.until(lambda: inlet.texts[-1] == "after")
    assert len(fake.gateway.identifies) == 1


async def test_an_old_session_is_not_asked_for(
    fake: FakeDiscord, listening: Any, transport: httpx.AsyncBaseTransport
) -> None:
    inlet = Inlet()
    await stopped(await listening(inlet))
    fake.say(5, "missed")
    inlet.known = [direct_chat(5)]
    assert inlet.position is not None
    inlet.position = Cursor(inlet.position.value, 400.0)
    await listening(inlet, made(fake, transport))
    await inlet.until(lambda: inlet.texts == ["missed"])
    assert not fake.gateway.resumes


async def test_a_session_that_lives_nowhere_is_tried_once(
    fake: FakeDiscord,
    listening: Any,
    transport: httpx.AsyncBaseTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapters.discord, "CONNECT_SECONDS", 0.3)
    inlet = Inlet()
    await stopped(await listening(inlet))
    gone = place(inlet)
    gone.url = "ws://127.0.0.1:9/gateway"
    inlet.position = Cursor(gone.text(), 0.0)
    other = made(fake, transport)
    with pytest.raises(Transient, match="no connection"):
        await other.listen(inlet)
    monkeypatch.setattr(adapters.discord, "CONNECT_SECONDS", 8.0)
    await listening(inlet, other)
    fake.say(5, "hello")
    await inlet.until(lambda: inlet.texts == ["hello"])


@pytest.mark.parametrize("value", ["", "17", "[]", '{"what": 1}', "{"])
async def test_a_cursor_that_is_none_is_a_first_start(
    value: str, fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    inlet.position = Cursor(value, 0.0)
    await listening(inlet)
    await inlet.until(lambda: place_of(inlet.position) is not None)
    assert inlet.arrivals == []


async def test_the_cursor_waits_until_all_that_was_missed_is_kept(
    fake: FakeDiscord, listening: Any, transport: httpx.AsyncBaseTransport
) -> None:
    inlet = Inlet()
    await stopped(await listening(inlet))
    before = inlet.position
    fake.gateway.forget()
    fake.say(5, "missed by one")
    fake.say(6, "missed by another")
    inlet.known = [direct_chat(5), direct_chat(6)]
    fake.fail("history", chat=direct_chat(6), status=500, times=1)
    other = made(fake, transport)
    task = asyncio.create_task(other.listen(inlet))
    await fake.until(lambda: fake.gateway.connected)
    fake.say(7, "newer than both")
    with pytest.raises(Transient):
        await task
    assert inlet.position is before
    assert "newer than both" not in inlet.texts
    inlet.known = [direct_chat(person) for person in (5, 6, 7)]
    await listening(inlet, made(fake, transport))
    await inlet.until(lambda: len(inlet.texts) == 3)


async def test_a_message_that_could_not_be_kept_is_seen_again(
    fake: FakeDiscord, adapter: DiscordAdapter, listening: Any
) -> None:
    """Also a person's very first one: `inlet.chats()` does not know that chat yet."""
    inlet = Inlet()
    task = await listening(inlet)
    inlet.broken = OSError("disk full")
    fake.say(5, "precious")
    with pytest.raises(OSError, match="disk full"):
        await task
    inlet.broken = None
    await listening(inlet)
    await inlet.until(lambda: inlet.texts == ["precious"])


async def test_an_event_that_breaks_the_library_ends_it_and_loses_nothing(
    fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    task = await listening(inlet)
    fake.say(5, "before")
    fake.dispatch("MESSAGE_CREATE", {"id": "12", "channel_id": "seven"})
    fake.say(5, "after")
    with pytest.raises(Transient, match=r"client ended: (Key|Value)Error"):
        await task
    assert any(isinstance(one, Rejected) for one in inlet.arrivals)
    await listening(inlet)
    await inlet.until(lambda: inlet.texts == ["before", "after"])


async def test_a_message_that_only_we_cannot_read_blocks_nobody(
    fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    await listening(inlet)
    odd = fake.say(5, "odd", attachments=[{**fake.attach("a.txt", b"a", "text/plain"), "url": 7}])
    fake.say(5, "fine")
    await inlet.until(lambda: len(inlet.arrivals) == 2)
    assert inlet.texts == ["fine"]
    (rejected,) = [one for one in inlet.arrivals if isinstance(one, Rejected)]
    assert rejected.external_id == odd["id"]


async def test_a_gateway_that_cannot_be_reached_is_the_supervisors_business(
    fake: FakeDiscord, listening: Any
) -> None:
    fake.gateway.refusals = 1
    inlet = Inlet()
    with pytest.raises(Transient):
        await (await listening(inlet))
    await listening(inlet)
    fake.say(5, "hello")
    await inlet.until(lambda: inlet.texts == ["hello"])


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 401}, ChannelDown),
        ({"status": 500, "times": 9}, Transient),
        ({"body": b"<html>", "status": 200}, Transient),
        ({"drop": "before", "times": 9}, Transient),
    ],
)
async def test_a_login_that_fails_says_how(
    fault: dict[str, Any],
    expected: type[SendError],
    fake: FakeDiscord,
    adapter: DiscordAdapter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def at_once(_: float) -> None:
        """The library waits for seconds between its own tries."""

    monkeypatch.setattr("discord.http.asyncio.sleep", at_once)
    fake.fail("me", **fault)
    inlet = Inlet()
    with pytest.raises(expected) as caught:
        await adapter.listen(inlet)
    assert inlet.failures == [caught.value.detail]


@pytest.mark.parametrize(
    ("code", "told"),
    [(4004, "for good"), (4010, "for good"), (4013, "for good"), (4014, "Message Content Intent")],
)
async def test_a_close_that_cannot_be_resumed_stops_the_channel(
    code: int, told: str, fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    task = await listening(inlet)
    fake.gateway.close(code)
    with pytest.raises(ChannelDown, match=told):
        await task


async def test_a_missing_intent_is_explained(fake: FakeDiscord, adapter: DiscordAdapter) -> None:
    fake.gateway.message_content = False
    with pytest.raises(ChannelDown, match="enable Message Content Intent at "):
        await adapter.listen(Inlet())


async def test_a_press_is_acknowledged_at_once_even_while_the_database_is_slow(
    fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    await listening(inlet)
    slow = asyncio.Event()
    keep = inlet.accept

    async def slowly(arrivals: Sequence[Arriving], cursor: str | None = None) -> None:
        await slow.wait()
        await keep(arrivals, cursor)

    inlet.accept = slowly  # type: ignore[method-assign]  # a slow database
    fake.say(5, "hello")
    sent = fake._do_send(_Asked(direct_chat(5)), {"content": "Which?"}, {})  # type: ignore[arg-type]  # all it reads
    pressed = fake.press(5, sent["id"], "the second")
    await fake.until(lambda: fake.called("callback"))
    assert fake.called("callback")[0].body == {"type": 6}
    slow.set()
    await inlet.until(lambda: len(inlet.inbound) == 2)
    assert inlet.inbound[1].text == "the second"
    assert inlet.inbound[1].external_id == f"interaction:{pressed['id']}"
    assert "interaction-token" not in str(inlet.arrivals)


class _Asked:
    """A request as far as the fake's `send` reads it."""

    def __init__(self, chat: str) -> None:
        self.match_info = {"chat": chat}


async def test_an_edit_counts_once_and_a_preview_not_at_all(
    fake: FakeDiscord, listening: Any
) -> None:
    inlet = Inlet()
    await listening(inlet)
    message = fake.say(5, "helo")
    fake.dispatch("MESSAGE_UPDATE", {**message, "embeds": [{"type": "link"}]})
    fake.edit(message, "hello")
    fake.dispatch("MESSAGE_UPDATE", {**message, "embeds": [{"type": "link"}]})
    fake.say(5, "done")
    await inlet.until(lambda: inlet.texts[-1:] == ["done"])
    assert inlet.texts == ["helo", "hello", "done"]
    assert [one.is_edit for one in inlet.inbound] == [False, True, False]


async def test_a_mention_of_the_bots_role_is_meant_for_it(
    fake: FakeDiscord, listening: Any
) -> None:
    channel = fake.add_guild()
    role = next(iter(fake.guilds.values()))["roles"][1]["id"]
    inlet = Inlet()
    await listening(inlet)
    fake.say(5, f"<@&{role}> hello", chat=channel, mention_roles=[role])
    fake.say(5, f"<@{BOT_ID}>, and you?", chat=channel, mentions=[user(1), {"id": BOT_ID}])
    fake.say(5, "not for it", chat=channel)
    await inlet.until(lambda: len(inlet.inbound) == 3)
    assert inlet.texts == ["hello", "and you?", "not for it"]
    assert [one.addressed for one in inlet.inbound] == [True, True, False]


async def test_guilds_that_never_come_do_not_hold_up_the_others(
    fake: FakeDiscord, listening: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters._discord_listen, "GUILDS_SECONDS", 0.1)
    fake.add_guild()
    ready, _ = fake._ready()
    monkeypatch.setattr(fake.gateway, "_ready", lambda: (ready, []))
    inlet = Inlet()
    await listening(inlet)
    fake.say(5, "hello")
    await inlet.until(lambda: inlet.texts == ["hello"])


async def test_listening_leaves_nothing_behind(fake: FakeDiscord, listening: Any) -> None:
    inlet = Inlet()
    before = asyncio.all_tasks()
    await stopped(await listening(inlet))
    await fake.until(lambda: not fake.gateway.connected)
    left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}  # type: ignore[union-attr]  # named
    assert not [name for name in left if "Client" in name or "Listening" in name]
