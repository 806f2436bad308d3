"""What people mean by "/remind …": when, and what of. Pure: no rows, no clock of its own.

in 10 minutes drink water          every day 9:00 take a walk
18:30 call Ana                     every monday 8:00 plan the week
tomorrow 9:00 send the invoice     every 2 hours look up
friday 17:00 go home               list
2030-01-31 09:00 renew             cancel 2
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from gateway.schedules.when import BadTiming, resolve, zone_of

USAGE = """Say when, and what of:
/remind in 10 minutes drink water
/remind 18:30 call Ana
/remind tomorrow 9:00 send the invoice
/remind 2030-01-31 09:00 renew the passport
/remind every day 9:00 take a walk
/remind every monday 8:00 plan the week
/remind every 2 hours look up from the screen
/remind list
/remind cancel 2"""

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_UNIT = r"(?P<unit>seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)"
_COUNT = r"(?:(?P<count>\d{1,6}|an?)\s*)"
_TIME = (
    r"(?:(?:at\s+)?(?:(?P<hour>\d{1,2}):(?P<minute>\d{2})(?:\s*(?P<half>[ap]m)\b)?"
    r"|(?P<bare>\d{1,2})\s*(?P<bare_half>[ap]m)\b)"
    r"|at\s+(?P<plain>\d{1,2})(?![\d:]))"
)
_DAY = rf"(?:on\s+)?(?P<day>today|tomorrow|{'|'.join(DAYS)}|\d{{4}}-\d{{2}}-\d{{2}})"
_TEXT = r"(?:\s*[,:])?\s+(?:to\s+|that\s+)?(?P<text>\S.*)"

_IN = re.compile(rf"in\s+{_COUNT}{_UNIT}{_TEXT}", re.I | re.S)
_AT = re.compile(rf"(?:{_DAY}(?:\s*,)?\s+)?{_TIME}{_TEXT}", re.I | re.S)
_ROUND = re.compile(rf"every\s+{_COUNT}?{_UNIT}{_TEXT}", re.I | re.S)
_DAILY = re.compile(
    rf"every\s+(?P<day>day|weekday|{'|'.join(DAYS)})s?\s+{_TIME}{_TEXT}", re.I | re.S
)
_CANCEL = re.compile(r"(?:cancel|delete|stop)\s+#?(?P<number>\d{1,4})", re.I)


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to be reminded of: a schedule's kind, spec and text."""

    kind: str
    spec: str
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What is planned is to be listed."""


@dataclass(frozen=True, slots=True)
class Cancelling:
    """The entry of this number is to be cancelled."""

    number: int


def understand(said: str, timezone: str, now: datetime) -> Wish | Listing | Cancelling:
    """What the words behind "/remind" mean. Raises `BadTiming` with a text for people."""
    said = said.strip()
    if said.lower() == "list":
        return Listing()
    if match := _CANCEL.fullmatch(said):
        return Cancelling(int(match["number"]))
    for pattern, read in ((_DAILY, _daily), (_ROUND, _round), (_IN, _in), (_AT, _at)):
        if match := pattern.fullmatch(said):
            try:
                return read(match, timezone, now)
            except OverflowError as error:
                raise BadTiming("that is too far away") from error
    raise BadTiming(USAGE)


def _in(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    unit, count = match["unit"][0].lower(), _count(match)
    zone = zone_of(timezone)
    if unit in "dw":  # the same time on another day
        days = timedelta(seconds=count * _SECONDS[unit])
        return _once((now.astimezone(zone) + days).replace(tzinfo=None), match["text"])
    due = (now + timedelta(seconds=count * _SECONDS[unit])).astimezone(zone)
    return Wish("at", due.isoformat(timespec="seconds"), match["text"])


def _at(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    clock, local = _time(match), now.astimezone(zone_of(timezone)).replace(tzinfo=None)
    day = (match["day"] or "").lower()
    if day[:1].isdigit():
        return _once(datetime.combine(_date(day), clock), match["text"])
    ahead = 1 if day == "tomorrow" else 0
    if day in DAYS:
        ahead = (DAYS.index(day) - local.weekday()) % 7
    due = datetime.combine(local.date() + timedelta(days=ahead), clock)
    passed = resolve(due, zone_of(timezone)) <= now.astimezone(UTC)
    if passed and day != "today":  # the next one that is to come
        due += timedelta(days=7 if day in DAYS else 1)
    return _once(due, match["text"])


def _daily(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    clock, day = _time(match), match["day"].lower()
    names = {"day": "*", "weekday": "1-5"}
    days = names.get(day) or str((DAYS.index(day) + 1) % 7)
    return Wish("cron", f"{clock.minute} {clock.hour} * * {days}", match["text"])


def _round(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    seconds = _count(match) * _SECONDS[match["unit"][0].lower()]
    return Wish("every", str(seconds), match["text"])


def _once(local: datetime, text: str) -> Wish:
    return Wish("at", local.isoformat(timespec="seconds"), text)


def _count(match: re.Match[str]) -> int:
    said = match["count"] or "1"
    return int(said) if said.isdecimal() else 1


def _date(said: str) -> date:
    try:
        return date.fromisoformat(said)
    except ValueError as error:
        raise BadTiming(f"there is no day {said}") from error


def _time(match: re.Match[str]) -> time:
    hour = int(match["hour"] or match["bare"] or match["plain"])
    half = match["half"] or match["bare_half"]
    if half:
        if not 1 <= hour <= 12:
            raise BadTiming(f"there is no hour {hour} {half}")
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    try:
        return time(hour, int(match["minute"] or 0))
    except ValueError as error:
        raise BadTiming(f"there is no time {hour}:{match['minute'] or '00'}") from error
