"""The worker's own tasks, run as it runs them, with the clock in the test's hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django import Settings

from gateway import tasks
from gateway.models import Occurrence
from gateway.tasks import HUEY
from tests.conftest import Clock
from tests.core.kit import Verbs, sent, texts
from tests.schedules.kit import at, plan, rows


@pytest.fixture(autouse=True)
def empty_queue() -> None:
    HUEY.flush()


def test_every_day_at_nine(verbs: Verbs, clock: Clock) -> None:
    clock.time = at("2026-10-23T12:00")
    plan(kind="cron", spec="0 9 * * *", timezone="Europe/Berlin", prompt="sum up the day")
    for day, utc in (("24", "07:00"), ("25", "08:00"), ("26", "08:00")):  # the 25th is longer
        clock.time = at(f"2026-10-{day}T{utc}")
        tasks.tick.call_local()
        verbs.answer(verbs.claim_one(), f"the summary of the {day}th")
        verbs.finish_deliveries([sent(claim) for claim in verbs.send()])
    clock.advance(60)
    tasks.tick.call_local()
    assert rows() == [("ran", "")] * 3
    assert "the summary of the 25th" in texts()


def test_the_tick_sets_alarms_for_the_coming_minute(verbs: Verbs, clock: Clock) -> None:
    one, _ = plan(spec="90"), plan(spec="7200")
    HUEY.flush()
    clock.advance(60)
    tasks.tick.call_local()
    (alarm,) = HUEY.pending()
    assert one.next_run
    assert alarm.eta == one.next_run.replace(tzinfo=None)
    clock.advance(30)
    tasks.fire_planned.call_local()
    assert Occurrence.objects.count() == 1


def test_at_most_one_alarm_is_set_for_a_moment(verbs: Verbs, clock: Clock) -> None:
    """Each alarm sets the next one, and so does each look once a minute: they do not add up."""
    plan(spec="60")
    plan("u2", spec="60")  # due at the same moments
    rung = []
    for _ in range(60):
        clock.advance(30)
        tasks.tick.call_local()  # in between two moments
        clock.advance(30)
        due = [one for one in HUEY.pending() if one.eta == clock().replace(tzinfo=None)]
        rung.append((len(due), HUEY.pending_count()))
        HUEY.flush()
        for _ in due:
            tasks.fire_planned.call_local()
    assert rung == [(1, 1)] * 60
    assert Occurrence.objects.count() == 120


def test_an_alarm_that_was_lost_is_set_again(verbs: Verbs, clock: Clock) -> None:
    plan(spec="60")
    HUEY.flush()
    clock.advance(30)
    tasks.tick.call_local()
    assert HUEY.pending_count() == 1


def test_old_occurrences_are_forgotten_where_retention_is_set(
    verbs: Verbs, clock: Clock, settings: Settings
) -> None:
    schedule = plan()
    for days in (0, 1, 2):
        state = "claimed" if days == 2 else "ran"
        ended = None if days == 2 else clock() - timedelta(days=days * 40)
        due = clock() - timedelta(days=days * 40)
        Occurrence.objects.create(schedule=schedule, due_at=due, state=state, ended_at=ended)
    tasks.forget.call_local()
    assert Occurrence.objects.count() == 3
    settings.OPENCLAW_RETENTION_DAYS = 30
    tasks.forget.call_local()
    assert rows() == [("claimed", ""), ("ran", "")]


def test_a_worker_that_starts_looks_at_once(verbs: Verbs, clock: Clock) -> None:
    plan()
    clock.advance(3600)
    tasks.catch_up()
    assert Occurrence.objects.count() == 1
