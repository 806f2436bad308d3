"""Stopping turns, asking again, letting go: what becomes of the turn, its messages, the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.ledger import operate
from gateway.ledger.records import ClaimedTurn, FinishedTurn, Part
from gateway.ledger.recovery import MAX_CRASHES, take_over
from gateway.models import Audit, Delivery, Turn
from tests.core.kit import Verbs, dispositions, history_of, inbound, queue, texts, turns

BOSS = "boss"
NOTICE = "Sorry"


def audit() -> list[tuple[str, str, str]]:
    """(who, did what, to which row), oldest first."""
    return list(Audit.objects.order_by("id").values_list("actor", "action", "row"))


def fail(verbs: Verbs, turn: ClaimedTurn, notice: str = NOTICE) -> None:
    parts = [Part(notice)] if notice else []
    verbs.finish_turns([FinishedTurn(turn, "failed", notice=notice, parts=parts, error_code="x")])


def failed(verbs: Verbs, number: int, user: str = "u1") -> ClaimedTurn:
    """A question whose turn has failed."""
    verbs.take_in(inbound(f"m{number}", f"question {number}", user))
    turn = verbs.claim_one()
    fail(verbs, turn)
    return turn


def quarantined(verbs: Verbs) -> Turn:
    """A turn that was cut off too often."""
    verbs.take_in(inbound("m1", "poison"))
    for number in range(MAX_CRASHES):
        assert verbs.claim_one()
        take_over(f"main/{number}-next")
    (turn,) = turns(state="quarantined")
    return turn


def test_cancelled_turn_that_waits_leaves_its_messages_silent(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"), inbound("m2", "two"))
    (turn,) = turns()
    assert operate.cancel_turns(BOSS, [turn.pk]) == 1
    assert dispositions() == {"one": "silent", "two": "silent"}
    turn.refresh_from_db()
    assert turn.state == "cancelled" and turn.ended_at is not None
    assert verbs.claim() == []
    assert audit() == [(BOSS, "cancel_turn", turn.pk)]
    assert Audit.objects.get().detail["state"] == "queued"


def test_cancelled_turn_that_runs_is_not_answered_any_more(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    assert operate.cancel_turns(BOSS, [turn.id]) == 1
    assert verbs.answer(turn, "too late").won is False
    assert dispositions() == {"one": "silent"}
    assert texts() == ["one"]
    assert not Delivery.objects.exists()
    assert turns()[0].lease_owner == "" and turns()[0].lease_until is None
    assert Audit.objects.get().detail["state"] == "running"


def test_what_a_stopped_turn_had_said_stays_to_be_seen(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    operate.cancel_turns(BOSS, [turn.id])
    events = [{"kind": "tool_call", "data": {}}]
    stopped = FinishedTurn(turn, "cancelled", silent=True, partial="Once upon", events=events)
    (ended,) = verbs.finish_turns([stopped])
    assert not ended.won
    row = turns()[0]
    assert (row.state, row.partial_text, row.events) == ("cancelled", "Once upon", events)


def test_session_goes_on_after_a_cancelled_turn(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    first = verbs.claim_one()
    verbs.take_in(inbound("m2", "two"))
    assert verbs.claim() == []
    operate.cancel_turns(BOSS, [first.id])
    verbs.answer(verbs.claim_one())
    assert dispositions() == {"one": "silent", "two": "answered"}


def test_cancelling_the_later_turn_leaves_the_earlier_its_messages(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    first = verbs.claim_one()
    verbs.take_in(inbound("m2", "two"))
    (second,) = turns(state="queued")
    assert operate.cancel_turns(BOSS, [second.pk]) == 1
    assert dispositions() == {"one": "pending", "two": "silent"}
    verbs.answer(first)
    assert dispositions() == {"one": "answered", "two": "silent"}


def test_a_turn_that_somebody_stopped_can_be_asked_again(verbs: Verbs) -> None:
    verbs.take_in(inbound("m0", "/stop"), inbound("m1", "one"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("m2", "two"))
    operate.cancel_turns(BOSS, [turn.id])
    assert operate.requeue_turns(BOSS, [turn.id]) == 1
    assert dispositions() == {"/stop": "silent", "one": "pending", "two": "pending"}
    assert audit()[-1] == (BOSS, "requeue_turn", turn.id)
    verbs.answer(verbs.claim_one(), "to one")
    assert dispositions()["one"] == "answered"


def test_a_turn_that_its_person_stopped_can_be_asked_again(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("m2", "/stop"))
    assert Turn.objects.get(pk=turn.id).state == "cancelled"
    assert operate.requeue_turns(BOSS, [turn.id]) == 1
    assert dispositions() == {"one": "pending", "/stop": "silent"}
    verbs.answer(verbs.claim_one(), "to one")
    assert dispositions() == {"one": "answered", "/stop": "silent"}


@pytest.mark.parametrize("code", operate.TAKEN)
def test_a_turn_whose_messages_are_another_ones_is_not_asked_again(verbs: Verbs, code: str) -> None:
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    operate.cancel_turns(BOSS, [turn.id])
    Turn.objects.update(error_code=code)
    assert operate.requeue_turns(BOSS, [turn.id]) == 0
    assert Turn.objects.get().state == "cancelled"


def test_a_turn_stopped_by_a_hand_over_is_not_asked_again(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    operate.hand_over(BOSS, [turn.session], "operator")
    assert operate.requeue_turns(BOSS, [turn.id]) == 0


def test_nobody_is_asked_while_an_operator_has_the_conversation(verbs: Verbs) -> None:
    """The turn would wait for ever, and be dropped when the conversation is given back."""
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    operate.cancel_turns(BOSS, [turn.id])
    operate.hand_over(BOSS, [turn.session], "operator")
    assert operate.requeue_turns(BOSS, [turn.id]) == 0
    operate.hand_over(BOSS, [turn.session], "agent")
    assert operate.requeue_turns(BOSS, [turn.id]) == 1


def test_what_was_shown_of_a_stopped_answer_stands_and_the_new_one_is_a_message(
    verbs: Verbs,
) -> None:
    verbs.take_in(inbound("m1", "one"))
    turn = verbs.claim_one()
    half = queue("half", turn=turn.id, state="sent", receipt="r1")
    operate.cancel_turns(BOSS, [turn.id])
    assert operate.requeue_turns(BOSS, [turn.id]) == 1
    verbs.answer(verbs.claim_one(), "to one", parts=[Part("to one")])
    half.refresh_from_db()
    assert (half.text, half.state) == ("half", "sent")
    (claim,) = verbs.send()
    assert (claim.outbound.text, claim.receipt) == ("to one", "")


def test_both_turns_of_a_session_can_be_cancelled_at_once(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    verbs.claim_one()
    verbs.take_in(inbound("m2", "two"))
    assert operate.cancel_turns(BOSS, [turn.pk for turn in turns()]) == 2
    assert dispositions() == {"one": "silent", "two": "silent"}
    assert len(audit()) == 2


@pytest.mark.parametrize("verb", [operate.cancel_turns, operate.discard_turns])
def test_ended_and_unknown_turns_are_left_alone(
    verbs: Verbs, verb: Callable[[str, list[str]], int]
) -> None:
    verbs.converse("m1", "one")
    ids = [turns()[0].pk, "turn_unknown"]
    assert verb(BOSS, ids) == operate.requeue_turns(BOSS, ids) == verb(BOSS, []) == 0
    assert dispositions() == {"one": "answered"}
    assert audit() == []


def test_the_same_row_twice_in_a_list_counts_once(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", "one"))
    (turn,) = turns()
    assert operate.cancel_turns(BOSS, [turn.pk, turn.pk]) == 1
    assert operate.cancel_turns(BOSS, [turn.pk]) == 0
    assert len(audit()) == 1


def test_failed_turn_is_asked_again_and_answered_behind_its_notice(verbs: Verbs) -> None:
    turn = failed(verbs, 1)
    assert dispositions() == {"question 1": "failed"}
    assert operate.requeue_turns(BOSS, [turn.id]) == 1
    assert dispositions() == {"question 1": "pending"}
    again = verbs.claim_one()
    assert again.id == turn.id and again.attempt == turn.attempt + 1
    verbs.answer(again, "now it works")
    assert dispositions() == {"question 1": "answered"}
    assert texts() == ["question 1", NOTICE, "now it works"]
    assert audit() == [(BOSS, "requeue_turn", turn.id)]
    assert Audit.objects.get().detail["error"] == "x"


def test_old_failed_turn_is_answered_in_its_place_and_later_turns_know(verbs: Verbs) -> None:
    old = failed(verbs, 1)
    verbs.converse("m2", "second")
    operate.requeue_turns(BOSS, [old.id])
    again = verbs.claim_one()
    assert history_of(again)[-1] == ("user", "question 1")
    verbs.answer(again, "late answer")
    assert texts() == ["question 1", NOTICE, "late answer", "second", "re second"]
    verbs.take_in(inbound("m3", "third"))
    assert [text for _, text in history_of(verbs.claim_one())] == [
        "question 1", "late answer", "second", "re second", "third",
    ]  # fmt: skip


def test_only_its_own_messages_are_pending_again(verbs: Verbs) -> None:
    failed(verbs, 1)
    second = failed(verbs, 2)
    operate.requeue_turns(BOSS, [second.id])
    assert dispositions() == {"question 1": "failed", "question 2": "pending"}


def test_several_failed_turns_of_a_session_run_one_after_the_other(verbs: Verbs) -> None:
    first, second = failed(verbs, 1), failed(verbs, 2)
    verbs.take_in(inbound("m3", "question 3"))
    assert operate.requeue_turns(BOSS, [second.id, first.id]) == 2
    seen = []
    for _ in range(3):
        turn = verbs.claim_one()
        seen.append(history_of(turn)[-1][1])
        verbs.answer(turn)
    assert seen == ["question 1", "question 2", "question 3"]
    assert set(dispositions().values()) == {"answered"}


def test_turn_of_an_ended_session_can_still_be_asked_again(verbs: Verbs) -> None:
    turn = failed(verbs, 1)
    operate.terminate_sessions(BOSS, [turn.session])
    operate.requeue_turns(BOSS, [turn.id])
    verbs.answer(verbs.claim_one(), "after the end")
    assert Delivery.objects.filter(text="after the end", state="queued").count() == 1


def test_quarantined_turn_gets_all_its_lives_back(verbs: Verbs) -> None:
    turn = quarantined(verbs)
    assert dispositions() == {"poison": "failed"}
    assert operate.requeue_turns(BOSS, [turn.pk]) == 1
    for number in range(MAX_CRASHES - 1):
        assert verbs.claim_one().id == turn.pk
        take_over(f"main/{number}-again")
    verbs.answer(verbs.claim_one())
    assert dispositions() == {"poison": "answered"}


def test_discarded_turn_failed_for_good(verbs: Verbs) -> None:
    turn = quarantined(verbs)
    assert operate.discard_turns(BOSS, [turn.pk]) == 1
    turn.refresh_from_db()
    assert turn.state == "failed" and turn.error_code == "quarantined" and turn.ended_at
    assert dispositions() == {"poison": "failed"}
    assert verbs.claim() == []
    assert audit() == [(BOSS, "discard_turn", turn.pk)]


def test_nothing_is_changed_where_the_audit_cannot_be_written(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs.take_in(inbound("m1", "one"))
    (turn,) = turns()

    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(Audit.objects, "bulk_create", refuse)
    with pytest.raises(RuntimeError):
        operate.cancel_turns(BOSS, [turn.pk])
    assert turns()[0].state == "queued" and dispositions() == {"one": "pending"}


def test_a_thousand_at_once(verbs: Verbs) -> None:
    verbs.take_in(*(inbound(f"m{n}", user=f"u{n}") for n in range(1001)))
    ids = [turn.pk for turn in turns()]
    assert operate.cancel_turns(BOSS, ids) == 1001
    assert Audit.objects.count() == 1001
