"""The turn runner: what an agent's behaviour does to the turn, the person and the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.agents.base import AgentError, Event, Final, Question, Token, Trace
from gateway.ledger.recovery import take_over
from gateway.media.store import Store
from gateway.models import Agent, Delivery, Turn
from gateway.turns import RunnerSettings, backoff
from sessions_app.models import Message, Session
from tests.core.house import House, at_points
from tests.core.kit import Verbs, dispositions, history_of, inbound, texts, turns, until

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


def test_pauses_double_are_bounded_and_differ() -> None:
    pauses = [backoff(attempt, 1.0) for attempt in range(1, 60)]
    for attempt, pause in enumerate(pauses):
        expected = min(2.0**attempt, 60.0)
        assert 0.8 * expected <= pause <= 1.2 * expected
    assert len({backoff(1, 1.0) for _ in range(20)}) > 1
