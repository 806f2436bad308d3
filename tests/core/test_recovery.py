"""What a crash leaves behind is put right, before anyone listens."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.ledger.recovery import (
    GATEWAY,
    MAX_CRASHES,
    Recovered,
    beat,
    close_quarantined,
    hand_back,
    release_expired,
    renew_leases,
    resume_sessions,
    take_over,
)
from gateway.ledger.turns import LEASE_SECONDS
from gateway.models import Delivery, Heartbeat, Turn
from sessions_app.models import Session
from tests.conftest import Clock
from tests.core.kit import (
    OWNER,
    Verbs,
    dispositions,
    history_of,
    in_group,
    inbound,
    open_sessions,
    queue,
    sent,
    texts,
    turns,
)

NEXT = "main/2-def"
"""The same instance, started again."""


def test_the_next_process_takes_over_what_the_dead_one_held(verbs: Verbs) -> None:
    """OC 51620, OC 95866: queued messages lost on restart."""
    verbs.take_in(inbound("1", "a"))
    verbs.claim()
    verbs.take_in(inbound("2", "b"))
    assert take_over(NEXT) == Recovered(1, 0, 0)
    after = Verbs(NEXT)
    turn = after.claim_one()
    assert (turn.attempt, history_of(turn)) == (2, [("user", "a")])
    after.answer(turn, "re a")
    assert history_of(after.claim_one())[-1] == ("user", "b")


def test_only_this_instances_dead_are_taken_over(verbs: Verbs) -> None:
    others = [Verbs("mainz/1"), Verbs("other/1"), Verbs("m_in/1"), Verbs("MAIN/1"), Verbs(NEXT)]
    for number, other in enumerate(others):
        verbs.take_in(inbound(str(number), user=f"u{number}"))
        other.claim_one()
    assert take_over(NEXT) == Recovered(0, 0, 0)
    assert take_over("other/2") == Recovered(1, 0, 0)
    assert take_over("m%/2") == Recovered(0, 0, 0)
    assert take_over("m_in/2") == Recovered(1, 0, 0)
    assert [turn.state for turn in turns(state="running")] == ["running"] * 3


def test_a_dead_process_cannot_end_what_was_taken_over(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "a"))
    turn = verbs.claim_one()
    take_over(NEXT)
    assert not verbs.answer(turn, "ghost").won
    Verbs(NEXT).claim_one()
    assert not verbs.answer(turn, "ghost").won
    assert texts() == ["a"]


def test_a_turn_that_is_always_cut_off_is_quarantined(verbs: Verbs) -> None:
    """HE 49201, HE 45682: interrupted turns are re-run blindly, for ever."""
    verbs.take_in(inbound("1", "a"), inbound("2", "b"))
    for crash in range(MAX_CRASHES):
        process = Verbs(f"main/{crash}-x")
        take_over(process.owner)
        process.claim_one()
    verbs.take_in(inbound("3", "c"))
    assert take_over("main/9-x") == Recovered(1, 1, 0)
    (row,) = turns(state="quarantined")
    assert (row.crashes, row.error_code) == (MAX_CRASHES, "quarantined")
    assert dispositions() == {"a": "failed", "b": "failed", "c": "pending"}
    assert history_of(Verbs("main/9-x").claim_one())[-1] == ("user", "c")


def test_the_person_is_told_once_of_a_turn_given_up(verbs: Verbs, clock: Clock) -> None:
    """NC 2423: failure goes back to the sender too, not only to the operator."""
    verbs.take_in(in_group("1", target={"thread": 3}))
    turn = verbs.claim_one()
    Turn.objects.update(crashes=MAX_CRASHES - 1)
    take_over(NEXT)
    assert close_quarantined(verbs.sessions, "sorry") == [turn.id]
    assert close_quarantined(verbs.sessions, "sorry") == []
    (part,) = Delivery.objects.all()
    assert (part.text, part.chat_id, part.target["thread"]) == ("sorry", turn.chat_id, 3)
    assert (Turn.objects.get().ended_at, Turn.objects.get().state) == (clock(), "quarantined")


def test_a_part_found_in_mid_sending_may_have_arrived(verbs: Verbs) -> None:
    """OC 71577, HE 70700: it is queued as repeated, never sent again without saying so."""
    queue("a", "a")
    queue("b", "a")
    queue("c", "c")
    a, c = verbs.send()
    verbs.finish_deliveries([sent(c)])
    assert take_over(NEXT) == Recovered(0, 0, 1)
    rows = Delivery.objects.order_by("text").values_list("text", "state", "repeated", "attempts")
    assert list(rows) == [
        ("a", "queued", True, 1),
        ("b", "queued", False, 0),
        ("c", "sent", False, 1),
    ]
    assert [(x.outbound.text, x.attempt) for x in Verbs(NEXT).send()] == [("a", a.attempt + 1)]


def test_a_lease_that_is_not_renewed_runs_out(verbs: Verbs, clock: Clock) -> None:
    """OC 92270: a stuck lane is freed, by whomever it was held."""
    verbs.take_in(inbound("1"))
    queue("a", "a")
    other = Verbs("other/1")
    other.claim_one()
    other.send()
    clock.advance(LEASE_SECONDS - 1)
    assert release_expired() == Recovered(0, 0, 0)
    clock.advance(2)
    assert release_expired() == Recovered(1, 0, 1)
    assert verbs.claim_one().attempt == 2
    assert verbs.send()[0].repeated


def test_renewed_leases_hold(verbs: Verbs, clock: Clock) -> None:
    """OC 127211: a long turn is not taken away while its process lives."""
    verbs.take_in(inbound("1"), inbound("2", user="u2"))
    queue("a", "a")
    verbs.start_turns(1)
    verbs.send()
    Verbs("other/1").claim_one()
    for _ in range(10):
        clock.advance(LEASE_SECONDS / 2)
        until = clock() + timedelta(seconds=LEASE_SECONDS)
        running = Turn.objects.filter(state="running").values_list("id", flat=True)
        sending = Delivery.objects.values_list("id", flat=True)
        renew_leases(OWNER, until, list(running), list(sending))
    assert release_expired() == Recovered(1, 0, 0)
    assert Turn.objects.get(state="running").lease_owner == OWNER
    assert Delivery.objects.get().state == "sending"


def test_a_lease_that_nothing_works_on_runs_out(verbs: Verbs, clock: Clock) -> None:
    """OC 92270: a claim whose task was never started does not hold its session for ever."""
    verbs.take_in(inbound("1"))
    verbs.claim_one()
    clock.advance(LEASE_SECONDS + 1)
    renew_leases(OWNER, clock() + timedelta(seconds=LEASE_SECONDS), [], [])
    assert release_expired() == Recovered(1, 0, 0)


def test_a_planned_end_counts_as_no_crash(verbs: Verbs) -> None:
    verbs.take_in(inbound("1"))
    turn = verbs.claim_one()
    hand_back(OWNER)
    row = Turn.objects.get()
    assert (row.state, row.crashes, row.lease_owner) == ("queued", 0, "")
    assert verbs.claim_one().attempt == turn.attempt + 1


def test_recovery_of_nothing_changes_nothing(verbs: Verbs) -> None:
    verbs.converse("1")
    queue("waits", "c")
    before = [list(model.objects.order_by("pk").values()) for model in (Turn, Delivery, Session)]
    take_over(NEXT)
    release_expired()
    after = [list(model.objects.order_by("pk").values()) for model in (Turn, Delivery, Session)]
    assert after == before


# --- sessions over a restart --------------------------------------------------------------------


def _two_sessions(verbs: Verbs, clock: Clock) -> None:
    """One that was used just now, one that had a minute left when the gateway went down."""
    verbs.converse("1", "old", "u1")
    clock.advance(840)
    verbs.converse("2", "young", "u2")
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    beat(GATEWAY)


@pytest.mark.parametrize("restore", ["on_restart", "always"])
def test_time_while_the_gateway_was_down_does_not_count(
    verbs: Verbs, clock: Clock, restore: str
) -> None:
    _two_sessions(verbs, clock)
    clock.advance(3600)
    resume_sessions(verbs.sessions, restore)
    beat(GATEWAY)
    left = {s.scope_key: (s.expires_at - clock()).total_seconds() for s in open_sessions()}
    assert left == {"user:u1": 60, "user:u2": 900}
    clock.advance(59)
    verbs.take_in(inbound("3", "again", "u1"))
    assert history_of(verbs.claim_one()) == [
        ("user", "old"),
        ("assistant", "re old"),
        ("user", "again"),
    ]


def test_a_session_that_was_over_before_the_crash_stays_over(verbs: Verbs, clock: Clock) -> None:
    verbs.converse("1", "old")
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    clock.advance(901)
    beat(GATEWAY)
    clock.advance(3600)
    resume_sessions(verbs.sessions, "on_restart")
    verbs.take_in(inbound("2", "new"))
    assert history_of(verbs.claim_one()) == [("user", "new")]


def test_with_never_open_sessions_end_at_a_restart(verbs: Verbs, clock: Clock) -> None:
    _two_sessions(verbs, clock)
    verbs.take_in(inbound("3", "waits", "u3"))
    clock.advance(10)
    resume_sessions(verbs.sessions, "never")
    assert [session.scope_key for session in open_sessions()] == ["user:u3"]
    verbs.take_in(inbound("4", "new", "u2"))
    assert [history_of(turn) for turn in verbs.claim()] == [[("user", "waits")], [("user", "new")]]


def test_the_first_start_has_nothing_to_resume(verbs: Verbs) -> None:
    resume_sessions(verbs.sessions, "on_restart")
    verbs.converse("1")
    before = open_sessions()[0].expires_at
    resume_sessions(verbs.sessions, "on_restart")
    assert open_sessions()[0].expires_at == before


def test_a_clock_that_went_back_shortens_no_session(verbs: Verbs, clock: Clock) -> None:
    _two_sessions(verbs, clock)
    before = [session.expires_at for session in open_sessions()]
    clock.advance(-500)
    resume_sessions(verbs.sessions, "on_restart")
    assert [session.expires_at for session in open_sessions()] == before


def test_a_sign_of_life_is_one_row(verbs: Verbs, clock: Clock) -> None:
    beat("worker")
    clock.advance(60)
    beat("worker", '{"pid": 7}')
    row = Heartbeat.objects.get()
    assert (row.at, row.detail) == (clock(), {"pid": 7})
