"""A turn tried again, and a session in an operator's hands."""

from __future__ import annotations

from gateway.ledger.records import FinishedTurn, Part
from gateway.models import Turn
from sessions_app.models import Message, Session
from tests.core.kit import Verbs, history_of, inbound


def test_a_turn_tried_again_after_its_notice_is_answered_behind_it(verbs: Verbs) -> None:
    """The second answer has a place of its own, and the agent is told of it next time."""
    verbs.take_in(inbound("1", text="one"))
    turn = verbs.claim_one()
    verbs.finish_turns([FinishedTurn(turn, "failed", notice="sorry", parts=[Part("sorry")])])
    verbs.take_in(inbound("2", text="two"))
    verbs.answer(verbs.claim_one(), "to two")
    Turn.objects.filter(id=turn.id).update(state="queued")
    Message.objects.filter(text="one").update(disposition="pending")
    verbs.answer(verbs.claim_one(), "to one")
    verbs.take_in(inbound("3", text="three"))
    said = [text for _, text in history_of(verbs.claim_one())]
    assert said == ["one", "to one", "two", "to two", "three"]


def test_a_session_in_an_operators_hands_waits(verbs: Verbs) -> None:
    """CW 11363: what was queued before the take-over is not answered after it."""
    verbs.take_in(inbound("1"))
    Session.objects.update(handler="operator")
    assert verbs.start_turns(10) == []
    Session.objects.update(handler="agent")
    assert verbs.claim_one()
