"""Lines: a channel is opened, watched, and opened again; its health is its own inbound side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from adapters.base import ChannelDown, Inlet, Refused, Transient
from gateway import lines as lines_module
from gateway.channels import Rules
from gateway.ingest import Inlet as CoreInlet
from gateway.ledger import Unavailable
from gateway.lines import DOWN_SECONDS, WATCH_SECONDS, Keeper, Line
from tests.conftest import Clock
from tests.core.house import House
from tests.core.kit import TestChat, inbound, texts, until


class ListeningChat(TestChat):
    """A channel with a listener that does what a test's functions do, one after the other."""

    def __init__(self, *steps: Callable[[Inlet], Any]) -> None:
        super().__init__()
        self.steps = list(steps)
        self.listening = 0

    @property
    def listens(self) -> bool:
        return True

    async def listen(self, inlet: Inlet) -> None:
        self.listening += 1
        if self.steps:
            await self.steps.pop(0)(inlet)
        else:
            await asyncio.Event().wait()


class CalledChat(TestChat):
    """A channel with a webhook, whose platform says what a test's list holds."""

    def __init__(self, *words: str | Exception | None) -> None:
        super().__init__()
        self.words = list(words)

    async def inbound_trouble(self) -> str | None:
        word = self.words.pop(0) if self.words else None
        if isinstance(word, Exception):
            raise word
        return word


class Watched:
    """A keeper over one line, whose sleeps are written down instead of slept."""

    def __init__(
        self,
        chat: TestChat,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
        commands: Mapping[str, str] | None = None,
    ) -> None:
        self.line = Line("testchat", chat, Rules())
        self.pauses: list[float] = []
        self.ups: list[str] = []
        self.downs: list[str] = []
        self.keeper = Keeper(
            lambda name: f"https://example.com/webhooks/{name}",
            lambda line: self.ups.append(line.name),
            lambda line: self.downs.append(line.detail),
            self.listen,
            commands,
        )
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if seconds >= 1:
                self.pauses.append(seconds)
                clock.advance(seconds)
            await real(0)

        monkeypatch.setattr(lines_module.asyncio, "sleep", sleep)

    async def listen(self, line: Line, listener: Any) -> None:
        await listener.listen(None)

    async def run(self, condition: Callable[[], Any]) -> None:
        """Keep the line until `condition` holds."""
        task = asyncio.create_task(self.keeper.keep(self.line))
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _raise(error: Exception) -> Callable[[Inlet], Any]:
    async def listen(inlet: Inlet) -> None:
        raise error

    return listen


async def _return(inlet: Inlet) -> None:
    """A listener that ends, which it should not."""


async def test_a_channel_comes_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = ListeningChat()
    watched = Watched(chat, clock, monkeypatch)
    await watched.run(lambda: chat.listening)
    assert chat.opened == ["https://example.com/webhooks/testchat"]
    assert (watched.line.state, watched.line.alive_at, watched.ups) == (
        "up",
        clock(),
        ["testchat"],
    )


async def test_a_channel_that_cannot_open_is_tried_again_ever_more_seldom(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OC 45712: reconnect storms."""
    chat = ListeningChat()
    chat.open_errors = [Transient("no host")] * 9
    watched = Watched(chat, clock, monkeypatch)
    await watched.run(lambda: watched.pauses[:-1] and watched.line.state == "failing")
    assert watched.line.detail == "no host"
    await watched.run(lambda: chat.listening)
    assert max(watched.pauses) <= 60
    assert watched.line.state == "up"


async def test_a_channel_that_the_platform_closed_is_left_alone_for_long(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OC 25591: a terminal close treated as passing, 440 loops."""
    chat = ListeningChat()
    chat.open_errors = [ChannelDown("token revoked")] * 4
    watched = Watched(chat, clock, monkeypatch)
    await watched.run(lambda: chat.listening)
    assert watched.pauses == [DOWN_SECONDS] * 4
    assert watched.downs == ["token revoked"] * 4


async def test_also_one_that_had_been_up_for_a_day(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OC 25591."""

    async def a_day(inlet: Inlet) -> None:
        clock.advance(86_400)
        raise ChannelDown("token revoked")

    chat = ListeningChat(a_day)
    watched = Watched(chat, clock, monkeypatch)
    await watched.run(lambda: chat.listening == 2)
    assert watched.pauses == [DOWN_SECONDS]


async def test_a_send_that_finds_the_channel_closed_stops_its_listener_too(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ListeningChat()
    watched = Watched(chat, clock, monkeypatch)
    task = asyncio.create_task(watched.keeper.keep(watched.line))
    await until(lambda: chat.listening)
    watched.keeper.down(watched.line, "account closed")
    assert (watched.line.state, watched.line.detail) == ("down", "account closed")
    await until(lambda: watched.pauses)
    task.cancel()
    assert watched.pauses[0] == DOWN_SECONDS


@pytest.mark.parametrize(
    ("step", "detail"),
    [
        (_raise(ZeroDivisionError()), "ZeroDivisionError"),
        (_raise(Refused("bad request")), "bad request"),
        (_raise(Unavailable("database is locked")), "database is locked"),
        (_return, "the listener of testchat ended"),
    ],
)
async def test_a_listener_that_ends_is_started_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, step: Callable[[Inlet], Any], detail: str
) -> None:
    """OC 78422: inbound dies while the channel says "connected"."""
    chat = ListeningChat(step)
    watched = Watched(chat, clock, monkeypatch)
    details: list[str] = []
    fail = watched.line.fail

    def note(text: str) -> None:
        details.append(text)
        fail(text)

    watched.line.fail = note  # type: ignore[method-assign]
    await watched.run(lambda: chat.listening == 2)
    assert details == [detail]
    assert watched.pauses == [1.0]
    assert watched.line.state == "up"


def test_only_the_inbound_side_says_that_a_channel_lives(clock: Clock) -> None:
    """OC 78473: successful sends fed the watchdog."""
    line = Line("testchat", TestChat(), Rules(), state="up")
    line.fail("poll failed")
    assert (line.state, line.detail, line.alive_at) == ("failing", "poll failed", None)
    line.alive()
    assert (line.state, line.detail, line.alive_at) == ("up", "", clock())
    clock.advance(5)
    line.heard(0)
    assert (line.alive_at, line.last_inbound_at) == (clock(), None)
    line.heard(2)
    assert line.last_inbound_at == clock()


async def test_a_webhook_that_nobody_calls_is_asked_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OC 78422: inbound dies while the channel says "connected"; here the platform is asked."""
    chat = CalledChat(None, "it does not reach us", Transient("no answer"), None)
    watched = Watched(chat, clock, monkeypatch)
    await watched.run(lambda: not chat.words)
    assert set(watched.pauses) == {WATCH_SECONDS}
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "channel testchat: it does not reach us",
        "channel testchat: the platform cannot be asked whether it reaches us: no answer",
    ]
    assert watched.line.state == "up"


async def test_a_platform_that_closed_the_channel_says_so_when_asked(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(CalledChat(ChannelDown("token revoked")), clock, monkeypatch)
    await watched.run(lambda: watched.downs)
    assert watched.downs == ["token revoked"]


def test_a_channel_that_is_down_does_not_come_up_by_hearsay(clock: Clock) -> None:
    line = Line("testchat", TestChat(), Rules(), state="down", detail="token revoked")
    line.heard(1)
    assert (line.state, line.detail) == ("down", "token revoked")


async def test_an_inlet_keeps_the_position_with_what_was_read(agent: object) -> None:
    """NB 2652: our durable offset, not the library's memory."""
    async with House() as house:
        inlet = CoreInlet(house.line, house.ingress, house.ledger)
        assert await inlet.cursor() is None
        await inlet.accept([inbound("1", "a")], cursor="41")
        await inlet.accept([], cursor="42")
        found = await inlet.cursor()
        assert found is not None
        assert found.value == "42"
        assert 0 <= found.age_seconds < 5
        assert "a" in await house.read(texts)
        inlet.failing("no answer")
        assert house.line.state == "failing"
        inlet.alive()
        assert house.line.state == "up"


async def test_in_groups_only_what_is_for_us_is_heard(agent: object) -> None:
    async with House() as house:
        quiet = {"is_group": True, "chat_id": "g1"}
        await house.write(
            inbound("1", "chatter", addressed=False, **quiet),
            inbound("2", "to the bot", **quiet),
            inbound("3", "  \n", **quiet),
            cursor="3",
        )
        await house.said(1)
        assert await house.read(texts) == ["to the bot", "fine"]


@pytest.mark.parametrize(
    ("groups", "heard"),
    [("mention", ["named"]), ("all", ["named", "unnamed"]), ("off", [])],
)
def test_the_rule_for_groups(groups: str, heard: list[str]) -> None:
    said = {
        "named": inbound("1", is_group=True),
        "unnamed": inbound("2", is_group=True, addressed=False),
    }
    rules = Rules(groups=groups)
    assert [name for name, item in said.items() if rules.hears(item)] == heard
    assert rules.hears(inbound("3", addressed=False))


class PromptingChat(ListeningChat):
    """A platform that shows commands, unless it does not feel like it."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.shown: list[Mapping[str, str]] = []
        self.error = error

    async def prompt(self, commands: Mapping[str, str]) -> None:
        self.shown.append(commands)
        if self.error:
            raise self.error


@pytest.mark.parametrize("error", [None, Transient("no host"), Refused("no"), ChannelDown("gone")])
async def test_commands_are_shown_where_they_can_be_and_the_channel_is_up_anyway(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    chat = PromptingChat(error)
    watched = Watched(chat, clock, monkeypatch, {"/help": "this list"})
    await watched.run(lambda: chat.shown and chat.listening)
    assert chat.shown == [{"/help": "this list"}]
    assert (watched.line.state, watched.downs) == ("up", [])


async def test_without_commands_the_platforms_own_menu_stays(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = PromptingChat()
    watched = Watched(chat, clock, monkeypatch)
    await watched.run(lambda: chat.listening)
    assert (watched.line.state, chat.shown) == ("up", [])
