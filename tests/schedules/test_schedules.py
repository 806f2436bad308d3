"""Schedules are made, changed and cancelled: within limits, on record, and never by reading."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from gateway.ledger.schedules import (
    BadSchedule,
    TooMany,
    cancel_schedule,
    change_schedule,
    coming,
    disable_schedules,
    enable_schedules,
)
from gateway.models import Audit, Schedule
from gateway.schedules.when import BadTiming
from gateway.tasks import HUEY, fire_planned
from tests.conftest import Clock
from tests.core.kit import CHANNEL, Verbs
from tests.schedules.kit import at, next_run, plan

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"spec": "59"}, BadTiming),
        ({"kind": "at", "spec": "2001-01-01T09:00"}, BadTiming),
        ({"timezone": "Mars/Base"}, BadTiming),
        ({"text": " "}, BadSchedule),
        ({"text": "a", "prompt": "b"}, BadSchedule),
        ({"text": "a" * 20_001}, BadSchedule),
        ({"catch_up": "often"}, BadSchedule),
    ],
)
def test_what_cannot_be_kept_is_refused(
    verbs: Verbs, clock: Clock, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        plan(**changes)
    assert not Schedule.objects.exists()


def test_a_conversation_has_so_many_and_no_more(
    verbs: Verbs, clock: Clock, settings: Settings
) -> None:
    settings.OPENCLAW_SCHEDULES_PER_SESSION = 2
    first, _ = plan(), plan()
    with pytest.raises(TooMany, match="2 planned already"):
        plan()
    plan("u2")  # another conversation
    cancel_schedule("test", first.pk)  # what is over does not count
    plan()


def test_the_zone_and_the_shortest_time_come_from_the_settings(
    verbs: Verbs, clock: Clock, settings: Settings
) -> None:
    settings.OPENCLAW_TIMEZONE, settings.OPENCLAW_SCHEDULES_MIN_SECONDS = "Asia/Tokyo", 5
    clock.time = at("2026-06-01T00:30")
    assert plan(spec="5").timezone == "Asia/Tokyo"
    assert plan(kind="cron", spec="0 10 * * *").next_run == at("2026-06-01T01:00")


def test_only_a_change_of_timing_moves_the_next_time(verbs: Verbs, clock: Clock) -> None:
    """OC 12440: a schedule advanced without running."""
    clock.time = at("2026-06-01T06:00")
    schedule = plan(kind="cron", spec="0 9 * * *")
    due = schedule.next_run
    clock.time = at("2026-06-01T09:30")  # due, and not fired yet
    change_schedule("test", schedule.pk, {"text": "another", "catch_up": "all"})
    list(coming(CHANNEL, scope_key="user:u1"))
    assert next_run(schedule) == due
    change_schedule("test", schedule.pk, {"timezone": "America/New_York"})
    assert next_run(schedule) == at("2026-06-01T13:00")
    change_schedule("test", schedule.pk, {"kind": "every", "spec": "7200"})
    assert next_run(schedule) == at("2026-06-01T10:00")


def test_a_bad_change_changes_nothing(verbs: Verbs, clock: Clock) -> None:
    schedule = plan()
    with pytest.raises(BadTiming):
        change_schedule("test", schedule.pk, {"kind": "cron", "text": "another"})
    assert Schedule.objects.get().text == "hello"
    assert change_schedule("test", "sched_none", {"text": "another"}) is None


def test_switched_off_and_on_again_makes_up_for_nothing(verbs: Verbs, clock: Clock) -> None:
    schedule = plan()
    assert disable_schedules("test", [schedule.pk]) == 1
    clock.advance(3 * 3600 + 60)
    assert next_run(schedule) == schedule.created_at + HOUR
    assert enable_schedules("test", [schedule.pk]) == 1
    assert next_run(schedule) == schedule.created_at + 4 * HOUR
    assert enable_schedules("test", [schedule.pk]) == 0


def test_cancelled_is_over_and_stays_on_record(verbs: Verbs, clock: Clock) -> None:
    schedule = plan()
    assert cancel_schedule("test", schedule.pk, within=(CHANNEL, "user:u2")) is None
    assert cancel_schedule("test", schedule.pk, within=(CHANNEL, "user:u1")) == schedule
    assert (next_run(schedule), list(coming(CHANNEL, scope_key="user:u1"))) == (None, [])
    assert cancel_schedule("test", schedule.pk) is None


def test_the_audit_says_who_and_when_and_not_what(verbs: Verbs, clock: Clock) -> None:
    schedule = plan(text="a secret")
    cancel_schedule("ana", schedule.pk)
    added, cancelled = Audit.objects.order_by("pk")
    assert (added.actor, added.action, added.row) == ("test", "add_schedule", schedule.pk)
    assert (cancelled.actor, cancelled.action) == ("ana", "cancel_schedule")
    assert "secret" not in str(added.detail)


def test_what_is_due_soon_wakes_the_worker_to_the_second(
    verbs: Verbs, clock: Clock, settings: Settings
) -> None:
    HUEY.flush()
    settings.OPENCLAW_SCHEDULES_MIN_SECONDS = 1
    plan(spec="61")
    assert HUEY.pending() == []
    with transaction.atomic():
        schedule = plan(spec="10")
        assert HUEY.pending() == []  # not before the commit
    (alarm,) = HUEY.pending()
    assert isinstance(alarm, fire_planned.task_class)
    assert schedule.next_run
    assert alarm.eta == schedule.next_run.replace(tzinfo=None)
    HUEY.flush()
