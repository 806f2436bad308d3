"""What people mean by "/remind …": when, and what of. Pure: no rows, no clock of its own.

in 10 minutes drink water          every day 9:00 take a walk
in 1 hour and 30 minutes cook      every monday 8:00 plan the week
18:30 call Ana                     every 2 hours look up
tomorrow 9 send the invoice        daily at 9:00 stand up
in 2 days at 9:00 call Ana         every week on monday 8:00 plan
friday 17:00 go home               list
2030-01-31 09:00 renew             cancel 2

Where more seems to be said of the time than stands here ("every 2 days at 9:00 …",
"every day at 9:00 and 18:00 …"), nothing is planned.
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
_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90,
}  # fmt: skip
_UNIT = r"(?:seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)\b"
_COUNT = rf"(?:\d{{1,6}}|(?:an?|{'|'.join(_NUMBERS)})\b)"
_HALF = r"half\s+an\s+hour\b"
_PIECE = rf"(?:{_HALF}|{_COUNT}\s*{_UNIT})"
_TIME = (
    r"(?:(?:at\s+)?(?:(?P<hour>\d{1,2}):(?P<minute>\d{2})(?:\s*(?P<half>[ap]m)\b)?"
    r"|(?P<bare>\d{1,2})\s*(?P<bare_half>[ap]m)\b)"
    r"|at\s+(?P<plain>\d{1,2})(?![\d:])(?:\s*o'clock)?)"
)
_NAMES = "|".join(DAYS)
_DAY = (
    rf"(?:on\s+)?(?P<day>today|tomorrow|(?:(?P<next>next)\s+|this\s+)?(?P<name>{_NAMES})"
    r"|\d{4}-\d{2}-\d{2})\b(?:\s*,)?"
)
_TEXT = r"(?:\s*[,:])?\s+(?:to\s+|that\s+)?(?P<text>\S.*)"
_EVERY = r"(?:every\s+(?:week\s+(?:on\s+)?)?|weekly\s+(?:on\s+)?)"


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts), re.I | re.S)


_IN = _pattern(rf"in\s+(?P<long>{_PIECE}(?:(?:\s*,)?\s*(?:and\s+)?{_PIECE})*)", _TEXT)
_IN_DAYS = _pattern(rf"in\s+(?P<long>{_COUNT}\s*(?:days?|d|weeks?|w))\s+", _TIME, _TEXT)
_AT = _pattern(rf"(?:{_DAY}\s+)?", _TIME, _TEXT)
_AT_HOUR = _pattern(_DAY, r"\s+(?P<plain>\d{1,2})(?![\d:])(?:\s*o'clock)?", _TEXT)
_AT_DAY = _pattern(_TIME, r"(?:\s*,)?\s+", _DAY, _TEXT)
_ROUND = _pattern(rf"every\s+(?P<long>{_PIECE}|{_UNIT})", _TEXT)
_DAILY = _pattern(
    rf"(?:every\s+(?P<day>day|weekday)s?|(?P<daily>daily)|{_EVERY}(?P<name>{_NAMES})s?)(?:\s*,)?\s+",
    _TIME,
    _TEXT,
)
_LONG = _pattern(rf"({_HALF})|(?:({_COUNT})\s*|\b)({_UNIT})")
_MORE = _pattern(
    r"(?:and|or|except|until|till|starting|every|each)\b",
    r"|(?:(?:at|on|in|from|between|before|after|by|for|next|this|about|around)\s+)+(?:the\s+)?",
    rf"(?:\d|{_COUNT}\s*{_UNIT}|morning|afternoon|evening|night|noon|midnight|week|month|year",
    rf"|(?:{_NAMES}|weekday)s?\b|tomorrow|today)",
    rf"|(?:(?:{_NAMES})s?|today|tomorrow|tonight|noon|midnight|weekdays?|weekends?)\b",
    r"|\d{1,2}\s*[ap]m\b|\d{0,2}:\d",
)
"""Where a text begins like this, more was said of the time than we have understood."""

_CANCEL = _pattern(r"(?:cancel|delete|stop)\s+#?(?P<number>\d{1,4})")
_LIST = _pattern(r"list(?:\s+all)?")
_ME = _pattern(r"\Ame\s+")


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
    """What the words behind "/remind" mean. Raises `BadTiming` with a text for people.

    All that is said of the time is read, or nothing is planned.
    """
    said = _ME.sub("", said.strip())
    if _LIST.fullmatch(said):
        return Listing()
    if match := _CANCEL.fullmatch(said):
        return Cancelling(int(match["number"]))
    for pattern, read in _PHRASES:
        match = pattern.fullmatch(said)
        if match and not _MORE.match(match["text"]):
            try:
                return read(match, timezone, now)
            except OverflowError as error:
                raise BadTiming("that is too far away") from error
    raise BadTiming(USAGE)


def _in(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    zone = zone_of(timezone)
    days, rest = _long(match)
    if not rest:  # the same time on another day
        return _once((now.astimezone(zone) + timedelta(days=days)).replace(tzinfo=None), match)
    if days:
        now = resolve((now.astimezone(zone) + timedelta(days=days)).replace(tzinfo=None), zone)
    due = (now + timedelta(seconds=rest)).astimezone(zone)
    return Wish("at", due.isoformat(timespec="seconds"), match["text"])


def _in_days(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    days, _ = _long(match)
    day = now.astimezone(zone_of(timezone)).date() + timedelta(days=days)
    return _once(datetime.combine(day, _time(match)), match)


def _at(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    clock, local = _time(match), now.astimezone(zone_of(timezone)).replace(tzinfo=None)
    day, name = (match["day"] or "").lower(), (match["name"] or "").lower()
    if day[:1].isdigit():
        return _once(datetime.combine(_date(day), clock), match)
    ahead = 1 if day == "tomorrow" else 0
    if name:
        ahead = (DAYS.index(name) - local.weekday()) % 7
        ahead = ahead or (7 if match["next"] else 0)
    due = datetime.combine(local.date() + timedelta(days=ahead), clock)
    passed = resolve(due, zone_of(timezone)) <= now.astimezone(UTC)
    if passed and day != "today":  # the next one that is to come
        due += timedelta(days=7 if name else 1)
    return _once(due, match)


def _at_hour(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    _require_no(_UNIT, match)
    return _at(match, timezone, now)


def _daily(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    clock, name = _time(match), (match["name"] or "").lower()
    days = str((DAYS.index(name) + 1) % 7) if name else "*"
    if (match["day"] or "").lower() == "weekday":
        days = "1-5"
    return Wish("cron", f"{clock.minute} {clock.hour} * * {days}", match["text"])


def _round(match: re.Match[str], timezone: str, now: datetime) -> Wish:
    days, rest = _long(match)
    # "every day 9 …": at nine, or nine of something?
    _require_no(rf"\d|{_PIECE}" if days else _PIECE, match)
    return Wish("every", str(days * _SECONDS["d"] + rest), match["text"])


_PHRASES = (
    (_DAILY, _daily),
    (_ROUND, _round),
    (_IN_DAYS, _in_days),
    (_IN, _in),
    (_AT_DAY, _at),
    (_AT, _at),
    (_AT_HOUR, _at_hour),
)


def _require_no(more: str, match: re.Match[str]) -> None:
    """That the text does not go on with this. Raises `BadTiming`."""
    if _pattern(more).match(match["text"]):
        raise BadTiming(USAGE)


def _once(local: datetime, match: re.Match[str]) -> Wish:
    return Wish("at", local.isoformat(timespec="seconds"), match["text"])


def _long(match: re.Match[str]) -> tuple[int, int]:
    """How long: whole days, and seconds. Smaller units come behind larger ones."""
    days = seconds = 0
    least = _SECONDS["w"] + 1
    for half, count, unit in _LONG.findall(match["long"]):
        size = _SECONDS[unit[0].lower()] if unit else 1800
        if size >= least:
            raise BadTiming(USAGE)
        least = size
        number = 1 if half or not count else _number(count)
        if size >= _SECONDS["d"]:
            days += number * size // _SECONDS["d"]
        else:
            seconds += number * size
    return days, seconds


def _number(said: str) -> int:
    return int(said) if said.isdecimal() else _NUMBERS.get(said.lower(), 1)


def _date(said: str) -> date:
    try:
        return date.fromisoformat(said)
    except ValueError as error:
        raise BadTiming(f"there is no day {said}") from error


def _time(match: re.Match[str]) -> time:
    said = match.groupdict()
    hour = int(said.get("hour") or said.get("bare") or said["plain"])
    half, minute = said.get("half") or said.get("bare_half"), said.get("minute") or "00"
    if half:
        if not 1 <= hour <= 12:
            raise BadTiming(f"there is no hour {hour} {half}")
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    try:
        return time(hour, int(minute))
    except ValueError as error:
        raise BadTiming(f"there is no time {hour}:{minute}") from error
