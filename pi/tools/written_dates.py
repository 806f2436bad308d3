"""Dates and spans of time as people write them."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
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
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER = (
    rf"(?:{'|'.join(TENS)})[- ](?:{'|'.join(SMALL_NUMBERS[1:10])})|{'|'.join(TENS)}"
    rf"|{'|'.join(reversed(SMALL_NUMBERS))}"
)
NUMBER_WORDS = re.compile(rf"\b(?:{_NUMBER})\b")
UNITS = {
    "minute": r"min(?:ute)?s?\b\.?",
    "hour": r"h(?:(?:ou)?rs?)?\b\.?",
    "day": r"days?\b",
    "week": r"w(?:ee)?ks?\b",
    "fortnight": r"fortnights?\b",
    "month": r"months?\b",
    "year": r"y(?:ea)?rs?\b",
}
_HALF = r" and a half"
SPAN = re.compile(
    rf"(?:(?P<count>[0-9]{{1,9}}(?P<part>\.[0-9])?|(?:(?:an?|one) )?couple of|an?|{_NUMBER}) ?"
    rf"(?P<half>{_HALF.strip()} )?(?P<unit>{'|'.join(UNITS.values())})(?P<more>{_HALF})?"
    r"|(?P<short>half an hour|(?:a )?quarter of an hour|three quarters of an hour))"
)
SHORT = {"half an hour": 30, "three quarters of an hour": 45}  # minutes
SIZES = {"minute": 1, "hour": 60, "day": 1440, "week": 10080}  # minutes
ABBREVIATED = re.compile("mon|tues?|weds?|thu(?:rs?)?|fri|sat|sun")
DAY_BY_NUMBER = re.compile(r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)")
RELATIVE = re.compile(r"\b(?:today|now|tomorrow|yesterday|next|this|last|in|from)\b")
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
    if away := re.fullmatch(r"in (?P<span>.+)|(?P<b>.+) from (?P<day>.+)", words):
        return _away(away["span"] or away["b"], away["day"] or "today", today)
    if number := DAY_BY_NUMBER.fullmatch(words):
        return _of_a_month(int(number["day"]), today, past)
    named = re.fullmatch(rf"({'|'.join(WEEKDAYS)}),? (?:the )?([0-9a-z].*)", words)
    if named:
        return _checked(named[1], read_date(named[2], today, past=past))
    weekday = re.sub("^(?:next|this|coming|last) ", "", words.removeprefix("this coming "))
    if weekday in WEEKDAYS:
        return _weekday(WEEKDAYS.index(weekday), today, past or words.startswith("last "))
    if slashed := SLASHED.fullmatch(words):
        return _slashed(*map(int, slashed.groups()))
    return _written(words, today, past)


def is_open(text: str) -> bool:
    """Whether a date is written without its year, so that it depends on where one looks from."""
    first, later = (_read_or_none(text, date(year, 1, 1)) for year in (2024, 2028))
    return first != later and not RELATIVE.search(text)


def _read_or_none(text: str, today: date) -> date | None:
    try:
        return read_date(text, today)
    except ToolError:
        return None


def read_span(text: str) -> tuple[int, str] | None:
    """How many of which unit: "ten days" is (10, "day"), "a fortnight" (2, "week").

    Several are one, in minutes: "1 hour and 30 minutes" and "1.5 hours" are (90, "minute").
    """
    spans = list(_spans(" ".join(text.lower().split())))
    if not spans or None in spans:
        return None
    found = [span for span in spans if span]
    if len(found) == 1:
        return found[0]
    if any(unit not in SIZES for _, unit in found):
        return None
    return sum(count * SIZES[unit] for count, unit in found), "minute"


def shifted(day: date, count: int, unit: str) -> date:
    """So many days, weeks, months or years later. Raises ValueError or OverflowError."""
    if unit in ("day", "week"):
        return day + timedelta(days=count * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    last = calendar.monthrange(year, month + 1)[1]  # the 31st becomes the last day of a short month
    return date(year, month + 1, min(day.day, last))


def _away(span: str, start: str, today: date) -> date | None:
    """In ten days, three weeks from tomorrow."""
    found, day = read_span(span), read_date(start, today)
    if found is None or day is None or found[1] in ("minute", "hour"):
        return None
    try:
        return shifted(day, *found)
    except (OverflowError, ValueError):
        return None


def _spans(text: str) -> Iterator[tuple[int, str] | None]:
    """Each span in turn; None for what is none."""
    while text:
        match = SPAN.match(text)
        if match is None:
            yield None
            return
        yield _span(match)
        text = text[match.end() :]
        text, before = re.sub(r"^(?:,? and |, ?| )(?=[0-9a-z])", "", text), text
        if text and text == before:
            yield None
            return


def _span(match: re.Match[str]) -> tuple[int, str] | None:
    if match["short"]:
        return SHORT.get(match["short"], 15), "minute"
    word, written = match["count"], match["unit"]
    unit = next(name for name, forms in UNITS.items() if re.fullmatch(forms, written))
    if match["part"] or match["half"] or match["more"]:
        tenths = round(float(word) * 10) if match["part"] else 10 * read_number(word) + 5
        minutes, rest = divmod(tenths * SIZES.get(unit, 0), 10)
        return (minutes, "minute") if minutes and not rest else None
    count = read_number(word)
    return (count * 2, "week") if unit == "fortnight" else (count, unit)


def read_number(word: str) -> int:
    """A whole number in digits or words: "forty-two"; "a" is one, "a couple of" two."""
    if word.isdigit():
        return int(word)
    if word in ("a", "an"):
        return 1
    if word.endswith("couple of"):
        return 2
    tens, _, ones = word.replace("-", " ").partition(" ")
    if tens in TENS:
        return (TENS.index(tens) + 2) * 10 + (SMALL_NUMBERS.index(ones) if ones else 0)
    return SMALL_NUMBERS.index(word)


def _of_a_month(day: int, today: date, past: bool) -> date:
    """The next such day of any month, or the last one."""
    step = timedelta(days=-1 if past else 1)
    for _ in range(62 if 1 <= day <= 31 else 0):  # two months: one of them has a 31st
        if today.day == day:
            return today
        today += step
    raise ToolError(f"No month has a day {day}.")


def _checked(weekday: str, day: date | None) -> date | None:
    if day and WEEKDAYS[day.weekday()] != weekday:
        raise ToolError(
            f"{day.day} {day:%B %Y} is no {weekday.capitalize()} but a {day:%A}. Which day is it?"
        )
    return day


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
