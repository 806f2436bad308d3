"""Sending dead letters again, and letting them go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adapters.base import Refused, Unsure
from gateway.delivery import SenderSettings
from gateway.ledger import operate
from gateway.models import Audit, Delivery
from tests.conftest import Clock
from tests.core.house import House
from tests.core.kit import TestChat, Verbs, queue, sent
from tests.core.outbox import over, put, results, script

BOSS = "boss"
DAY = timedelta(days=1)
MAX_AGE = 3600
HOLD = SenderSettings(unsure="hold", mark="(again)", retry_seconds=0.001)


def dead(text: str = "a", state: str = "failed", **changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "state": state,
        "attempts": 3,
        "error_code": "refused",
        "error_detail": "blocked",
        "trace": [{"at": "2026-01-01T00:00:00.000+00:00", "result": "refused"}],
    }
    return queue(text, **(fields | changes))


@pytest.mark.parametrize("state", ["failed", "expired", "unsure"])
def test_dead_letter_waits_to_be_sent_again(verbs: Verbs, state: str) -> None:
    row = dead(state=state)
    assert operate.retry_deliveries(BOSS, [row.pk]) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts, row.error_code, row.error_detail) == ("queued", 0, "", "")
    assert row.repeated is (state == "unsure")
    assert row.trace[-1]["result"] == "retry" and BOSS in row.trace[-1]["detail"]
    (claim,) = verbs.send()
    verbs.finish_deliveries([sent(claim)])
    row.refresh_from_db()
    assert row.state == "sent" and row.receipt == "r1"
    note = Audit.objects.get()
    assert (note.actor, note.action, note.row) == (BOSS, "retry_delivery", row.key)
    assert (note.detail["state"], note.detail["error"]) == (state, "refused")


@pytest.mark.parametrize("state", ["queued", "sending", "sent"])
def test_what_is_not_dead_is_left_alone(verbs: Verbs, state: str) -> None:
    row = dead(state=state)
    assert operate.retry_deliveries(BOSS, [row.pk]) == 0
    assert state == "queued" or operate.discard_deliveries(BOSS, [row.pk]) == 0
    row.refresh_from_db()
    assert row.state == state and row.attempts == 3
    assert not Audit.objects.exists()


def test_a_part_that_waits_is_let_go_and_frees_its_lane(verbs: Verbs, clock: Clock) -> None:
    held = queue("held", attempts=2, error_code="transient", not_before=clock.time + DAY)
    queue("behind it")
    assert verbs.send() == []
    assert operate.discard_deliveries(BOSS, [held.pk]) == 1
    held.refresh_from_db()
    assert (held.state, held.error_code) == ("failed", "discarded")
    assert [claim.outbound.text for claim in verbs.send()] == ["behind it"]
    note = Audit.objects.get()
    assert (note.actor, note.action, note.row) == (BOSS, "discard_delivery", held.key)
    assert note.detail["state"] == "queued"
    assert operate.retry_deliveries(BOSS, [held.pk]) == 1


def test_retried_part_goes_first_in_its_lane(verbs: Verbs) -> None:
    old = dead("old")
    queue("new")
    operate.retry_deliveries(BOSS, [old.pk])
    assert [claim.outbound.text for claim in verbs.send()] == ["old"]


def test_expired_part_has_its_whole_time_again_and_no_more(verbs: Verbs, clock: Clock) -> None:
    row = queue("a")
    clock.advance(MAX_AGE + 1)
    assert verbs.send() == []
    row.refresh_from_db()
    assert row.state == "expired"
    operate.retry_deliveries(BOSS, [row.pk])
    clock.advance(MAX_AGE - 1)
    verbs.gate.permits["testchat"] = 0
    assert verbs.send() == []
    row.refresh_from_db()
    assert row.state == "queued"
    clock.advance(2)
    assert verbs.send() == []
    row.refresh_from_db()
    assert row.state == "expired" and row.created_at < clock.time


def test_discarded_part_has_failed_and_says_so(verbs: Verbs) -> None:
    row = dead(state="unsure", error_code="unsure")
    assert operate.discard_deliveries(BOSS, [row.pk]) == 1
    row.refresh_from_db()
    assert (row.state, row.error_code, row.error_detail) == ("failed", "discarded", "blocked")
    assert operate.discard_deliveries(BOSS, [row.pk]) == 0
    note = Audit.objects.get()
    assert (note.action, note.detail["state"]) == ("discard_delivery", "unsure")
    assert note.detail["error"] == "unsure"
    assert operate.retry_deliveries(BOSS, [row.pk]) == 1


@pytest.mark.usefixtures("agent")
async def test_operators_retry_is_the_word_that_a_held_part_waits_for() -> None:
    async with House(chat=TestChat(script(Unsure("no answer"))), sender=HOLD) as house:
        await put(house, "a")
        held = await over(house)
        assert held.state == "unsure"
        assert await house.read(lambda: operate.retry_deliveries(BOSS, [held.pk])) == 1
        house.ledger.poke()
        row = await over(house)
        assert row.state == "sent"
        assert house.chat.said == ["a", "a\n(again)"]


@pytest.mark.usefixtures("agent")
async def test_that_word_holds_for_one_try() -> None:
    steps = script(Unsure("no answer"), Unsure("no answer again"))
    async with House(chat=TestChat(steps), sender=HOLD) as house:
        await put(house, "a")
        held = await over(house)
        await house.read(lambda: operate.retry_deliveries(BOSS, [held.pk]))
        house.ledger.poke()
        row = await over(house)
        assert row.state == "unsure"
        assert house.chat.said == ["a", "a\n(again)"]
        assert results(row) == ["unsure", "unsure", "retry", "unsure", "unsure"]


@pytest.mark.usefixtures("agent")
async def test_refused_part_that_is_refused_again_is_a_dead_letter_again() -> None:
    async with House(chat=TestChat(script(Refused("no"), Refused("still no")))) as house:
        await put(house, "a")
        row = await over(house)
        await house.read(lambda: operate.retry_deliveries(BOSS, [row.pk]))
        house.ledger.poke()
        row = await over(house)
        assert (row.state, row.error_code, row.error_detail) == ("failed", "refused", "still no")
        assert house.chat.said == ["a", "a"]
