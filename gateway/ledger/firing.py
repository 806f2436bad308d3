"""What is planned fires: `fire_due` claims and does what is due, `settle` says what came of it.

One commit holds the rows of all times that were due, the next time, and what is
said: a crash before it leaves everything as it was, one after it nothing to do.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, transaction

from gateway import points
from gateway.ledger.outreach import NotAdmitted, Outreach, reach_out
from gateway.models import Occurrence, Schedule
from gateway.schedules.alarm import SOON, wake_at
from gateway.schedules.when import BadTiming, next_after
from sessions_app.models import Message
from sessions_app.sql import Row, moment, parse_moment, run, run_rows

logger = logging.getLogger(__name__)

LATE = timedelta(minutes=5)
"""Later than this a time was missed, and is left out where nothing is to be made up for."""

MAX_MADE_UP = 100
"""Missed times of one schedule that are made up for, where each is: the newest."""

MAX_ROWS = 1000
"""Missed times that get a row each: the newest; the one row before them says how many more."""

_DUE = """
SELECT id FROM gateway_schedule
WHERE enabled AND next_run IS NOT NULL AND next_run <= %s
ORDER BY next_run, id
"""

_SOON = """
SELECT DISTINCT next_run FROM gateway_schedule
WHERE enabled AND next_run IS NOT NULL AND next_run > %s AND next_run <= %s
ORDER BY next_run LIMIT %s
"""

_CLAIM = """
INSERT INTO gateway_occurrence
    (schedule_id, due_at, state, reason, turn, claimed_at, ended_at)
{rows}
ON CONFLICT (schedule_id, due_at) DO NOTHING
RETURNING id, due_at, state
"""

_ADVANCE = """
UPDATE gateway_schedule SET next_run = %s WHERE id = %s AND next_run = %s AND enabled RETURNING id
"""


class _Taken(Exception):
    """Another worker was faster: this transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class _Missed:
    """The times of a schedule up to now: the newest of them, and how many came before these."""

    times: Sequence[datetime]
    before: int
    upcoming: datetime | None


def fire_due(now: datetime) -> int:
    """Do what is due, each schedule in a transaction of its own. Returns how many fired.

    One that cannot be done says so in its row and stands in nobody's way.
    """
    fired = 0
    for (schedule_id,) in run(_DUE, (moment(now),)):
        try:
            fired += _fire(schedule_id, now)
        except _Taken:
            logger.info("schedule %s was fired by another worker", schedule_id)
        except Error:
            # the database's own trouble says nothing about the schedule: the next look tries again
            logger.exception("schedule %s could not be written", schedule_id)
        except Exception as error:  # worker edge: one bad schedule must not hold up the others
            logger.exception("schedule %s failed", schedule_id)
            _set_aside(schedule_id, error, now)
    return fired


def ring_soon(now: datetime, most: int = 60) -> None:
    """Have the worker look to the second, for the next `most` times in the coming minute."""
    for (due,) in run(_SOON, (moment(now), moment(now + SOON), most)):
        if at := parse_moment(due):
            wake_at(at, now)


def _fire(schedule_id: str, now: datetime) -> bool:
    seen = Schedule.objects.get(pk=schedule_id)
    if seen.next_run is None or seen.next_run > now:
        return False
    missed = _missed(seen, seen.next_run, now)  # outside: it may take a while after a long outage
    points.reached("fire:before_claim")
    with transaction.atomic():
        schedule = Schedule.objects.select_related("contact").get(pk=schedule_id)
        claimed = run_rows(_CLAIM, _rows(schedule, missed, now))
        _advance(schedule, seen.next_run, missed.upcoming)
        _carry_out(schedule, claimed, now)
        points.reached("fire:before_commit")
    points.reached("fire:after_commit")
    return True


def _missed(schedule: Schedule, first: datetime, now: datetime) -> _Missed:
    timing = (schedule.kind, schedule.spec, schedule.timezone, schedule.created_at)
    times: deque[datetime] = deque([first], MAX_ROWS)
    count, upcoming = 1, next_after(*timing, first)
    while upcoming is not None and upcoming <= now:
        times.append(upcoming)
        count, upcoming = count + 1, next_after(*timing, upcoming)
    return _Missed(list(times), count - len(times), upcoming)


def _advance(schedule: Schedule, due: datetime, upcoming: datetime | None) -> None:
    if not run(_ADVANCE, (moment(upcoming), schedule.pk, moment(due))):
        raise _Taken


def _rows(schedule: Schedule, missed: _Missed, now: datetime) -> list[tuple[Any, ...]]:
    """A row for each time: claimed where it runs, else skipped with why."""
    first = missed.times[0]
    rows = []
    for back, due in enumerate(reversed(missed.times)):
        why = _why_not(schedule.catch_up, back, due, now)
        if due == first and missed.before:
            why = f"missed, and {missed.before} times before it"
        state = Occurrence.State.SKIPPED if why else Occurrence.State.CLAIMED
        ended = moment(now) if why else None
        rows.append((schedule.pk, moment(due), state, why, "", moment(now), ended))
    return rows[::-1]


def _why_not(catch_up: str, back: int, due: datetime, now: datetime) -> str:
    """Why the time that is `back` from the newest does not run; empty where it does."""
    if catch_up == Schedule.CatchUp.ALL:
        return "" if back < MAX_MADE_UP else "too many were missed"
    if back:
        return "missed; the last one counts"
    late = now - due > LATE
    return "missed" if catch_up == Schedule.CatchUp.SKIP and late else ""


def _carry_out(schedule: Schedule, claimed: Iterable[Row], now: datetime) -> None:
    """Say or ask it once for each time that was claimed, in their order."""
    for row, _, state in sorted(claimed, key=lambda one: str(one[1])):
        if state == Occurrence.State.CLAIMED:
            occurrence = Occurrence.objects.filter(pk=row)
            try:
                reached = reach_out(_outreach(schedule), now)
                occurrence.update(message=reached.message, turn=reached.turn)
            except NotAdmitted as error:
                why = f"may not be written to: {error}"
                occurrence.update(state=Occurrence.State.SKIPPED, reason=why, ended_at=now)


def _outreach(schedule: Schedule) -> Outreach:
    return Outreach(
        channel=schedule.channel,
        scope_key=schedule.scope_key,
        user_id=schedule.contact.user_id,
        chat_id=schedule.chat_id,
        target=schedule.target,
        origin=Message.Origin.SCHEDULE,
        text=schedule.text,
        prompt=schedule.prompt,
    )


def _set_aside(schedule_id: str, error: Exception, now: datetime) -> None:
    """The time that could not be done failed; the schedule goes on, or ends where it cannot."""
    schedule = Schedule.objects.filter(pk=schedule_id).first()
    if schedule is None or schedule.next_run is None:
        return
    timing = (schedule.kind, schedule.spec, schedule.timezone, schedule.created_at)
    try:
        upcoming = next_after(*timing, now)
    except BadTiming:
        upcoming = None
    why = f"error: {type(error).__name__}: {error}"[:255]
    row = (schedule_id, moment(schedule.next_run), "failed", why, "", moment(now), moment(now))
    with transaction.atomic():
        run_rows(_CLAIM, [row])
        run(_ADVANCE, (moment(upcoming), schedule_id, moment(schedule.next_run)))
