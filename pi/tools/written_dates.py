"""Dates and spans of time as people write them."""

from __future__ import annotations

import re
from datetime import date, timedelta

from pi.tools import ToolError

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NAMED = {
    "christmas": (25, 12),
    "christmas day": (25, 12),
    "christmas eve": (24, 12),
    "new year": (1, 1),
    "new years": (1, 1),
    "new year's": (1, 1),
    "new year's day": (1, 1),
    "new years day": (1, 1),
    "new year's eve": (31, 12),
    "new years eve": (31, 12),
    "valentine's day": (14, 2),
    "valentines day": (14, 2),
    "halloween": (31, 10),
}
SMALL_NUMBERS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)
COUNT = rf"(?P<count>[0-9]{{1,9}}|an?|{'|'.join(SMALL_NUMBERS)})"
SPAN = re.compile(COUNT + r" (?P<unit>minute|hour|day|week|fortnight|month|year)s?")
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_YEAR = r"(?:,? (?P<year>[0-9]{4}))?"
WRITTEN = (
    re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"),
    re.compile(r"(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\.(?P<year>[0-9]{4})"),
    re.compile(rf"(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}{_YEAR}"),
    re.compile(rf"{_MONTH} (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?{_YEAR}"),
)
SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")


def read_date(text: str, today: date, *, past: bool = False) -> date | None:
    """The date a text names, None if it names none. Raises `ToolError` for one that never is.

    Without a year it is the next such day from `today`, or the last one with `past`.
    """
    words = " ".join(text.strip().lower().removeprefix("the ").replace("’", "'").split())
    relative = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1, "day after tomorrow": 2}
    if words in relative:
        return today + timedelta(days=relative[words])
    if words in NAMED:
        return _without_year(*NAMED[words], today, past)
    weekday = words.removeprefix("next ").removeprefix("this ").removeprefix("last ")
    if weekday in WEEKDAYS:
        return _weekday(WEEKDAYS.index(weekday), today, past or words.startswith("last "))
    if slashed := SLASHED.fullmatch(words):
        return _slashed(*map(int, slashed.groups()))
    return _written(words, today, past)


def read_span(text: str) -> tuple[int, str] | None:
    """How many of which unit: "ten days" is (10, "day"), "a fortnight" (2, "week")."""
    match = SPAN.fullmatch(text.strip().lower())
    if match is None:
        return None
    word, unit = match["count"], match["unit"]
    count = 1 if word in ("a", "an") else _count(word)
    return (count * 2, "week") if unit == "fortnight" else (count, unit)


def _count(word: str) -> int:
    return SMALL_NUMBERS.index(word) if word in SMALL_NUMBERS else int(word)


def _written(words: str, today: date, past: bool) -> date | None:
    for pattern in WRITTEN:
        match = pattern.fullmatch(words)
        if match and (month := _month(match["month"])):
            day, year = int(match["day"]), match["year"]
            return _date(int(year), month, day) if year else _without_year(day, month, today, past)
    return None


def _month(text: str) -> int:
    if text.isdigit():
        return int(text) or 13  # month 0 is refused like month 13
    starts = [name for name in MONTHS if name.startswith(text) or text == "sept"]
    return MONTHS.index("september" if text == "sept" else starts[0]) + 1 if starts else 0


def _date(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise ToolError(f"There is no such day: {year:04}-{month:02}-{day:02}.") from None


def _slashed(first: int, second: int, year: int) -> date:
    if first != second and first <= 12 and second <= 12:
        raise ToolError("Day or month first? Please write the date like 2026-12-24.")
    return _date(year, second, first) if first > 12 else _date(year, first, second)


def _weekday(weekday: int, today: date, past: bool) -> date:
    if past:
        return today - timedelta(days=(today.weekday() - weekday - 1) % 7 + 1)
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _without_year(day: int, month: int, today: date, past: bool) -> date:
    step = -1 if past else 1
    for year in range(today.year, today.year + 9 * step, step):  # 9: leap days can be 8 years apart
        try:
            found = date(year, month, day)
        except ValueError:
            continue
        if found <= today if past else found >= today:
            return found
    raise ToolError(f"There is no {day} {MONTHS[month - 1].capitalize()}.")
