"""Planned sends are made, changed and cancelled; `gateway.ledger.firing` fires them.

    ScheduleError
    ├── BadSchedule   not exactly one of a text and a prompt, or too long
    └── TooMany       the conversation has as many as it may have

Bad times raise `BadTiming`. Every function owns its transaction (or joins the
caller's), leaves a line in the audit, and wakes the worker for what is due soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from gateway.models import Audit, Schedule
from gateway.schedules.alarm import wake_at
from gateway.schedules.when import BadTiming, check, next_after
from sessions_app import clock

MAX_TEXT = 20_000
"""Characters of a text or a prompt."""

TIMING = ("kind", "spec", "timezone")
"""The fields that decide when it is due."""

CHANGEABLE = (*TIMING, "text", "prompt", "catch_up", "enabled")


class ScheduleError(Exception):
    """A schedule that cannot be kept; the text says why, for people."""


class BadSchedule(ScheduleError):
    """What is to be said does not do."""


class TooMany(ScheduleError):
    """The conversation has as many as it may have."""


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What is planned into which conversation. `contact` is the person whose access counts."""

    contact: int
    channel: str
    scope_key: str
    chat_id: str
    kind: str
    spec: str
    timezone: str = ""
    text: str = ""
    prompt: str = ""
    catch_up: str = "once"
    target: Mapping[str, Any] = field(default_factory=dict)


def add_schedule(actor: str, new: NewSchedule) -> Schedule:
    """Keep it, due from now on. Without a time zone it is OPENCLAW_TIMEZONE's.

    Raises `BadTiming`, `BadSchedule` or `TooMany`.
    """
    now = clock.now()
    schedule = Schedule(
        contact_id=new.contact,
        channel=new.channel,
        scope_key=new.scope_key,
        chat_id=new.chat_id,
        target=dict(new.target),
        kind=new.kind,
        spec=new.spec.strip(),
        timezone=new.timezone or settings.OPENCLAW_TIMEZONE,
        text=new.text,
        prompt=new.prompt,
        catch_up=new.catch_up,
        created_by=actor[:150],
        created_at=now,
    )
    arrange(schedule, None, now)
    with transaction.atomic():
        check_room(schedule)
        schedule.save(force_insert=True)
        wake(schedule, now)
        _note(actor, "add_schedule", schedule, now)
    return schedule


def change_schedule(actor: str, schedule_id: str, changes: Mapping[str, Any]) -> Schedule | None:
    """Change fields of `CHANGEABLE`; None where there is none. Raises as `add_schedule` does."""
    now = clock.now()
    with transaction.atomic():
        schedule = Schedule.objects.select_for_update().filter(pk=schedule_id).first()
        if schedule is None:
            return None
        before = Schedule.objects.get(pk=schedule_id)
        for name in CHANGEABLE:
            setattr(schedule, name, changes.get(name, getattr(schedule, name)))
        arrange(schedule, before, now)
        schedule.save(update_fields=[*CHANGEABLE, "next_run"])
        wake(schedule, now)
        _note(actor, "change_schedule", schedule, now)
    return schedule


def enable_schedules(actor: str, schedule_ids: Iterable[str]) -> int:
    """Switch them on again. What would have been due meanwhile is not made up for."""
    return _switch(actor, schedule_ids, enabled=True)


def disable_schedules(actor: str, schedule_ids: Iterable[str]) -> int:
    """Switch them off: nothing is due until they are on again."""
    return _switch(actor, schedule_ids, enabled=False)


def _switch(actor: str, schedule_ids: Iterable[str], enabled: bool) -> int:
    found = Schedule.objects.filter(pk__in=list(schedule_ids), enabled=not enabled)
    ids = found.values_list("pk", flat=True)
    changed = [change_schedule(actor, one, {"enabled": enabled}) for one in list(ids)]
    return sum(one is not None for one in changed)


def cancel_schedule(
    actor: str, schedule_id: str, within: tuple[str, str] | None = None
) -> Schedule | None:
    """End it; what it did stays on record. None where it is over, or not there.

    `within` is the conversation (channel, scope key) that it must belong to.
    """
    now = clock.now()
    with transaction.atomic():
        found = (
            coming(within[0], scope_key=within[1])
            if within
            else Schedule.objects.exclude(next_run=None)
        )
        schedule = found.select_for_update().filter(pk=schedule_id).first()
        if schedule is None:
            return None
        schedule.enabled, schedule.next_run = False, None
        schedule.save(update_fields=["enabled", "next_run"])
        _note(actor, "cancel_schedule", schedule, now)
    return schedule


def coming(channel: str, **where: str) -> QuerySet[Schedule]:
    """What is planned on a channel and not over, in the order in which it was made.

    `where` says in which conversations.
    """
    planned = Schedule.objects.filter(channel=channel, **where)
    return planned.exclude(next_run=None).order_by("created_at", "pk")


def coming_around(channel: str, chat_id: str, scope_key: str) -> QuerySet[Schedule]:
    """What is planned in a conversation; in a group's that is in all of its threads."""
    _, of_member, member = scope_key.partition(":user:")
    if not scope_key.startswith("chat:"):
        return coming(channel, scope_key=scope_key)
    here = coming(channel, chat_id=chat_id, scope_key__startswith="chat:")
    if of_member:
        return here.filter(scope_key__endswith=f":user:{member}")
    return here.exclude(scope_key__contains=":user:")


def arrange(schedule: Schedule, before: Schedule | None, now: datetime) -> None:
    """Check it and set its next time, where its timing is new or it was off.

    `before` is the row as it was; None for a new one. Raises `BadTiming` or `BadSchedule`.
    """
    _check_words(schedule)
    fresh = before is None or any(getattr(before, n) != getattr(schedule, n) for n in TIMING)
    if fresh:
        least = settings.OPENCLAW_SCHEDULES_MIN_SECONDS
        check(schedule.kind, schedule.spec, schedule.timezone, least)
    if fresh or (before is not None and schedule.enabled and not before.enabled):
        timing = (schedule.kind, schedule.spec, schedule.timezone)
        schedule.next_run = next_after(*timing, schedule.created_at, now)
        if fresh and schedule.next_run is None:
            raise BadTiming(f"{schedule.spec} is past")


def wake(schedule: Schedule, now: datetime) -> None:
    """After the commit the worker is woken for it, if it is due soon."""
    if schedule.enabled and schedule.next_run:
        wake_at(schedule.next_run, now)


def check_room(schedule: Schedule) -> None:
    """Whether its conversation may have one more. Raises `TooMany`."""
    most = settings.OPENCLAW_SCHEDULES_PER_SESSION
    if coming_around(schedule.channel, schedule.chat_id, schedule.scope_key).count() >= most:
        raise TooMany(f"there are {most} planned already, which is the most one conversation has")


def _check_words(schedule: Schedule) -> None:
    if bool(schedule.text.strip()) == bool(schedule.prompt.strip()):
        raise BadSchedule("it needs either a text or a prompt")
    if len(schedule.text) > MAX_TEXT or len(schedule.prompt) > MAX_TEXT:
        raise BadSchedule(f"it is longer than {MAX_TEXT} characters")
    if schedule.catch_up not in Schedule.CatchUp.values:
        raise BadSchedule(f"{schedule.catch_up!r} is none of skip, once, all")


def _note(actor: str, action: str, schedule: Schedule, now: datetime) -> None:
    """Write the audit: when, never what is said."""
    timing = {name: getattr(schedule, name) for name in TIMING}
    Audit.objects.create(at=now, actor=actor[:150], action=action, row=schedule.pk, detail=timing)
