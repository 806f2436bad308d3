"""Ending sessions and bringing them back."""

from __future__ import annotations

from django.db.models import Q

from gateway.ledger import operate
from gateway.models import Audit, Delivery, Turn
from sessions_app.models import Session
from tests.core.kit import Verbs, dispositions, inbound, open_sessions, texts, turns

BOSS = "boss"


def test_ended_session_stops_its_turns(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    running = verbs.claim_one()
    verbs.take_in(inbound("m2", "two"))
    assert operate.terminate_sessions(BOSS, [running.session]) == 1
    session = Session.objects.get()
    assert session.state == "terminated" and session.ended_at is not None
    assert {turn.state for turn in turns()} == {"cancelled"}
    assert dispositions() == {"one": "silent", "two": "silent"}
    assert verbs.answer(running, "too late").won is False
    actions = list(Audit.objects.order_by("action").values_list("action", flat=True))
    assert actions == ["cancel_turn", "cancel_turn", "terminate_session"]
    assert Audit.objects.get(action="terminate_session").row == session.pk


def test_what_was_said_already_still_goes_out(verbs: Verbs) -> None:
    verbs.converse("m1", "one")
    operate.terminate_sessions(BOSS, [open_sessions()[0].pk])
    assert [claim.outbound.text for claim in verbs.send()] == ["re one"]


def test_whoever_writes_next_begins_anew_and_the_old_one_stays_ended(verbs: Verbs) -> None:
    verbs.converse("m1", "one")
    (old,) = open_sessions()
    operate.terminate_sessions(BOSS, [old.pk])
    verbs.converse("m2", "two")
    (new,) = open_sessions()
    assert new.pk != old.pk and texts(new.pk) == ["two", "re two"]
    assert operate.restore_sessions(BOSS, [old.pk]) == 0
    assert not Audit.objects.filter(action="restore_session").exists()


def test_restored_session_goes_on_with_its_history(verbs: Verbs) -> None:
    verbs.converse("m1", "one")
    (session,) = open_sessions()
    operate.terminate_sessions(BOSS, [session.pk])
    assert operate.restore_sessions(BOSS, [session.pk]) == 1
    verbs.converse("m2", "two")
    assert texts(session.pk) == ["one", "re one", "two", "re two"]
    note = Audit.objects.get(action="restore_session")
    assert (note.actor, note.row) == (BOSS, session.pk)


def test_of_two_ended_sessions_of_a_person_one_comes_back(verbs: Verbs) -> None:
    for number in (1, 2):
        verbs.converse(f"m{number}")
        operate.terminate_sessions(BOSS, [open_sessions()[0].pk])
    ids = list(Session.objects.values_list("pk", flat=True))
    assert operate.restore_sessions(BOSS, ids) == 1
    assert len(open_sessions()) == 1


def test_second_time_changes_nothing(verbs: Verbs) -> None:
    verbs.converse("m1", "one")
    (session,) = open_sessions()
    assert operate.terminate_sessions(BOSS, [session.pk, session.pk, "sess_unknown"]) == 1
    ended_at = Session.objects.get().ended_at
    assert operate.terminate_sessions(BOSS, [session.pk]) == 0
    assert Session.objects.get().ended_at == ended_at
    assert operate.restore_sessions(BOSS, [session.pk]) == 1
    assert operate.restore_sessions(BOSS, [session.pk, "sess_unknown"]) == 0


def test_other_sessions_are_not_touched(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one", "u1"), inbound("m2", "two", "u2"))
    mine = Session.objects.get(Q(scope_key="user:u1"))
    operate.terminate_sessions(BOSS, [mine.pk])
    assert dispositions() == {"one": "silent", "two": "pending"}
    assert Turn.objects.filter(state="queued").count() == 1
    assert not Delivery.objects.exists()
