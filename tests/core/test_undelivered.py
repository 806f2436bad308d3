"""NC 2423: the agent is never told that its message failed. Here it is, with its next turn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from adapters.base import Status
from gateway.ledger import operate
from gateway.ledger.records import ClaimedTurn, FinishedDelivery, Part
from gateway.ledger.statuses import note_statuses
from gateway.models import Delivery
from sessions_app.models import Session
from tests.conftest import Clock
from tests.core.kit import CHANNEL, Verbs, inbound, sent


def _shown(turn: ClaimedTurn) -> list[tuple[str, Any]]:
    """What an agent is shown: text and context."""
    entries = map(orjson.loads, turn.history)
    return [(entry["content"], entry.get("context")) for entry in entries]


def _answered(verbs: Verbs, *parts: str) -> None:
    """A question and its answer, whose parts wait to be sent."""
    verbs.take_in(inbound("1", "q"))
    verbs.answer(verbs.claim_one(), "re q", parts=[Part(part) for part in parts or ("re q",)])


def _fail(verbs: Verbs, state: str = "failed") -> None:
    for claim in verbs.send():
        verbs.finish_deliveries([FinishedDelivery(claim, state, error_code="refused")])


def _next(verbs: Verbs, number: str = "2") -> ClaimedTurn:
    verbs.take_in(inbound(number, f"q{number}"))
    return verbs.claim_one()


UNDELIVERED = ("re q", {"undelivered": True})


@pytest.mark.parametrize("state", ["failed", "expired"])
def test_the_agent_is_told_that_its_message_failed(verbs: Verbs, state: str) -> None:
    _answered(verbs)
    _fail(verbs, state)
    assert _shown(_next(verbs)) == [("q", None), UNDELIVERED, ("q2", None)]


def test_also_when_it_was_not_sent_in_time(verbs: Verbs, clock: Clock) -> None:
    _answered(verbs)
    Delivery.objects.update(created_at=clock() - timedelta(seconds=3601))
    assert verbs.send() == []
    assert UNDELIVERED in _shown(_next(verbs))


def test_also_when_only_one_part_failed(verbs: Verbs) -> None:
    _answered(verbs, "re", "q")
    (first,) = verbs.send()
    verbs.finish_deliveries([sent(first)])
    _fail(verbs)
    assert UNDELIVERED in _shown(_next(verbs))


def test_also_when_the_platform_says_so_later_and_history_was_read_before(verbs: Verbs) -> None:
    _answered(verbs)
    verbs.finish_deliveries([sent(claim, "r-9") for claim in verbs.send()])
    before = _next(verbs)
    assert ("re q", None) in _shown(before)
    verbs.answer(before, "re q2")
    note_statuses(CHANNEL, [Status("", "r-9", "failed", "no such number")])
    assert UNDELIVERED in _shown(_next(verbs, "3"))


def test_an_operators_retry_takes_it_back(verbs: Verbs) -> None:
    _answered(verbs)
    _fail(verbs)
    operate.retry_deliveries("boss", Delivery.objects.values_list("pk", flat=True))
    assert ("re q", None) in _shown(_next(verbs))


def test_what_was_delivered_costs_and_says_nothing(verbs: Verbs) -> None:
    _answered(verbs)
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    assert Session.objects.get().revision == 0
    assert _shown(_next(verbs)) == [("q", None), ("re q", None), ("q2", None)]
