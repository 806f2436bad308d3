"""`/remind`: people plan something for themselves, in the chat they say it in."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from gateway.ledger.records import Told
from gateway.ledger.schedules import (
    NewSchedule,
    ScheduleError,
    add_schedule,
    cancel_schedule,
    coming_around,
)
from gateway.models import Schedule
from gateway.schedules.remind import USAGE, Cancelling, Listing, Wish, understand
from gateway.schedules.when import BadTiming, zone_of
from gateway.schedules.words import local, rhythm
from sessions_app.models import Session
from sessions_app.sql import loads_object, run

NOTHING = "Nothing is planned here."
SHOWN = 100
"""Characters of a text in the list."""

_PERSON = """
SELECT c.id, c.preferences FROM sessions_app_contact c WHERE c.channel = %s AND c.user_id = %s
"""


def remind(told: Told, now: datetime) -> str:
    """Do what was said behind "/remind", and answer in words."""
    for contact, preferences in run(_PERSON, (told.channel, told.user_id)):
        timezone = timezone_of(loads_object(preferences))
        words = "".join(told.text.split(maxsplit=1)[1:])
        try:
            match understand(words, timezone, now):
                case Wish() as wish:
                    return _planned(_add(wish, contact, timezone, told))
                case Listing():
                    return _list(told)
                case Cancelling(number):
                    return _cancel(told, number)
        except (BadTiming, ScheduleError) as error:
            why = str(error)
            return why if why == USAGE else f"That cannot be done: {why}."
    return NOTHING


def timezone_of(preferences: dict[str, object]) -> str:
    """A person's time zone: what they said, if there is such a one, or the setting."""
    said = str(preferences.get("timezone") or "")
    try:
        return zone_of(said).key
    except BadTiming:
        return str(settings.OPENCLAW_TIMEZONE)


def _add(wish: Wish, contact: int, timezone: str, told: Told) -> Schedule:
    return add_schedule(
        f"{told.channel}:{told.user_id}",
        NewSchedule(
            contact=contact,
            channel=told.channel,
            scope_key=_scope_key(told),
            chat_id=told.chat_id,
            target=told.target,
            kind=wish.kind,
            spec=wish.spec,
            timezone=timezone,
            text=wish.text,
        ),
    )


def _planned(schedule: Schedule) -> str:
    assert schedule.next_run
    due = local(schedule.next_run, schedule.timezone)
    if schedule.kind == Schedule.Kind.AT:
        return f"I will remind you on {due}: {schedule.text}"
    often = rhythm(schedule.kind, schedule.spec)
    return f"I will remind you {often}, first on {due}: {schedule.text}"


def _list(told: Told) -> str:
    lines = []
    for number, one in enumerate(_coming(told), 1):
        assert one.next_run
        text = one.text or one.prompt
        short = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
        often = "" if one.kind == Schedule.Kind.AT else f"{rhythm(one.kind, one.spec)}, next "
        off = "" if one.enabled else " (switched off)"
        lines.append(f"{number}. {often}{local(one.next_run, one.timezone)}: {short}{off}")
    return "\n".join(lines) or NOTHING


def _cancel(told: Told, number: int) -> str:
    planned = list(_coming(told))
    if not 0 < number <= len(planned):
        return f"There is no number {number}. /remind list shows what is planned."
    gone = planned[number - 1]
    cancel_schedule(f"{told.channel}:{told.user_id}", gone.pk)
    return f"Cancelled: {(gone.text or gone.prompt)[:SHOWN]}"


def _coming(told: Told) -> QuerySet[Schedule]:
    return coming_around(told.channel, told.chat_id, _scope_key(told))


def _scope_key(told: Told) -> str:
    return Session.objects.values_list("scope_key", flat=True).get(pk=told.session)
