"""What is planned fires: once, in order, late or not, and no schedule stands in another's way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from gateway.ledger import firing
from gateway.ledger.busy import Manners
from gateway.ledger.firing import fire_due
from gateway.ledger.outcomes import settle
from gateway.models import Delivery, Occurrence, Schedule, Turn
from sessions_app.models import Contact, Message, Session
from tests.conftest import Clock
from tests.core.kit import Verbs, inbound, sent, statements, texts
from tests.schedules.kit import at, next_run, person, plan, rows

HOUR = timedelta(hours=1)


def fire(clock: Clock, seconds: float = 0) -> int:
    """Time passes, the worker looks."""
    clock.advance(seconds)
    return fire_due(clock())


def send(verbs: Verbs, clock: Clock, **changes: Any) -> None:
    """What waits goes out, and the worker looks what came of it."""
    verbs.finish_deliveries([sent(claim, **changes) for claim in verbs.send()])
    settle(clock())


def test_a_text_is_sent_when_it_is_due_and_not_before(verbs: Verbs, clock: Clock) -> None:
    schedule = plan()
    assert (fire(clock, 3599), texts()) == (0, [])
    assert (fire(clock, 1), texts()) == (1, ["hello"])
    assert (fire(clock), texts()) == (0, ["hello"])
    (occurrence,) = Occurrence.objects.all()
    assert (occurrence.due_at, occurrence.state) == (schedule.next_run, "claimed")
    assert next_run(schedule) == clock() + HOUR
    send(verbs, clock)
    assert rows() == [("ran", "")]


def test_being_late_moves_nothing(verbs: Verbs, clock: Clock) -> None:
    schedule = plan()
    fire(clock, 3600 + 240)
    assert next_run(schedule) == schedule.created_at + 2 * HOUR


def test_a_prompt_is_put_to_the_agent_and_its_answer_sent(verbs: Verbs, clock: Clock) -> None:
    plan(prompt="sum up the day")
    fire(clock, 3600)
    turn = verbs.claim_one()
    assert (turn.origin, Occurrence.objects.get().turn) == ("schedule", turn.id)
    settle(clock())
    assert rows() == [("claimed", "")]
    verbs.answer(turn, "a quiet day")
    settle(clock())
    assert rows() == [("claimed", "")]  # not sent yet
    send(verbs, clock)
    assert rows() == [("ran", "")]
    assert texts() == ["sum up the day", "a quiet day"]


def test_a_time_of_day_keeps_its_place_through_a_clock_change(verbs: Verbs, clock: Clock) -> None:
    clock.time = at("2026-03-28T08:30")
    schedule = plan(kind="cron", spec="0 9 * * *", timezone="Europe/Berlin")
    assert schedule.next_run == at("2026-03-29T07:00")
    clock.time = at("2026-03-29T07:00")
    assert fire(clock) == 1
    assert next_run(schedule) == at("2026-03-30T07:00")


def test_a_time_comes_once_and_is_over(verbs: Verbs, clock: Clock) -> None:
    clock.time = at("2030-01-31T07:00")
    schedule = plan(kind="at", spec="2030-01-31T09:00", timezone="Europe/Berlin")
    assert (fire(clock, 3600), next_run(schedule)) == (1, None)
    assert fire(clock, 10**6) == 0


@pytest.mark.parametrize(
    ("catch_up", "said", "expected"),
    [
        ("once", 1, ["skipped"] * 4 + ["claimed"]),
        ("all", 5, ["claimed"] * 5),
        ("skip", 0, ["skipped"] * 5),
    ],
)
def test_what_was_missed(
    verbs: Verbs, clock: Clock, catch_up: str, said: int, expected: list[str]
) -> None:
    """OC 9930: dropped at the start. Each time that was missed is a row."""
    schedule = plan(catch_up=catch_up)
    assert fire(clock, 5 * 3600 + 1800) == 1
    assert [state for state, _ in rows()] == expected
    assert all(reason for state, reason in rows() if state == "skipped")
    assert Message.objects.count() == Delivery.objects.count() == said
    assert next_run(schedule) == schedule.created_at + 6 * HOUR


def test_with_skip_a_little_late_still_counts(verbs: Verbs, clock: Clock) -> None:
    plan(catch_up="skip")
    fire(clock, 2 * 3600 + 290)
    assert [state for state, _ in rows()] == ["skipped", "claimed"]


def test_no_flood_after_a_long_outage(verbs: Verbs, clock: Clock) -> None:
    """OC 39138: 110 stale messages at once."""
    plan(catch_up="all", spec="60")
    fire(clock, 250 * 60)
    states = [state for state, _ in rows()]
    assert states == ["skipped"] * 150 + ["claimed"] * 100
    assert rows()[0][1] == "too many were missed"
    assert Delivery.objects.count() == 100


def test_a_very_long_outage_does_not_fill_the_database(
    verbs: Verbs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "MAX_ROWS", 20)
    plan(spec="60")
    fire(clock, 100 * 60)
    assert len(rows()) == 20
    assert rows()[0] == ("skipped", "missed, and 80 times before it")
    assert rows()[-1][0] == "claimed"


def test_a_prompt_whose_turn_was_interrupted_ran_when_the_next_one_answers(
    verbs: Verbs, clock: Clock
) -> None:
    verbs.ingest._busy = lambda channel, user, chat: Manners("interrupt")
    plan(prompt="sum up the day")
    fire(clock, 3600)
    verbs.take_in(inbound("1", "and the weather"))  # one turn for both
    first = verbs.claim_one()
    verbs.take_in(inbound("2", "in Paris"))
    settle(clock())
    assert rows() == [("claimed", "")]
    second = verbs.claim_one()
    assert (second.id != first.id, second.waiting) == (True, 3)
    verbs.answer(second, "quiet and sunny")
    send(verbs, clock)
    assert rows() == [("ran", "")]


def test_an_occurrence_that_is_there_is_not_done_again(verbs: Verbs, clock: Clock) -> None:
    schedule = plan()
    fire(clock, 3600)
    Schedule.objects.update(next_run=schedule.next_run)
    fire(clock)
    assert (len(rows()), Message.objects.count()) == (1, 1)
    assert next_run(schedule) == clock() + HOUR


def test_two_workers_fire_once(verbs: Verbs, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one commits between our look and our claim."""
    schedule = plan()
    clock.advance(3600)

    def other(name: str) -> None:
        monkeypatch.setattr(firing.points, "hook", None)
        if name == "fire:before_claim":
            assert fire_due(clock()) == 1

    monkeypatch.setattr(firing.points, "hook", other)
    assert fire_due(clock()) == 0
    assert (len(rows()), Message.objects.count()) == (1, 1)
    assert next_run(schedule) == clock() + HOUR


def test_a_schedule_that_cannot_be_done_stands_in_nobodys_way(verbs: Verbs, clock: Clock) -> None:
    bad, good = plan("u1"), plan("u2")
    Schedule.objects.filter(pk=bad.pk).update(timezone="Mars/Base", kind="cron", spec="0 9 * * *")
    assert fire(clock, 3600) == 1
    ((state, reason),) = rows(bad)
    assert state == "failed"
    assert "Mars/Base" in reason
    assert (next_run(bad), rows(good)) == (None, [("claimed", "")])


def test_an_error_while_saying_it_fails_this_time_only(
    verbs: Verbs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = plan()

    def fails(*args: Any) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patched:
        patched.setattr(firing, "reach_out", fails)
        assert fire(clock, 3600) == 0
    assert rows() == [("failed", "error: RuntimeError: no")]
    assert not Session.objects.exists()
    assert (next_run(schedule), fire(clock, 3600)) == (schedule.created_at + 2 * HOUR, 1)


def test_a_database_that_cannot_be_written_leaves_all_for_the_next_look(
    verbs: Verbs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = plan()

    def locked(*args: Any) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(firing, "reach_out", locked)
        assert fire(clock, 3600) == 0
    assert (rows(), next_run(schedule)) == ([], schedule.next_run)
    assert fire(clock) == 1


def test_who_may_not_be_written_to_is_skipped(verbs: Verbs, clock: Clock) -> None:
    plan()
    Contact.objects.update(access="blocked")
    fire(clock, 3600)
    assert rows() == [("skipped", "may not be written to: blocked")]
    assert not Message.objects.exists()
    Contact.objects.update(access="allowed")
    fire(clock, 3600)
    assert rows()[1] == ("claimed", "")


def test_one_that_is_off_does_nothing(verbs: Verbs, clock: Clock) -> None:
    plan()
    Schedule.objects.update(enabled=False)
    assert fire(clock, 10 * 3600) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "failed", "error_code": "refused"}, "delivery failed: refused"),
        ({"state": "expired"}, "delivery failed: expired"),
        ({"state": "unsure"}, "delivery failed: unsure"),
    ],
)
def test_a_delivery_that_failed_is_told_apart(
    verbs: Verbs, clock: Clock, change: dict[str, str], reason: str
) -> None:
    """NC 2995: "delivered" without a send."""
    plan()
    plan(prompt="sum up")
    fire(clock, 3600)
    verbs.answer(verbs.claim_one(), "done")
    Delivery.objects.update(**change)
    settle(clock())
    assert rows() == [("failed", reason)] * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "failed", "error_code": "timeout"}, "agent: timeout"),
        ({"state": "quarantined"}, "agent: quarantined"),
        ({"state": "cancelled"}, "agent: cancelled"),
    ],
)
def test_an_agent_that_failed_is_told_apart(
    verbs: Verbs, clock: Clock, change: dict[str, str], reason: str
) -> None:
    plan(prompt="sum up")
    fire(clock, 3600)
    Turn.objects.update(**change)
    settle(clock())
    assert rows() == [("failed", reason)]


def test_silence_and_an_operator_are_no_failures(verbs: Verbs, clock: Clock) -> None:
    plan(prompt="anything new?")
    fire(clock, 3600)
    verbs.answer(verbs.claim_one(), "", silent=True)
    settle(clock())
    Session.objects.update(handler="operator", expires_at=clock() + 2 * HOUR)
    fire(clock, 3600)
    settle(clock())
    assert rows() == [("ran", "the agent had nothing to say"), ("ran", "left to an operator")]


def test_a_conversation_that_was_deleted_leaves_no_open_row(verbs: Verbs, clock: Clock) -> None:
    plan()
    fire(clock, 3600)
    Session.objects.all().delete()
    settle(clock())
    assert rows() == [("failed", "the conversation was deleted")]


def test_settling_many_takes_one_statement(verbs: Verbs, clock: Clock) -> None:
    for number in range(30):
        plan(f"u{number}")
        person(f"u{number}")
    assert fire(clock, 3600) == 30
    Delivery.objects.update(state="sent")
    with statements() as seen:
        assert settle(clock()) == 30
    assert len([sql for sql in seen if "gateway_occurrence" in sql]) == 1
