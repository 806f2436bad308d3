"""Messages that come while their session is busy: queue, interrupt, debounce."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
from django.db import OperationalError

from gateway import preview
from gateway.agents.base import AgentError, Event, Final, Question, Token
from gateway.ledger import Unavailable, operate
from gateway.ledger.busy import MOMENTS, SUPERSEDED, Manners
from gateway.ledger.previews import open_previews
from gateway.ledger.records import ClaimedTurn, FinishedTurn, Preview
from gateway.ledger.recovery import take_over
from gateway.models import Agent, Delivery, Turn
from gateway.turns import RunnerSettings
from sessions_app.models import Message
from tests.conftest import Clock
from tests.core.house import House, at_points
from tests.core.kit import (
    Verbs,
    dispositions,
    history_of,
    in_group,
    in_thread,
    inbound,
    turns,
    until,
)
from tests.core.test_preview import Board, growing, over
from tests.core.test_runner import Stuck
from tests.core.test_storm import unanswered

INTERRUPT = Manners("interrupt")
DEBOUNCE = Manners("debounce", 2.0)


def with_manners(verbs: Verbs, manners: Manners) -> Verbs:
    verbs.ingest._busy = lambda channel, user, chat: manners
    return verbs


# --- interrupt ----------------------------------------------------------------------------------


def test_a_further_message_takes_the_place_of_the_running_turn(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    first = verbs.claim_one()
    kept = verbs.take_in(inbound("2", "b"))
    assert kept.cancelled == [first.id]
    assert dispositions() == {"a": "pending", "b": "pending"}
    second = verbs.claim_one()
    assert history_of(second) == [("user", "a"), ("user", "b")]
    assert not verbs.answer(first, "too late").won
    assert verbs.answer(second, "to both").won
    assert dispositions() == {"a": "answered", "b": "answered"}
    assert [(t.state, t.error_code, t.partial_text) for t in turns()] == [
        ("cancelled", SUPERSEDED, "too late"),
        ("done", "", ""),
    ]


def test_an_answer_that_was_written_first_stands(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    assert verbs.answer(verbs.claim_one()).won
    assert not verbs.take_in(inbound("2", "b")).cancelled
    assert history_of(verbs.claim_one())[-1] == ("user", "b")


def test_only_the_writers_own_session_is_interrupted(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"), inbound("2", "b", user="u2"))
    one, two = verbs.claim()
    kept = verbs.take_in(inbound("3", "c", user=two.user_id))
    assert kept.cancelled == [two.id]
    assert verbs.answer(one).won


def test_a_duplicate_and_a_turn_by_a_schedule_interrupt_nothing(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    turn = verbs.claim_one()
    assert not verbs.take_in(inbound("1", "a")).cancelled
    Message.objects.update(origin="schedule")
    assert not verbs.take_in(inbound("2", "b")).cancelled
    assert verbs.answer(turn).won
    assert history_of(verbs.claim_one())[-1] == ("user", "b")


def test_stop_ends_it_for_good(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    verbs.claim_one()
    verbs.take_in(inbound("2", "b"))
    second = verbs.claim_one()
    assert verbs.take_in(inbound("3", "/stop")).cancelled == [second.id]
    assert set(dispositions().values()) == {"silent"}
    assert verbs.claim() == []


def test_a_crash_after_the_interruption_loses_nothing(verbs: Verbs) -> None:
    """OC 121831, 139847: a message arriving in mid-turn kills the turn and vanishes."""
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    verbs.claim_one()
    verbs.take_in(inbound("2", "b"))  # killed here: nobody has claimed what follows
    after = Verbs("main/2")
    take_over("main/2")
    turn = after.claim_one()
    assert history_of(turn) == [("user", "a"), ("user", "b")]
    after.answer(turn)
    assert dispositions() == {"a": "answered", "b": "answered"}


def test_what_was_superseded_is_asked_again_with_what_took_its_place(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    verbs.claim_one()
    verbs.take_in(inbound("2", "b"))
    second = verbs.claim_one()
    verbs.finish_turns([FinishedTurn(second, "failed", error_code="reported")])
    assert dispositions() == {"a": "failed", "b": "failed"}
    assert operate.requeue_turns("boss", [second.id]) == 1
    assert dispositions() == {"a": "pending", "b": "pending"}


def test_a_preview_is_taken_over_by_the_turn_that_follows(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    first = verbs.claim_one()
    row = verbs_preview(first, "half an")
    Delivery.objects.filter(pk=row.pk).update(state="sent", receipt="m1", attempts=1)
    verbs.take_in(inbound("2", "b"))
    second = verbs.claim_one()
    assert second.shown and not first.shown
    verbs.answer(second, "whole", preview=second.shown)
    (row,) = Delivery.objects.all()
    assert (row.turn, row.text, row.state, row.receipt) == (second.id, "whole", "queued", "m1")


def test_a_preview_that_nobody_has_seen_vanishes(verbs: Verbs) -> None:
    with_manners(verbs, INTERRUPT).take_in(inbound("1", "a"))
    verbs_preview(verbs.claim_one(), "half an")
    verbs.take_in(inbound("2", "b"))
    assert not Delivery.objects.exists()


def verbs_preview(turn: ClaimedTurn, text: str) -> Delivery:
    open_previews([Preview(turn, text)])
    return Delivery.objects.get()


# --- interrupt, running -------------------------------------------------------------------------


@pytest.fixture
def hasty(agent: Agent) -> Agent:
    """The agent, which is interrupted."""
    Agent.objects.update(busy="interrupt")
    return agent


@pytest.mark.usefixtures("hasty")
async def test_the_agents_connection_is_closed_and_one_turn_answers_both() -> None:
    stuck = Stuck("half")
    async with House(stuck) as house:
        await house.write(inbound("1", "a"))
        await until(lambda: house.stream.turns() and house.stream.turns()[0].text == "half")
        watcher = house.stream.watch(gather_seconds=0)
        await house.write(inbound("2", "b"))
        await until(lambda: len(house.agents.asked) == 2)
        assert stuck.closed == 1
        assert unanswered(house.agents.asked[1]) == ["a", "b"]
        assert (await watcher.frames())[0]["state"] == "cancelled"
        stuck.go.set()
        assert await house.said(1) == ["half"]
        await until(lambda: not house.runner.running())
        assert await house.read(dispositions) == {"a": "answered", "b": "answered"}


@pytest.mark.usefixtures("hasty")
async def test_a_half_answer_on_the_platform_grows_on_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preview, "FIRST_SECONDS", 0.01)
    stuck, chat = Stuck("half of it"), Board()
    async with House(stuck, chat=chat) as house:
        await house.write(inbound("1", "a"))
        await until(growing(chat, "half of it"))
        stuck.said = ("all", " of it")
        await house.write(inbound("2", "b"))
        await until(growing(chat, "all of it"))
        stuck.go.set()
        (row,) = await over(house)
    assert chat.board == {"m1": "all of it"}
    assert (row.state, row.receipt) == ("sent", "m1")


@pytest.mark.usefixtures("hasty")
async def test_a_burst_is_answered_whole() -> None:
    stuck = Stuck()
    async with House(stuck) as house:
        for number in range(10):
            await house.write(inbound(str(number), f"m{number}"))
        stuck.go.set()
        await house.said(1)
        await house.settled(lambda: not Message.objects.filter(disposition="pending").exists())
        assert len(house.chat.sent) == 1
        assert unanswered(house.agents.asked[-1]) == [f"m{n}" for n in range(10)]


# --- debounce -----------------------------------------------------------------------------------


def test_a_turn_waits_a_moment_for_more_and_moves_on_with_each_message(
    verbs: Verbs, clock: Clock
) -> None:
    assert with_manners(verbs, DEBOUNCE).take_in(inbound("1", "a")).pause == 2.0
    clock.advance(1.9)
    assert verbs.claim() == []
    verbs.take_in(inbound("2", "b"))
    clock.advance(1.9)
    assert verbs.claim() == []
    clock.advance(0.2)
    assert history_of(verbs.claim_one()) == [("user", "a"), ("user", "b")]


def test_it_is_put_off_for_five_moments_at_most(verbs: Verbs, clock: Clock) -> None:
    with_manners(verbs, DEBOUNCE)
    begun = clock()
    for number in range(20):
        verbs.take_in(inbound(str(number), str(number)))
        if found := verbs.claim():
            break
        clock.advance(1.0)
    assert len(found) == 1
    assert (clock() - begun).total_seconds() == MOMENTS * DEBOUNCE.seconds


def test_behind_a_running_turn_nothing_more_is_waited_for(verbs: Verbs) -> None:
    with_manners(verbs, Manners()).take_in(inbound("1", "a"))
    running = verbs.claim_one()
    assert with_manners(verbs, DEBOUNCE).take_in(inbound("2", "b")).pause == 0.0
    verbs.answer(running)
    assert history_of(verbs.claim_one())[-1] == ("user", "b")


def test_others_do_not_wait_with_it_and_a_pause_survives_a_restart(
    verbs: Verbs, clock: Clock
) -> None:
    verbs.ingest._busy = lambda channel, user, chat: DEBOUNCE if user == "u1" else Manners()
    verbs.take_in(inbound("1", "a"), inbound("2", "b", user="u2"), in_group("3", "c", user="u3"))
    assert sorted(turn.user_id for turn in verbs.claim()) == ["u2", "u3"]
    after = Verbs("main/2")
    take_over("main/2")
    assert "u1" not in [turn.user_id for turn in after.claim()]
    clock.advance(2.0)
    assert [turn.user_id for turn in after.claim()] == ["u1"]


async def test_a_pause_ends_by_itself(agent: Agent) -> None:
    await in_thread(Agent.objects.update, busy="debounce", debounce_seconds=0.05)
    async with House() as house:
        await house.write(inbound("1", "a"))
        await house.write(inbound("2", "b"))
        assert await house.said(1) == ["fine"]
        assert len(house.agents.asked) == 1


# --- storms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", ["interrupt", "debounce"])
@pytest.mark.parametrize("seed", range(3))
async def test_in_a_storm_every_message_is_answered_once_and_in_order(
    seed: int, busy: str, agent: Agent
) -> None:
    """OC 121831, OC 139847: interruptions, retries, duplicates, a database that fails."""
    await in_thread(Agent.objects.update, busy=busy, debounce_seconds=0.01)
    rng = random.Random(seed)

    async def moody(question: Question) -> AsyncIterator[Event]:
        await asyncio.sleep(rng.choice([0, 0.001, 0.01]))
        if rng.random() < 0.2:
            raise AgentError("unreachable", "not now", retryable=True)
        yield Token(text := " ".join(unanswered(question)))
        await asyncio.sleep(rng.choice([0, 0.002, 0.01]))
        yield Final(text)

    def fail(name: str) -> None:
        if name.endswith("before_commit") and random.Random().random() < 0.05:
            raise OperationalError("database is locked")

    settings = RunnerSettings(attempts=100, retry_seconds=0.001, max_turns=rng.choice([3, 500]))
    written: dict[str, list[str]] = defaultdict(list)

    async def person(user: str) -> None:
        for number in range(10):
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
            await asyncio.gather(*(person(f"u{n}") for n in range(6)))
            await house.settled(lambda: not Message.objects.filter(disposition="pending"), 30)
        await house.settled(lambda: not Turn.objects.filter(state__in=["queued", "running"]))
        await house.settled(lambda: not Delivery.objects.exclude(state="sent"))
        got: dict[str, list[str]] = defaultdict(list)
        for outbound in house.chat.sent:
            got[outbound.chat_id].extend(outbound.text.split())
        assert got == written
        assert set((await house.read(dispositions)).values()) == {"answered"}
        states = await house.read(lambda: set(Turn.objects.values_list("state", flat=True)))
        assert states <= {"done", "cancelled"}
        await until(lambda: not house.runner._latest)
