"""When something is to happen, as people write it: "tomorrow at 9", "every weekday at 8:30"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from pi.tools import ToolError
from pi.tools.written_dates import COUNT, MONTHS, WEEKDAYS, read_date, read_span

DEFAULT_TIME = time(9)
PARTS = {
    "morning": time(9),
    "noon": time(12),
    "midday": time(12),
    "lunchtime": time(12),
    "afternoon": time(15),
    "evening": time(19),
    "night": time(21),
    "midnight": time(0),
}
SECONDS = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800}
PASSED = "That time has passed already."

_PART = "|".join(PARTS)
_TIME = re.compile(
    r"(?P<hour>[0-9]{1,2})(?:[:.h](?P<minute>[0-5][0-9]))? ?(?P<half>am|pm|a\.m\.?|p\.m\.?)?"
    r"(?: ?o'?clock| ?h| sharp)?(?: (?:in the|at) (?P<part>morning|afternoon|evening|night))?"
)
_EVERY_SPAN = re.compile(
    rf"(?:every|each) (?P<span>(?:{COUNT} )?(?P<alone>minute|hour|day|week)s?)|hourly"
)
_RELATIVE = re.compile(
    rf"(?:in|after) (?P<a>{COUNT} [a-z]+)|(?P<b>half an hour|an hour and a half)"
)
_FIELD, _NAMES = "[0-9*,/-]+", "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_CRON = re.compile(
    rf"{_FIELD} {_FIELD} {_FIELD} (?:{_FIELD}|{_NAMES})"
    r" (?:[0-9*,/#l-]|mon|tue|wed|thu|fri|sat|sun)+"
)
_DAYS = re.compile(r"(?:every |each |on |weekly on |every week on |and |, ?)+")
_MONTHLY = re.compile(
    r"(?:(?:on )?the )?(?P<a>[0-9]{1,2})(?:st|nd|rd|th)? (?:of|in) (?:every|each|the) month"
    r"|(?:every month|each month|monthly)(?: on)? (?:the )?(?P<b>[0-9]{1,2})(?:st|nd|rd|th)?"
    r"|every (?P<c>[0-9]{1,2})(?:st|nd|rd|th)?(?: of the month)?"
)
_YEARLY = re.compile(
    r"(?:every year on|each year on|yearly on|every) (?:the )?"
    r"(?:(?P<d1>[0-9]{1,2})(?:st|nd|rd|th)? (?:of )?(?P<m1>[a-z]{3,9})"
    r"|(?P<m2>[a-z]{3,9}) (?P<d2>[0-9]{1,2})(?:st|nd|rd|th)?)"
)


@dataclass(frozen=True, slots=True)
class Timing:
    """When, in the gateway's terms: `at` a local time, `every` so many seconds, or `cron`."""

    kind: str
    spec: str


@dataclass(frozen=True, slots=True)
class _Clock:
    """A time of day; `open` where it may mean the morning's or the evening's hour."""

    at: time
    open: bool = False


def read_timing(text: str, now: datetime) -> Timing | None:
    """The time or rhythm a text names, None if it names none. `now` is the person's local time.

    Raises `ToolError` for a time that has passed.
    """
    words = " ".join(text.lower().replace("’", "'").replace(",", " ").split()).strip(" .!")
    if _CRON.fullmatch(words):
        return Timing("cron", words)
    for read in (_iso, _every, _relative, _by_parts):
        if found := read(words, now):
            return found
    return None


def _iso(words: str, now: datetime) -> Timing | None:
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}", words):
        return None
    try:
        moment = datetime.fromisoformat(words.upper())
    except ValueError:
        return None
    return _once(moment.astimezone(now.tzinfo) if moment.tzinfo else moment, now)


def _every(words: str, now: datetime) -> Timing | None:
    match = _EVERY_SPAN.fullmatch(words.replace("every other ", "every two "))
    if match is None or (match["alone"] == "day" and not match["count"]):
        return None  # "every day" has a time of day
    span = read_span(match["span"] or "1 hour") if not match["alone"] or match["count"] else None
    count, unit = span or (1, match["alone"])
    return Timing("every", str(count * SECONDS[unit])) if count else None


def _relative(words: str, now: datetime) -> Timing | None:
    words = words.removesuffix(" from now")
    match = _RELATIVE.fullmatch(words if words.startswith(("in ", "after ")) else f"in {words}")
    halves = {"half an hour": 30, "an hour and a half": 90}
    bare = words.removeprefix("in ")
    if bare in halves:
        return _once(now + timedelta(minutes=halves[bare]), now)
    if match is None or not words.startswith(("in ", "after ")):
        return None
    span = read_span(match["a"])
    if span is None or span[1] not in SECONDS or span[0] > 1_000_000:
        return None
    return _once(now + timedelta(seconds=span[0] * SECONDS[span[1]]), now)


def _by_parts(words: str, now: datetime) -> Timing | None:
    """A day or a rhythm, a time of day, or both in either order."""
    for one, other in _splits(words):
        clock = _read_clock(other, alone=not one)
        if other and clock is None:
            continue
        if fields := _rhythm(one):
            at = clock.at if clock else _default(one)
            return Timing("cron", f"{at.minute} {at.hour} {fields}")
        if found := _on_day(one, clock, now):
            return found
    return None


def _splits(words: str) -> Iterator[tuple[str, str]]:
    parts = words.split()
    for cut in range(len(parts), -1, -1):
        left, right = " ".join(parts[:cut]), " ".join(parts[cut:])
        yield left, right
        yield right, left


def _read_clock(text: str, *, alone: bool) -> _Clock | None:
    """A time of day. A bare number is one only beside a day, or after "at"."""
    said_at = re.match(r"(?:at|@|around|by) ?", text)
    bare = text[said_at.end() :] if said_at else text
    bare = re.sub(r"^(?:in the|this) ", "", bare)
    if bare in PARTS:
        return _Clock(PARTS[bare])
    match = _TIME.fullmatch(bare)
    if match is None:
        return None
    plain = not (match["half"] or match["part"])
    if alone and not said_at and plain and not match["minute"]:
        return None
    return _clock_of(match, plain)


def _clock_of(match: re.Match[str], plain: bool) -> _Clock | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = (match["half"] or "").replace(".", "")
    late = half == "pm" or match["part"] in ("afternoon", "evening", "night")
    if (not plain and hour > 12) or hour > 23:
        return None
    if not plain:
        hour = hour % 12 + (12 if late else 0)
    return _Clock(time(hour, minute), open=plain and 1 <= hour <= 11 and len(match["hour"]) == 1)


def _default(text: str) -> time:
    found = re.search(rf"\b({_PART})s?$", text)
    return PARTS[found[1]] if found else DEFAULT_TIME


def _rhythm(text: str) -> str:
    """The last three fields of a cron expression; empty where the text is no rhythm."""
    if re.fullmatch(
        rf"(?:every|each) (?:single )?(?:day|{_PART})|daily|everyday|nightly|every ?day", text
    ):
        return "* * *"
    if re.fullmatch(r"(?:(?:every|each|on) )?(?:weekdays?|work(?:ing )?days?)", text):
        return "* * 1-5"
    if re.fullmatch(r"(?:(?:every|each|on) )(?:the )?weekends?", text):
        return "* * 6,0"
    return _weekly(text) or _monthly(text) or _yearly(text)


def _weekly(text: str) -> str:
    """Every Monday, on Mondays and Thursdays, every Friday evening."""
    bare = re.sub(rf" (?:{_PART})s?$", "", text)
    names = [name for name in _DAYS.sub(" ", f" {bare}").split() if name]
    days = [WEEKDAYS.index(name.removesuffix("s")) for name in names if _weekday(name)]
    plural = all(name.endswith("s") for name in names)
    again = re.match(r"(?:every|each|weekly)\b", bare) or plural
    if not days or len(days) != len(names) or not again:
        return ""
    return "* * " + ",".join(str((day + 1) % 7) for day in sorted(set(days)))


def _weekday(name: str) -> bool:
    return name.removesuffix("s") in WEEKDAYS


def _monthly(text: str) -> str:
    match = _MONTHLY.fullmatch(text)
    day = int(match["a"] or match["b"] or match["c"]) if match else 0
    return f"{day} * *" if 1 <= day <= 31 else ""


def _yearly(text: str) -> str:
    match = _YEARLY.fullmatch(text)
    if match is None:
        return ""
    day, month = int(match["d1"] or match["d2"]), match["m1"] or match["m2"]
    starts = [number for number, name in enumerate(MONTHS, 1) if name.startswith(month)]
    return f"{day} {starts[0]} *" if len(starts) == 1 and 1 <= day <= 31 else ""


def _on_day(text: str, clock: _Clock | None, now: datetime) -> Timing | None:
    if not text:
        return _next(clock, now) if clock else None
    if (bare := text.removeprefix("at ")) in PARTS and not clock:
        return _next(_Clock(PARTS[bare]), now)
    text = re.sub(r"^(?:on|this|at) ", "", text).removeprefix("the ").removesuffix(" at")
    if text in ("tonight", "today evening"):
        return _when(now.date(), clock or _Clock(PARTS["night"]), now, late=True)
    part = re.search(rf"(?:^| )({_PART})$", text)
    day = _day(text[: part.start()] if part else text, now.date())
    if day is None:
        return None
    if part:
        late = part[1] in ("afternoon", "evening", "night")
        return _when(day, clock or _Clock(PARTS[part[1]]), now, late=late)
    if clock is None and day == now.date():
        return None  # "today" alone says no time
    return _when(day, clock or _Clock(DEFAULT_TIME), now)


def _day(text: str, today: date) -> date | None:
    if not text:
        return today
    try:
        return read_date(text.strip(), today)
    except ToolError:
        return None


def _when(day: date, clock: _Clock, now: datetime, *, late: bool = False) -> Timing:
    moment = datetime.combine(day, clock.at)
    passed = moment <= now.replace(tzinfo=None)
    if clock.open and (late or (passed and day == now.date())):
        moment += timedelta(hours=12)
    return _once(moment, now)


def _next(clock: _Clock, now: datetime) -> Timing:
    """The next time it is so late: today or tomorrow."""
    local = now.replace(tzinfo=None)
    moment = datetime.combine(local.date(), clock.at)
    for hours in (0, 12, 24) if clock.open else (0, 24):
        if moment + timedelta(hours=hours) > local:
            return _once(moment + timedelta(hours=hours), now)
    return _once(moment + timedelta(hours=24), now)


def _once(moment: datetime, now: datetime) -> Timing:
    local = moment.replace(tzinfo=None)
    if local <= now.replace(tzinfo=None):
        raise ToolError(PASSED)
    return Timing("at", local.isoformat(timespec="seconds" if local.second else "minutes"))
