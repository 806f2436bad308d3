"""Verbs 2 and 3: which turns may run, and what their end writes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.ledger import operate
from gateway.ledger.records import ClaimedTurn, FinishedTurn, Part
from gateway.models import Agent, Delivery, RoutingRule, Turn
from gateway.router import Router
from sessions_app.history import History
from sessions_app.models import Attachment, Message, Session
from tests.conftest import Clock
from tests.core.kit import (
    OWNER,
    Verbs,
    dispositions,
    history_of,
    in_group,
    inbound,
    queue,
    texts,
    turns,
)

# --- start_turns --------------------------------------------------------------------------------


def test_second_message_waits_for_the_first_turn(verbs: Verbs) -> None:
    verbs.take_in(inbound("1"), inbound("2", user="u2"))
    assert len(verbs.claim()) == 2
    verbs.take_in(inbound("3"), inbound("4", user="u2"), inbound("5", user="u3"))
    assert [turn.user_id for turn in verbs.claim()] == ["u3"]


def test_turns_start_in_the_order_in_which_they_were_queued(verbs: Verbs, clock: Clock) -> None:
    for user in ("u3", "u1", "u2"):
        verbs.take_in(inbound(user, user=user))
        clock.advance(1)
    assert [verbs.start_turns(1)[0].user_id for _ in range(3)] == ["u3", "u1", "u2"]


def test_a_turn_that_waits_for_its_next_try_holds_up_only_its_session(
    verbs: Verbs, clock: Clock
) -> None:
    verbs.take_in(inbound("1"))
    later = clock() + timedelta(seconds=30)
    verbs.finish_turns([FinishedTurn(verbs.claim_one(), "queued", not_before=later)])
    verbs.take_in(inbound("2"), inbound("3", user="u2"))
    assert [turn.user_id for turn in verbs.claim()] == ["u2"]
    clock.advance(29.9)
    assert verbs.claim() == []
    clock.advance(0.2)
    assert [turn.attempt for turn in verbs.claim()] == [2]


def test_without_an_agent_turns_wait_and_are_not_lost(verbs: Verbs, clock: Clock) -> None:
    """OC 127211: waiting is never a time-out."""
    verbs.agent = None
    verbs.take_in(inbound("1", "a"))
    assert verbs.claim() == []
    clock.advance(100_000)
    verbs.take_in(inbound("2", "b"))
    assert verbs.claim() == []
    verbs.agent = 1
    turn = verbs.claim_one()
    assert turn.attempt == 1
    assert history_of(turn) == [("user", "a"), ("user", "b")]


def test_sessions_without_an_agent_do_not_hold_up_the_others(verbs: Verbs, clock: Clock) -> None:
    """No session reaches or delays another, also where there is room for few at once."""
    verbs.start_turns._route = lambda channel, user, chat: 1 if user == "served" else None
    for number in range(5):
        verbs.take_in(inbound(str(number), user=f"unserved{number}"))
        clock.advance(1)
    verbs.take_in(inbound("9", user="served"))
    assert [turn.user_id for turn in verbs.start_turns(2)] == ["served"]


def test_two_gateways_never_claim_the_same_turn(verbs: Verbs) -> None:
    other = Verbs("other/2-def")
    verbs.take_in(inbound("1"), inbound("2", user="u2"))
    mine, theirs = verbs.start_turns(1), other.start_turns(100)
    assert len(mine) == len(theirs) == 1
    assert mine[0].id != theirs[0].id
    assert {turn.lease_owner for turn in turns()} == {OWNER, "other/2-def"}


def test_a_claim_says_all_that_the_agent_is_told(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(in_group("1", "a", "u7", target={"thread": 3}))
    Session.objects.update(context={"mood": "good"})
    clock.advance(2)
    turn = verbs.claim_one()
    session, row = Session.objects.get(), Turn.objects.get()
    assert (turn.session, turn.user_id, turn.chat_id) == (session.pk, "u7", "g1")
    assert (turn.origin, turn.context, turn.attempt) == ("user", {"mood": "good"}, 1)
    assert turn.target == {"chat_id": "g1", "is_group": True, "thread": 3}
    assert (row.state, row.agent_id, row.attempts) == ("running", 1, 1)
    assert row.started_at == clock()
    assert row.lease_until is not None
    assert row.lease_until > clock()


def test_an_agent_gets_no_more_than_the_newest_messages(verbs: Verbs) -> None:
    verbs.start_turns._history = History(3)
    for number in range(6):
        verbs.converse(str(number), f"q{number}")
    verbs.take_in(inbound("9", "last"))
    shown = [content for _, content in history_of(verbs.claim_one())]
    assert shown == ["q5", "re q5", "last"]
    verbs.start_turns._history = History(3)  # as after a restart: the same, from the rows
    Turn.objects.filter(state="running").update(state="queued")
    assert [content for _, content in history_of(verbs.claim_one())] == shown


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["ask", "answer", "edit", "fail", "forget"]), max_size=14))
def test_the_kept_history_is_always_what_the_rows_say(verbs: Verbs, steps: list[str]) -> None:
    Session.objects.all().delete()
    running: ClaimedTurn | None = None
    for number, step in enumerate(steps):
        if step == "ask":
            verbs.take_in(inbound(f"m{number}", f"q{number}"))
        elif step == "edit":
            known = Message.objects.filter(role="user").order_by("?").first()
            if known:
                verbs.take_in(inbound(known.external_id or "", f"e{number}", is_edit=True))
        elif step == "forget":
            verbs.history.clear()
        elif running and step == "answer":
            verbs.answer(running, f"re {number}")
            running = None
        elif running:
            verbs.finish_turns([FinishedTurn(running, "failed", notice="oh", parts=[Part("oh")])])
            running = None
        if running is None and (claimed := verbs.claim()):
            (running,) = claimed
            rows = Message.objects.filter(seq__lte=running.upto_seq).exclude(origin="system")
            assert history_of(running) == list(rows.order_by("seq").values_list("role", "text"))


# --- routing ------------------------------------------------------------------------------------


def _agent(name: str, **fields: object) -> Agent:
    return Agent.objects.create(name=name, url=f"http://127.0.0.1:1/{name}", **fields)


def _routes(*people: tuple[str, str, str]) -> list[str | None]:
    router = Router()
    router.load()
    found = [router.route(*person) for person in people]
    return [None if agent is None else router.target(agent).name for agent in found]


def test_the_lowest_priority_number_that_fits_wins(agent: Agent) -> None:
    two, three = _agent("two"), _agent("three")
    RoutingRule.objects.create(priority=20, channel="tv", agent=two)
    RoutingRule.objects.create(priority=10, channel="tv", user_pattern="vip-*", agent=three)
    people = [("tv", "vip-1", "c"), ("tv", "u1", "c"), ("radio", "vip-1", "c")]
    assert _routes(*people) == ["three", "two", "one"]


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"channel": "tv"}, True),
        ({"channel": "radio"}, False),
        ({"user_pattern": "u?"}, True),
        ({"user_pattern": "U1"}, False),
        ({"chat_pattern": "-100*"}, True),
        ({"chat_pattern": "100*"}, False),
        ({"channel": "tv", "user_pattern": "*", "chat_pattern": "-1005"}, True),
        ({"user_pattern": "u1", "chat_pattern": "other"}, False),
        ({"enabled": False}, False),
    ],
)
def test_every_pattern_of_a_rule_has_to_fit(
    agent: Agent, rule: dict[str, object], fits: bool
) -> None:
    RoutingRule.objects.create(agent=_agent("two"), **rule)
    assert _routes(("tv", "u1", "-1005")) == ["two" if fits else "one"]


def test_a_disabled_agent_answers_nobody(agent: Agent) -> None:
    RoutingRule.objects.create(agent=_agent("two", enabled=False))
    assert _routes(("tv", "u1", "c")) == ["one"]
    Agent.objects.filter(pk=agent.pk).update(enabled=False)
    assert _routes(("tv", "u1", "c")) == [None]


def test_a_lone_agent_is_the_default_and_of_several_none_is(agent: Agent) -> None:
    Agent.objects.update(is_default=False)
    assert _routes(("tv", "u1", "c")) == ["one"]
    _agent("two")
    assert _routes(("tv", "u1", "c")) == [None]


# --- finish_turns -------------------------------------------------------------------------------


def test_the_reply_stands_right_behind_what_it_answers(verbs: Verbs) -> None:
    """CW 3608: the order of a conversation is lost when people write in mid-turn."""
    verbs.take_in(inbound("1", "a"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("2", "b"), inbound("3", "c"))
    verbs.answer(turn, "re a")
    assert texts() == ["a", "re a", "b", "c"]
    shown = history_of(verbs.claim_one())
    assert shown == [("user", "a"), ("assistant", "re a"), ("user", "b"), ("user", "c")]


def test_an_answer_disposes_of_all_it_saw_and_nothing_else(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"), inbound("2", "b"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("3", "c"), inbound("4", "d", user="u2"))
    verbs.answer(turn)
    assert dispositions() == {"a": "answered", "b": "answered", "c": "pending", "d": "pending"}


@pytest.mark.parametrize(
    ("end", "disposition", "state", "history"),
    [
        ({"state": "done", "text": "hi", "parts": [Part("hi")]}, "answered", "done", ["a", "hi"]),
        ({"state": "done", "silent": True}, "silent", "done", ["a"]),
        (
            {"state": "failed", "notice": "oh", "parts": [Part("oh")]},
            "failed",
            "failed",
            ["a", "oh"],
        ),
        ({"state": "failed"}, "failed", "failed", ["a"]),
        ({"state": "cancelled", "silent": True}, "silent", "cancelled", ["a"]),
        ({"state": "queued"}, "pending", "queued", ["a"]),
    ],
)
def test_every_end_of_a_turn_disposes_of_its_messages(
    verbs: Verbs, end: dict[str, object], disposition: str, state: str, history: list[str]
) -> None:
    """The promise: every message ends answered, silent, failed or handed over."""
    verbs.take_in(inbound("1", "a"))
    verbs.finish_turns([FinishedTurn(verbs.claim_one(), **end)])  # type: ignore[arg-type]
    assert dispositions() == {"a": disposition}
    assert [turn.state for turn in turns()] == [state]
    assert texts() == history
    assert [delivery.text for delivery in Delivery.objects.all()] == [
        part.text for part in end.get("parts", [])
    ]


def test_the_agent_is_not_shown_our_notices(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"))
    end = FinishedTurn(verbs.claim_one(), "failed", notice="sorry", parts=[Part("sorry")])
    verbs.finish_turns([end])
    verbs.take_in(inbound("2", "b"))
    assert history_of(verbs.claim_one()) == [("user", "a"), ("user", "b")]


@pytest.mark.parametrize("taken", ["cancelled", "queued", "quarantined"])
def test_a_turn_that_was_taken_away_ends_unheard(verbs: Verbs, taken: str) -> None:
    """OC 71577: an answer nobody waits for any more is not sent."""
    verbs.take_in(inbound("1", "a"))
    turn = verbs.claim_one()
    Turn.objects.update(state=taken, lease_owner="")
    ended = verbs.answer(turn)
    assert (ended.won, ended.message) == (False, None)
    assert texts() == ["a"]
    assert not Delivery.objects.exists()
    assert turns()[0].state == taken
    assert dispositions() == {"a": "pending"}


def test_a_stale_attempt_cannot_end_the_turn(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"))
    stale = verbs.claim_one()
    Turn.objects.update(state="queued", lease_owner="")
    fresh = verbs.claim_one()
    assert (stale.attempt, fresh.attempt) == (1, 2)
    assert not verbs.answer(stale, "old").won
    assert verbs.answer(fresh, "new").won
    assert not verbs.answer(fresh, "newer").won
    assert texts() == ["a", "new"]


def test_another_process_cannot_end_a_turn(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"))
    assert not Verbs("main/2-other").answer(verbs.claim_one()).won


def test_in_one_batch_the_won_and_the_lost_are_told_apart(verbs: Verbs) -> None:
    verbs.take_in(*(inbound(u, u, user=u) for u in ("u1", "u2", "u3")))
    claimed = verbs.claim()
    Turn.objects.filter(pk=claimed[1].id).update(state="cancelled", lease_owner="")
    ends = verbs.finish_turns(
        [FinishedTurn(t, "done", text=f"re {t.user_id}", parts=[Part("x")]) for t in claimed]
    )
    assert [end.won for end in ends] == [True, False, True]
    for turn, end in zip(claimed, ends, strict=True):
        if end.won:
            assert Message.objects.get(pk=end.message).text == f"re {turn.user_id}"
            assert texts(turn.session) == [turn.user_id, f"re {turn.user_id}"]


def test_parts_are_queued_in_order_to_where_the_question_came_from(verbs: Verbs) -> None:
    verbs.take_in(in_group("1", target={"thread": 3}))
    ended = verbs.answer(verbs.claim_one(), "onetwo", parts=[Part("one"), Part("two")])
    rows = list(Delivery.objects.order_by("id"))
    assert [(row.part, row.text, row.chat_id) for row in rows] == [
        (0, "one", "g1"),
        (1, "two", "g1"),
    ]
    assert {(row.is_group, row.target["thread"], row.message_id) for row in rows} == {
        (True, 3, ended.message)
    }
    assert len({row.key for row in rows}) == 2
    assert all(len(row.key) <= 25 for row in rows)


def test_what_the_turn_learned_is_kept(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1"))
    Session.objects.update(context={"old": 1, "both": "a"})
    turn = verbs.claim_one()
    clock.advance(3)
    verbs.answer(
        turn,
        "see",
        agent="pi",
        context={"both": "b", "new": [1]},
        usage={"total_tokens": 7},
        events=[{"kind": "tool_call", "data": {"name": "x"}}],
        attachments=[{"kind": "image", "url": "https://example.com/a.png", "size": 9}],
        first_token_at=clock(),
    )
    row = turns()[0]
    assert Session.objects.get().agent == "pi"
    assert Session.objects.get().context == {"old": 1, "both": "b", "new": [1]}
    assert (row.usage, row.events[0]["kind"]) == ({"total_tokens": 7}, "tool_call")
    assert (row.first_token_at, row.ended_at) == (clock(), clock())
    assert (row.lease_owner, row.lease_until) == ("", None)
    file = Attachment.objects.get()
    assert (file.message.role, file.handle, file.size) == (
        "assistant",
        "https://example.com/a.png",
        9,
    )


@pytest.mark.parametrize("size", [-1, 2**63, 10**30, 1.5, "9", None])
def test_a_file_of_impossible_size_costs_nobody_the_answer(verbs: Verbs, size: object) -> None:
    """OC 92270: a stuck lane. The size is the agent's word, and must not block the end."""
    verbs.take_in(inbound("1"))
    ended = verbs.answer(verbs.claim_one(), attachments=[{"kind": "file", "size": size}])
    assert ended.won
    assert Attachment.objects.get().size is None


def test_a_failure_keeps_what_was_said_and_why(verbs: Verbs) -> None:
    verbs.take_in(inbound("1"))
    turn = verbs.claim_one()
    verbs.finish_turns(
        [
            FinishedTurn(
                turn, "failed", partial="half an", error_code="interrupted", error_detail="x"
            )
        ]
    )
    row = turns()[0]
    assert (row.partial_text, row.error_code, row.error_detail) == ("half an", "interrupted", "x")


def test_an_end_looks_for_the_next(verbs: Verbs) -> None:
    """OC 5951, OC 67173: follow-ups are not dropped when a turn fails."""
    for end in ("failed", "cancelled", "done"):
        verbs.take_in(inbound(f"1{end}", f"1{end}"))
        turn = verbs.claim_one()
        verbs.take_in(inbound(f"2{end}", f"2{end}"))
        verbs.finish_turns([FinishedTurn(turn, end)])
        follow = verbs.claim_one()
        assert history_of(follow)[-1] == ("user", f"2{end}")
        verbs.answer(follow)


def test_an_end_moves_the_sessions_expiry(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1"))
    turn = verbs.claim_one()
    clock.advance(600)
    verbs.answer(turn)
    session = Session.objects.get()
    assert session.expires_at == clock() + timedelta(seconds=900)
    assert session.last_seq == 1001


def test_the_next_message_comes_behind_the_last_reply(verbs: Verbs) -> None:
    for number in range(3):
        verbs.converse(str(number), f"q{number}")
    assert texts() == ["q0", "re q0", "q1", "re q1", "q2", "re q2"]


def test_a_delivery_without_a_session_can_wait_beside_the_others(verbs: Verbs) -> None:
    queue("broadcast", "elsewhere")
    verbs.converse("1")
    assert sorted(d.outbound.text for d in verbs.send()) == ["broadcast", "re hello"]


# --- what waits for an answer -------------------------------------------------------------------


def _last(turn: ClaimedTurn) -> list[str]:
    """What the turn is to answer."""
    return [content for _, content in history_of(turn)[-turn.waiting :]]


def test_a_command_is_nothing_for_the_agent(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "/help"))
    verbs.take_in(inbound("2", "/remind list"), inbound("3", "17% of 240"))
    turn = verbs.claim_one()
    assert history_of(turn) == [("user", "17% of 240")]
    assert turn.waiting == 1
    assert "/help" in texts()


def test_what_was_stopped_is_known_and_does_not_wait(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "cancel all my reminders"))
    verbs.claim_one()
    verbs.take_in(inbound("2", "/stop"), inbound("3", "what time is it"))
    turn = verbs.claim_one()
    assert history_of(turn)[0][1] == "cancel all my reminders"
    assert _last(turn) == ["what time is it"]


@pytest.mark.parametrize("cold", [False, True], ids=["history kept", "after a restart"])
def test_a_question_stands_behind_what_was_said_since(verbs: Verbs, cold: bool) -> None:
    """A text of the gateway's own is no answer to what came before it."""
    verbs.converse("0", "hi")
    verbs.take_in(inbound("1", "a"))
    turn = verbs.claim_one()
    verbs.finish_turns([FinishedTurn(turn, "queued")])
    Turn.objects.update(attempts=0)
    note = Message.objects.create(
        session_id=turn.session, seq=turn.upto_seq + 500, role="assistant", origin="schedule",
        text="drink water", channel="testchat",
    )  # fmt: skip
    verbs.take_in(inbound("2", "b"))
    if cold:
        verbs.history.clear()
    turn = verbs.claim_one()
    assert turn.upto_seq > note.seq
    shown = [content for _, content in history_of(turn)]
    assert shown == ["hi", "re hi", "drink water", "a", "b"]
    assert _last(turn) == ["a", "b"]
    verbs.answer(turn, "to both")
    verbs.take_in(inbound("3", "c"))
    turn = verbs.claim_one()  # now everything in its place
    shown = [content for _, content in history_of(turn)]
    assert shown == ["hi", "re hi", "a", "drink water", "b", "to both", "c"]
    assert _last(turn) == ["c"]


def test_what_failed_waits_no_more_unless_it_is_asked_again(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"))
    failed = verbs.claim_one()
    verbs.finish_turns([FinishedTurn(failed, "failed", error_code="reported")])
    verbs.take_in(inbound("2", "b"))
    second = verbs.claim_one()
    assert _last(second) == ["b"]
    verbs.answer(second)
    assert operate.requeue_turns("boss", [failed.id]) == 1
    assert _last(verbs.claim_one()) == ["a"]
