"""The turn runner: what an agent's behaviour does to the turn, the person and the others."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters._split import split
from adapters.base import Capabilities
from gateway import typing as typing_signs
from gateway.agents.base import AgentError, Event, Final, Question, Token, Trace
from gateway.ledger import operate
from gateway.ledger.recovery import take_over
from gateway.media.store import Store
from gateway.models import Agent, Delivery, Turn
from gateway.turns import RunnerSettings, backoff
from sessions_app.models import Message, Session
from tests.core.house import House, at_points
from tests.core.kit import TestChat, Verbs, dispositions, history_of, inbound, texts, turns, until

pytestmark = pytest.mark.usefixtures("agent")

QUIET = RunnerSettings(retry_seconds=0.001, failure_notice="")


def fails(*events: Event, code: str = "reported", retryable: bool = False) -> Callable[..., object]:
    """An agent that says `events` and then fails."""

    async def say(question: Question) -> AsyncIterator[Event]:
        for event in events:
            yield event
        raise AgentError(code, "as told", retryable=retryable)

    return say


class Stuck:
    """An agent that says something and then waits for the test."""

    def __init__(self, *said: str) -> None:
        self.said, self.go = said, asyncio.Event()
        self.closed = 0

    async def __call__(self, question: Question) -> AsyncIterator[Event]:
        try:
            for text in self.said:
                yield Token(text)
            await self.go.wait()
            yield Final("".join(self.said) or "done")
        finally:
            self.closed += 1


class TypingChat(TestChat):
    """A channel with a typing sign that does not stay long."""

    capabilities = Capabilities(text_limit=200, typing_seconds=0.005)

    def __init__(self) -> None:
        super().__init__()
        self.signs: list[str] = []
        self.fault: Exception | None = None

    async def typing(self, chat_id: str, target: Mapping[str, Any]) -> None:
        self.signs.append(chat_id)
        if self.fault:
            raise self.fault


async def _turn(house: House) -> Turn:
    found: list[Turn] = await house.read(turns)
    return found[0]


async def _ended(house: House) -> Turn:
    await house.settled(lambda: not Turn.objects.filter(state__in=["queued", "running"]))
    return await _turn(house)


# --- answers ------------------------------------------------------------------------------------


async def test_a_question_becomes_an_answer_where_it_came_from() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        yield Token("hel")
        yield Token("lo")
        yield Final("hello", metadata={"usage": {"total": 3}, "context": {"seen": 1}})

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        assert await house.said(1) == ["hello"]
        turn = await _ended(house)
        assert (turn.state, turn.usage, turn.attempts) == ("done", {"total": 3}, 1)
        assert turn.first_token_at is not None
        assert (await house.read(Session.objects.get)).context == {"seen": 1}
        asked = house.agents.asked[0]
        assert (asked.turn, asked.user_id, asked.chat_id) == (turn.pk, "u1", "chat-u1")
        await until(lambda: not house.runner.running())


async def test_what_final_says_wins_over_the_tokens() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        yield Token("draft")
        yield Final("fair copy")

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        assert await house.said(1) == ["fair copy"]
        assert await house.read(texts) == ["hi", "fair copy"]


@pytest.mark.parametrize("final", [Final("", silent=True), Final("psst", silent=True), Final("")])
async def test_silence_is_a_field_and_nothing_is_sent(final: Final) -> None:
    """OC 72217: control words leak into chats."""

    async def say(question: Question) -> AsyncIterator[Event]:
        yield final

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        assert (await _ended(house)).state == "done"
        assert await house.read(dispositions) == {"hi": "silent"}
        assert await house.read(texts) == ["hi"]
        assert not await house.read(Delivery.objects.exists)


async def test_links_to_files_are_sent_with_the_text(tmp_path: Path) -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        yield Final("see", attachments=[{"kind": "file", "url": "data:,hello", "name": "a.txt"}])

    async with House(say, store=Store(tmp_path, 1000)) as house:
        await house.write(inbound("1", "hi"))
        (text,) = await house.said(1)
        assert text.startswith("see\n\na.txt: https://example.com/media/")
        assert await house.read(texts) == ["hi", "see"]


async def test_what_the_agent_did_is_kept_for_the_operator() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        yield Trace("tool_call", {"name": "clock"})
        yield Final("noon")

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        turn = await _ended(house)
        assert turn.events == [{"kind": "tool_call", "data": {"name": "clock"}}]


# --- failures -----------------------------------------------------------------------------------


async def test_where_nothing_was_heard_the_agent_is_asked_again() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        if len(house.agents.asked) < 4:
            raise AgentError("unreachable", "refused", retryable=True)
        yield Final("at last")

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        assert await house.said(1) == ["at last"]
        turn = await _ended(house)
        assert (turn.state, turn.attempts, turn.error_code) == ("done", 4, "")
        assert len({asked.turn for asked in house.agents.asked}) == 1


async def test_tries_are_bounded() -> None:
    settings = RunnerSettings(attempts=3, retry_seconds=0.001, failure_notice="oh no")
    async with House(fails(code="unreachable", retryable=True), runner=settings) as house:
        await house.write(inbound("1", "hi"))
        assert await house.said(1) == ["oh no"]
        turn = await _ended(house)
        assert (turn.state, turn.attempts, turn.error_code) == ("failed", 3, "unreachable")
        assert len(house.agents.asked) == 3


@pytest.mark.parametrize("heard", [Token("half"), Trace("tool_call", {"name": "pay"})])
async def test_what_was_heard_is_never_asked_for_twice(heard: Event) -> None:
    """HE 49201: interrupted turns are re-run blindly, with side effects."""
    async with House(fails(heard, code="interrupted", retryable=True)) as house:
        await house.write(inbound("1", "hi"))
        assert await house.said(1) == ["oh no"]
        assert len(house.agents.asked) == 1
        turn = await _ended(house)
        assert (turn.state, turn.error_code) == ("failed", "interrupted")
        assert turn.partial_text == ("half" if isinstance(heard, Token) else "")
        assert await house.read(dispositions) == {"hi": "failed"}


async def test_a_failure_without_a_notice_says_nothing() -> None:
    async with House(fails(Token("half")), runner=QUIET) as house:
        await house.write(inbound("1", "hi"))
        assert (await _ended(house)).state == "failed"
        assert await house.read(texts) == ["hi"]
        assert house.chat.sent == []


async def test_an_answer_without_an_end_is_a_failure() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        yield Token("half")

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        turn = await _ended(house)
        assert (turn.state, turn.error_code, turn.partial_text) == ("failed", "interrupted", "half")


async def test_a_fault_of_ours_in_one_turn_leaves_the_others_alone() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        if question.user_id == "u1":
            raise ZeroDivisionError
        yield Final("fine")

    async with House(say) as house:
        await asyncio.gather(*(house.write(inbound(u, user=u)) for u in ("u1", "u2", "u3")))
        assert sorted(await house.said(3)) == ["fine", "fine", "oh no"]
        await _ended(house)
        failed = await house.read(lambda: turns(state="failed"))
        assert [turn.error_code for turn in failed] == ["internal"]


async def test_a_slow_turn_delays_no_other_session() -> None:
    """OC 127211: healthy messages behind a long turn."""
    stuck = Stuck("hm")

    async def say(question: Question) -> AsyncIterator[Event]:
        if question.user_id == "slow":
            async for event in stuck(question):
                yield event
        else:
            yield Final("quick")

    async with House(say) as house:
        await house.write(inbound("1", user="slow"))
        await until(lambda: house.agents.asked)
        await house.write(inbound("2"))
        assert await house.said(1) == ["quick"]
        await house.write(inbound("3", "more", user="slow"))
        stuck.go.set()
        await house.said(3)
        assert await house.read(lambda: set(dispositions().values())) == {"answered"}


async def test_without_room_turns_wait_for_one_that_ends() -> None:
    stuck = Stuck()
    settings = RunnerSettings(max_turns=2, retry_seconds=0.001)
    async with House(stuck, runner=settings) as house:
        await house.write(*(inbound(str(n), user=f"u{n}") for n in range(5)))
        await until(lambda: len(house.agents.asked) == 2)
        await house.write(inbound("9", user="u9"))
        assert len(house.agents.asked) == 2
        stuck.go.set()
        await house.said(6)


async def test_an_agent_that_was_removed_is_waited_for() -> None:
    """OC 5951: nothing is dropped; the turn goes on as soon as there is an agent."""
    async with House() as house:
        found = await house.read(Agent.objects.get)
        house.verbs.start_turns._route = lambda *person: 1
        await house.read(lambda: Agent.objects.update(enabled=False))
        await house.read(house.router.load)
        await house.write(inbound("1", "hi"))
        await house.settled(lambda: Turn.objects.filter(attempts__gte=2).exists())
        assert (await house.read(dispositions)) == {"hi": "pending"}
        await house.read(lambda: Agent.objects.filter(pk=found.pk).update(enabled=True))
        await house.read(house.router.load)
        assert await house.said(1) == ["fine"]


# --- taken away ---------------------------------------------------------------------------------


async def test_a_cancelled_turn_leaves_its_messages_silent_and_goes_on_with_the_next() -> None:
    """OC 121831: a message arriving in mid-turn."""
    stuck = Stuck("so f", "ar")
    async with House(stuck) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: house.stream.turns() and house.stream.turns()[0].text == "so far")
        await house.write(inbound("2", "b"))
        assert house.runner.cancel(house.runner.running()[0])
        await until(lambda: len(house.agents.asked) == 2)
        assert stuck.closed == 1
        turn = await _turn(house)
        assert (turn.state, turn.partial_text) == ("cancelled", "so far")
        assert await house.read(dispositions) == {"a": "silent", "b": "pending"}
        stuck.go.set()
        assert await house.said(1) == ["so far"]
        assert not house.runner.cancel(turn.pk)


async def test_a_cancel_while_the_end_is_being_written_changes_nothing() -> None:
    """OC 92270: an answer that is there is written, whoever calls; watchers see its end."""
    entered, go = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "finish_turns:before_commit":
            entered.set()
            go.wait(10)

    async with House() as house:
        watcher = house.stream.watch(gather_seconds=0)
        with at_points(hold):
            await house.write(inbound("1", "a"))
            await until(entered.is_set)
            (turn_id,) = house.runner.running()
            assert not house.runner.cancel(turn_id)
            go.set()
            assert await house.said(1) == ["fine"]
        await until(lambda: not house.runner.running())
        assert house.stream.turns() == []
        assert (await watcher.frames())[0]["state"] == "done"
        assert await house.read(dispositions) == {"a": "answered"}


async def test_draining_waits_for_what_ends_in_time() -> None:
    """OC 95866: a drain of 0 ms."""
    stuck = Stuck()
    async with House(stuck) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: house.agents.asked)
        draining = asyncio.create_task(house.runner.drain(10))
        await asyncio.sleep(0)
        await house.write(inbound("2", "b", user="u2"))
        stuck.go.set()
        await draining
        assert await house.read(dispositions) == {"a": "answered", "b": "pending"}
        assert len(house.agents.asked) == 1


async def test_what_does_not_end_in_time_is_left_for_recovery() -> None:
    """OC 51620: a restart in mid-turn loses nothing."""
    stuck = Stuck("half")
    async with House(stuck) as house:
        watcher = house.stream.watch(gather_seconds=0)
        await house.write(inbound("1", "a"))
        await until(lambda: house.stream.turns() and house.stream.turns()[0].text)
        await house.runner.drain(0.01)
        assert (await watcher.frames())[0]["state"] == "queued"
        assert (await _turn(house)).state == "running"
        assert stuck.closed == 1
        after = Verbs("main/2")
        await house.read(lambda: take_over("main/2"))
        (again,) = await house.read(lambda: after.start_turns(10))
        assert (again.attempt, history_of(again)) == (2, [("user", "a")])


async def test_the_end_of_a_turn_that_was_taken_away_is_unheard() -> None:
    stuck = Stuck("late")
    async with House(stuck) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: house.agents.asked)
        await house.read(lambda: Turn.objects.update(state="quarantined", lease_owner=""))
        watcher = house.stream.watch(gather_seconds=0)
        stuck.go.set()
        await until(lambda: not house.runner.running())
        assert (await watcher.frames())[-1]["state"] == "cancelled"
        assert await house.read(texts) == ["a"]
        assert house.chat.sent == []


@pytest.mark.parametrize("how", ["verb", "row"])
async def test_the_bot_answers_after_a_human_took_over(how: str) -> None:
    """CW 11363: an answer under way is kept for people to see, and not sent."""
    stuck = Stuck("half an answer")

    def take_over_session() -> None:
        (session,) = Session.objects.all()
        if how == "verb":
            assert operate.hand_over("boss", [session.pk], "operator") == 1
        else:  # however the session changed hands: the fence alone keeps the agent out
            Session.objects.update(handler="operator", fence=1)

    async with House(stuck) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: house.stream.turns() and house.stream.turns()[0].text)
        await house.read(take_over_session)
        stuck.go.set()
        await until(lambda: not house.runner.running())
        turn = await _turn(house)
        assert (turn.state, turn.partial_text) == ("cancelled", "half an answer")
        await house.write(inbound("2", "b"))
        assert await house.read(texts) == ["a", "b"]
        assert await house.read(dispositions) == {"a": "handed_over", "b": "handed_over"}
        assert house.chat.sent == []
        await house.read(
            lambda: operate.hand_over("boss", Session.objects.values_list("pk", flat=True), "agent")
        )
        await house.write(inbound("3", "c"))
        assert await house.said(1) == ["half an answer"]


async def test_a_long_answer_leaves_no_event_loop_frozen() -> None:
    """OC 75330: one session's very long answer must not stop everybody else."""
    chat = TestChat()
    chat.capabilities = Capabilities(text_limit=100_000)  # type: ignore[misc]  # this one's own
    answer = "```\n" * 80_000
    began = time.thread_time()
    split(answer, 100_000, "codepoints")
    inline = time.thread_time() - began
    steps: list[float] = []

    async def say(question: Question) -> AsyncIterator[Event]:
        yield Final(answer)

    async def watch() -> None:  # the loop's own time, so that a busy machine does not count
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.002)
            steps.append(time.thread_time() - before)

    gc.collect()
    gc.freeze()  # what other tests left is no work of this one
    try:
        async with House(say, chat) as house:
            watching = asyncio.create_task(watch())
            await house.write(inbound("1", "a"))
            await house.said(4, 60)
            watching.cancel()
    finally:
        gc.unfreeze()
    assert max(steps) < inline / 2, f"{max(steps):.2f} s in one go, of {inline:.2f} s of work"


async def test_a_fault_of_the_typing_sign_is_logged_and_harms_no_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(typing_signs, "FIRST_SECONDS", 0.0)
    chat, stuck = TypingChat(), Stuck("fine")
    chat.fault = KeyError("not ours")
    async with House(stuck, chat) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: "the typing sign failed on our side" in caplog.text)
        stuck.go.set()
        assert await house.said(1) == ["fine"]


async def test_the_typing_sign_is_shown_again_while_a_turn_runs_and_then_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typing_signs, "FIRST_SECONDS", 0.0)
    chat, stuck = TypingChat(), Stuck("fine")
    async with House(stuck, chat) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: len(chat.signs) >= 3)
        assert set(chat.signs) == {"chat-u1"}
        stuck.go.set()
        assert await house.said(1) == ["fine"]
        await until(lambda: not house.runner.running())
        shown = len(chat.signs)
        await asyncio.sleep(0.05)
        assert len(chat.signs) == shown


async def test_an_end_that_cannot_be_written_fails_the_turn_and_frees_the_session() -> None:
    """OC 92270: a stuck lane, for 14 hours, that nothing freed."""

    async def say(question: Question) -> AsyncIterator[Event]:
        first = len(house.agents.asked) == 1
        yield Final("ok", metadata={"context": {"x": "\ud800"}} if first else {})

    async with House(say) as house:
        watcher = house.stream.watch(gather_seconds=0)
        await house.write(inbound("1", "a"))
        assert await house.said(1) == ["oh no"]
        turn = await _ended(house)
        assert (turn.state, turn.error_code) == ("failed", "internal")
        assert (await watcher.frames())[0]["state"] == "failed"
        await house.write(inbound("2", "b"))
        assert await house.said(2) == ["oh no", "ok"]
        assert await house.read(dispositions) == {"a": "failed", "b": "answered"}


async def test_watchers_are_told_that_history_grew() -> None:
    async with House() as house:
        watcher = house.stream.watch(gather_seconds=0)
        await house.write(inbound("1", "a"))
        await house.said(1)
        await until(lambda: not house.runner.running())
        events = [frame for frame in await watcher.frames() if "event" in frame]
        rows = await house.read(lambda: list(Message.objects.order_by("pk").values_list("pk")))
        assert [(event["message"],) for event in events] == rows


async def test_a_turn_that_waits_for_another_to_fall_silent_is_named_from_the_start() -> None:
    silent = asyncio.Event()

    async def say(question: Question) -> AsyncIterator[Event]:
        if len(house.agents.asked) > 1:
            yield Final("both")
            return
        try:
            yield Token("half")
            await asyncio.Event().wait()
        finally:
            await silent.wait()

    async with House(say) as house:
        await house.read(lambda: Agent.objects.update(busy="interrupt"))
        await house.read(house.router.load)
        await house.write(inbound("1", "a"))
        await until(lambda: any(live.text for live in house.stream.turns()))
        watcher = house.stream.watch(gather_seconds=0)
        (first,) = await watcher.frames()
        await house.write(inbound("2", "b"))
        second: list[dict[str, Any]] = []
        while not second:
            second = [
                f for f in await watcher.frames() if f.get("turn", first["turn"]) != first["turn"]
            ]
        silent.set()
        await house.said(1)
        assert (len(house.agents.asked), second[0]["agent"]) == (2, "one")


def test_pauses_double_are_bounded_and_differ() -> None:
    pauses = [backoff(attempt, 1.0) for attempt in range(1, 60)]
    for attempt, pause in enumerate(pauses):
        expected = min(2.0**attempt, 60.0)
        assert 0.8 * expected <= pause <= 1.2 * expected
    assert len({backoff(1, 1.0) for _ in range(20)}) > 1
