"""When something is to happen, as people write it: "tomorrow at 9", "every weekday at 8:30"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from pi.tools import ToolError
from pi.tools.written_clocks import LATE, PART, PARTS, Clock, read_clock
from pi.tools.written_dates import (
    ABBREVIATED,
    MONTHS,
    SIZES,
    WEEKDAYS,
    read_date,
    read_span,
    shifted,
)

DEFAULT_TIME = time(9)
PASSED = "That time has passed already."
WHICH_NIGHT = (
    "At the start of that day or at its end? After midnight it is the next day already. "
    "Please write it like “Saturday at 0:00” or “every Saturday at 1:00”."
)

_SPANS_ALONE = ("half an hour", "an hour and a half", "a quarter of an hour")
_TOMORROW = re.compile(r"\b(?:tom+or+ow|tomm?or?row|tmr+w?|tmw|2moro?w?|tomoro+w?)\b")
_SHORT_DAY = re.compile(rf"\b(on|next|this|every|each) ({ABBREVIATED.pattern})\b\.?")
_FIELD, _NAMES = "[0-9*,/-]+", "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_CRON = re.compile(
    rf"{_FIELD} {_FIELD} {_FIELD} (?:{_FIELD}|{_NAMES})"
    r" (?:[0-9*,/#l-]|mon|tue|wed|thu|fri|sat|sun)+"
)
_MIDNIGHT = re.compile(r"\bmidnight\b|\b(?:12|twelve)(?::00)? (?:o'?clock )?(?:at|in the) night\b")
_DAYS = re.compile(r"(?:every |each |on |weekly on |every week on |and |, ?)+")
_DAY = rf"(?:{'|'.join(WEEKDAYS)}|{ABBREVIATED.pattern})"
_FROM_TO = re.compile(
    rf"(?:every day |every |each |daily |weekdays |on |from )*(?P<first>{_DAY})s?"
    rf" ?(?:to|through|thru|till|until|-|–) ?(?P<last>{_DAY})s?"
)
_OF_MONTH = r"(?:of|in) (?:every|each|the) month"
_BY_MONTH = r"(?:every month|each month|monthly)(?: on)?(?: the)?"
_MONTHLY = re.compile(
    rf"(?:(?:on )?the )?(?P<a>[0-9]{{1,2}})(?:st|nd|rd|th)? {_OF_MONTH}"
    rf"|{_BY_MONTH} (?P<b>[0-9]{{1,2}})(?:st|nd|rd|th)?"
    r"|(?:on )?every (?P<c>[0-9]{1,2})(?:(?:st|nd|rd|th)(?: of the month)?| of the month)"
    rf"|(?:on )?(?:the |every )?(?P<e>first|last)(?: day)? {_OF_MONTH}"
    rf"|{_BY_MONTH} (?P<f>first|last) day"
)
_NTH = ("first", "second", "third", "fourth")
_NTH_DAY = rf"(?P<nth>{'|'.join(_NTH)}|1st|2nd|3rd|4th|last) (?P<day>{'|'.join(WEEKDAYS)})"
_NTH_WEEKDAY = re.compile(
    rf"(?:on )?(?:(?P<every>every|each) |the )?{_NTH_DAY}(?P<month> {_OF_MONTH}| every month)?"
)
_NTH_BY_MONTH = re.compile(rf"(?P<month>{_BY_MONTH}) {_NTH_DAY}")
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


class NoSuchDay(ToolError):
    """A day was named that never is, or that may be two."""


def read_timing(text: str, now: datetime) -> Timing | None:
    """The time or rhythm a text names, None if it names none. `now` is the person's local time.

    Raises `ToolError` for a time that has passed.
    """
    words = " ".join(text.lower().replace("’", "'").split()).strip(" ,.!")
    if _CRON.fullmatch(words):
        return Timing("cron", words)
    words = " ".join(words.replace(",", " ").split())
    words = _SHORT_DAY.sub(lambda found: f"{found[1]} {_full(found[2])}", words)
    words = _TOMORROW.sub("tomorrow", words)
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
    match = re.fullmatch(r"(?:every|each) (?P<other>other )?(?P<span>.+)|hourly", words)
    if match is None or words in ("every day", "each day"):
        return None  # "every day" has a time of day
    span = re.sub(r"^(half|quarter) hour$", r"\1 of an hour", match["span"] or "hour")
    span = span.replace("half of", "half")
    found = read_span(span) or read_span(f"1 {span}")
    if found is None or found[1] not in SIZES or (match["other"] and found[0] != 1):
        return None
    seconds = found[0] * (2 if match["other"] else 1) * SIZES[found[1]] * 60
    return Timing("every", str(seconds)) if seconds else None


def _relative(words: str, now: datetime) -> Timing | None:
    match = re.fullmatch(r"(?:in|after) (?P<a>.+?)(?: from now)?|(?P<b>.+) from now", words)
    span = read_span(match["a"] or match["b"] if match else words)
    if span is None or span[0] > 1_000_000 or not (match or words in _SPANS_ALONE):
        return None
    if span[1] in SIZES:
        return _once(now + timedelta(minutes=span[0] * SIZES[span[1]]), now)
    day = read_date(f"in {span[0]} {span[1]}s", now.date())
    return _once(datetime.combine(day, now.time()), now) if day else None


def _by_parts(words: str, now: datetime) -> Timing | None:
    """A day or a rhythm, a time of day, or both in either order."""
    wrong: ToolError | None = None
    for one, other in _splits(words):
        clock = read_clock(other, alone=not one)
        if other and clock is None:
            continue
        if fields := _rhythm(one):
            at, next_day = _hour_of(one, clock) if clock else (_default(one), False)
            if fields != "* * *" and (next_day or _MIDNIGHT.search(words)):
                raise NoSuchDay(WHICH_NIGHT)
            return Timing("cron", f"{at.minute} {at.hour} {fields}")
        try:
            found = _on_day(one, clock, now)
        except NoSuchDay as problem:
            wrong = problem
            continue
        if found and _MIDNIGHT.search(words) and not _says_which_night(one):
            raise NoSuchDay(WHICH_NIGHT)
        if found:
            return found
    if wrong:
        raise wrong
    return None


def _splits(words: str) -> Iterator[tuple[str, str]]:
    parts = words.split()
    for cut in range(len(parts), -1, -1):
        left, right = " ".join(parts[:cut]), " ".join(parts[cut:])
        yield left, right
        yield right, left


def _default(text: str) -> time:
    found = re.search(rf"\b({PART})(?:s|ly)?$", text)
    return PARTS[found[1]] if found else DEFAULT_TIME


def _says_which_night(text: str) -> bool:
    """Midnight of a night is clear, and the next one; a day has one at either end."""
    day = re.sub(r" ?(?:at )?midnight$", "", text)
    return not day or bool(re.search(r"\b(?:tonight|night)$", day))


def _hour_of(text: str, clock: Clock) -> tuple[time, bool]:
    """Every evening at 8 is 20:00, every night at 1 is 01:00, and whether of the day after."""
    part = re.search(rf"\b({'|'.join(LATE)})s?$", text)
    hours, after_midnight = _later(clock, part[1] if part else "")
    hour = clock.at.hour + hours
    return clock.at.replace(hour=hour % 24), after_midnight or hour >= 24


def _later(clock: Clock, part: str) -> tuple[int, bool]:
    """How many hours a part of the day moves a plain hour, and whether it is after the night."""
    if part == "night" and clock.plain and clock.at.hour == 12:
        return 12, False
    if part == "night" and clock.at.hour < 5:
        return 0, True
    return 12 if part in LATE and clock.plain and 1 <= clock.at.hour <= 11 else 0, False


def _rhythm(text: str) -> str:
    """The last three fields of a cron expression; empty where the text is no rhythm."""
    if re.fullmatch(
        rf"(?:every|each) (?:single )?(?:day|{PART})|daily|everyday|nightly|every ?day", text
    ):
        return "* * *"
    bare = re.sub(rf" (?:{PART})s?$", "", text)
    if re.fullmatch(r"(?:(?:every|each|on) )?(?:weekdays?|(?:work|working |business )days?)", bare):
        return "* * 1-5"
    if re.fullmatch(r"(?:every|each) weekend|(?:on )?(?:the )?weekends", text):
        return "* * 6,0"
    return _weekly(text) or _monthly(text) or _nth_weekday(text) or _yearly(text)


def _weekly(text: str) -> str:
    """Every Monday, on Mondays and Thursdays, Monday to Friday, every Friday evening."""
    bare = re.sub(rf" (?:{PART})s?$", "", text)
    if span := _FROM_TO.fullmatch(bare):
        return _days_from_to(span["first"], span["last"])
    names = [name for name in _DAYS.sub(" ", f" {bare}").split() if name]
    days = [WEEKDAYS.index(_full(name)) for name in names if _full(name) in WEEKDAYS]
    plural = all(name.endswith("s") for name in names)
    again = re.match(r"(?:every|each|weekly)\b", bare) or plural
    if not days or len(days) != len(names) or not again:
        return ""
    return "* * " + ",".join(str((day + 1) % 7) for day in sorted(set(days)))


def _days_from_to(first: str, last: str) -> str:
    start, end = WEEKDAYS.index(_full(first)), WEEKDAYS.index(_full(last))
    if (start, end) == (0, 4):
        return "* * 1-5"
    days = range(start, end + 1 if end >= start else end + 8)
    return "* * " + ",".join(str((day + 1) % 7) for day in days)


def _full(name: str) -> str:
    """A weekday's whole name in the singular; other words as they are."""
    if ABBREVIATED.fullmatch(name):
        return next(day for day in WEEKDAYS if day.startswith(name[:3]))
    return name.removesuffix("s")


def _monthly(text: str) -> str:
    match = _MONTHLY.fullmatch(text)
    if match is None:
        return ""
    if word := match["e"] or match["f"]:
        return "L * *" if word == "last" else "1 * *"
    day = int(match["a"] or match["b"] or match["c"])
    return f"{day} * *" if 1 <= day <= 31 else ""


def _nth_weekday(text: str) -> str:
    """The first Monday of the month. Every second Friday may also be every other one."""
    match = _NTH_WEEKDAY.fullmatch(text) or _NTH_BY_MONTH.fullmatch(text)
    if match is None:
        return ""
    nth, day = match["nth"], (WEEKDAYS.index(match["day"]) + 1) % 7
    if not (match["month"] or (nth in ("first", "1st", "last") and match["every"])):
        return ""
    if nth == "last":
        return f"* * {day}L"
    return f"* * {day}#{int(nth[0]) if nth[0].isdigit() else _NTH.index(nth) + 1}"


def _yearly(text: str) -> str:
    match = _YEARLY.fullmatch(text)
    if match is None:
        return ""
    day, month = int(match["d1"] or match["d2"]), match["m1"] or match["m2"]
    starts = [number for number, name in enumerate(MONTHS, 1) if name.startswith(month)]
    return f"{day} {starts[0]} *" if len(starts) == 1 and 1 <= day <= 31 else ""


def _on_day(text: str, clock: Clock | None, now: datetime) -> Timing | None:
    if not text:
        return _next(clock, now) if clock else None
    if (bare := text.removeprefix("at ")) in PARTS and not clock:
        return _next(Clock(PARTS[bare]), now)
    text = re.sub(r"^(?:on|this|at) (?!week)", "", text).removeprefix("the ")
    if text in ("tonight", "today evening"):
        return _when(now.date(), clock or Clock(PARTS["night"]), now, "night")
    part = re.search(rf"(?:^| )({PART})$", text)
    day = _day(text[: part.start()] if part else text, now.date())
    if day is None:
        return None
    if part and clock and part[1] not in ("morning", *LATE):
        return None  # noon is a time of day itself
    if part:
        return _when(day, clock or Clock(PARTS[part[1]]), now, part[1])
    if clock is None and day == now.date():
        return None  # "today" alone says no time
    return _when(day, clock or Clock(DEFAULT_TIME), now)


def _day(text: str, today: date) -> date | None:
    if not text:
        return today
    if text in ("next week", "next month", "next year"):  # on the day they begin
        if text == "next week":
            return today + timedelta(days=7 - today.weekday())
        first = shifted(today, 1, text.removeprefix("next "))
        return first.replace(day=1, month=1 if text == "next year" else first.month)
    if re.fullmatch("(?:(?:on|at) )?(?:the|this) weekend", text):
        return today + timedelta(days=max(5 - today.weekday(), 0))
    try:
        return read_date(text.strip(), today)
    except ToolError as problem:
        raise NoSuchDay(str(problem)) from None


def _when(day: date, clock: Clock, now: datetime, part: str = "") -> Timing:
    moment = datetime.combine(day, clock.at)
    passed = moment <= now.replace(tzinfo=None)
    hours, after_midnight = _later(clock, part)
    if not (hours or after_midnight) and clock.open and passed and day == now.date():
        hours = 12
    moment += timedelta(hours=hours, days=int(after_midnight))
    return _once(moment, now)


def _next(clock: Clock, now: datetime) -> Timing:
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
