"""The clock and the calendar, in the time zone of the clock they are given."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pi.tools import ToolError
from pi.tools.written_dates import is_open, read_date, shifted
from pi.tools.zones import find_zone

Clock = Callable[[], datetime]
"""The time now, with its zone."""

UNKNOWN_DATE = "I do not know which date “{}” is. Please write it like 24 December or 2026-12-24."
OUT_OF_RANGE = "My calendar only has the years 1 to 9999."


def local_now() -> datetime:
    """The time now in the machine's time zone."""
    return datetime.now().astimezone()


def clock_in(zone: str) -> Clock:
    """The clock of a time zone by its name; of the machine's where it is empty."""
    return (lambda: datetime.now(ZoneInfo(zone))) if zone else local_now


def clock_of(person: Mapping[str, Any], clock: Clock) -> tuple[Clock, str]:
    """The clock where the person is, and whose zone it shows; else the machine's."""
    preferences = person.get("preferences")
    name = preferences.get("timezone") if isinstance(preferences, Mapping) else None
    try:
        zone = ZoneInfo(str(name)) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    if zone is None:
        return clock, "my machine's time zone"
    return lambda: clock().astimezone(zone), "your time zone"


def long_date(day: date) -> str:
    """A date for people: Thursday, 24 December 2026."""
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


class Calendar:
    """Answers about times and dates, as sentences. Every method raises `ToolError`."""

    def __init__(self, clock: Clock = local_now, zone: str = "my machine's time zone") -> None:
        self._clock = clock
        self._zone = zone

    @property
    def today(self) -> date:
        """The day it is."""
        return self._clock().date()

    def current_time(self) -> str:
        """The time and date now, where the person is as far as that is known."""
        now = self._clock()
        return f"It is {now:%H:%M} on {long_date(now)} ({now.tzname()}, {self._zone})."

    def time_in(self, place: str) -> str:
        """The time and date now in a city, a country with one time zone, or a zone by name."""
        there = self._clock().astimezone(find_zone(place))
        return f"In {_place_name(place)} it is {there:%H:%M} on {long_date(there)}."

    def time_after(self, count: int, unit: str) -> str:
        """The time in so many of `unit`: minute or hour; negative counts look back."""
        try:
            then = self._clock() + timedelta(**{f"{unit}s": count})
        except OverflowError:
            raise ToolError(OUT_OF_RANGE) from None
        verb = "it was" if count < 0 else "it will be"
        return f"{_span(count, unit).capitalize()} {verb} {then:%H:%M} on {long_date(then)}."

    def date_after(self, count: int, unit: str) -> str:
        """The date in so many of `unit`: day, week, month or year; negative counts look back."""
        try:
            then = shifted(self.today, count, unit)
        except (OverflowError, ValueError):
            raise ToolError(OUT_OF_RANGE) from None
        verb = "it was" if count < 0 else "it will be"
        return f"{_span(count, unit).capitalize()} {verb} {long_date(then)}."

    def weekday_of(self, day: str) -> str:
        """Which weekday a date is, such as 2000-02-29, tomorrow or 24 December."""
        found, today = self._read(day), self.today
        if found == today:
            return f"Today is {long_date(found)}."
        named = {1: "Tomorrow", -1: "Yesterday"}.get((found - today).days)
        if named:
            return f"{named} {'is' if found > today else 'was'} {long_date(found)}."
        verb = "is" if found > today else "was"
        return f"{found.day} {found:%B} {found.year} {verb} a {found:%A}."

    def days_until(self, day: str) -> str:
        """How many days there are from today to a date."""
        found = self._read(day)
        days = (found - self.today).days
        if days == 0:
            return f"That is today, {long_date(found)}."
        if days < 0:
            return f"That was {_days(-days)} ago: {long_date(found)}."
        return f"{_days(days)} until {long_date(found)}."

    def days_since(self, day: str) -> str:
        """How many days have passed since a date."""
        found = self._read(day, past=True)
        days = (self.today - found).days
        if days < 0:
            return f"That is still to come, in {_days(-days)}: {long_date(found)}."
        return f"{_days(days)} since {long_date(found)}."

    def days_between(self, first: str, second: str) -> str:
        """How many days there are between two dates."""
        start, end = self._both(first, second)
        days = abs((end - start).days)
        return f"{_days(days)} between {long_date(start)} and {long_date(end)}."

    def _both(self, first: str, second: str) -> tuple[date, date]:
        """Two dates in order: one without a year is read from where the other one is."""
        if is_open(second):
            start = self._read(first)
            return start, self._read(second, start)
        end = self._read(second)
        return self._read(first, end, past=True) if is_open(first) else self._read(first), end

    def year_and_week(self) -> str:
        """This year, month and ISO week."""
        today = self.today
        return f"It is {today:%B} {today.year}, ISO week {today.isocalendar().week}."

    def leap_year(self, year: int) -> str:
        """Whether a year has a 29 February."""
        answer = "is a leap year" if calendar.isleap(year) else "is not a leap year"
        return f"{year} {answer}."

    def _read(self, text: str, today: date | None = None, *, past: bool = False) -> date:
        found = read_date(text, today or self.today, past=past)
        if found is None:
            raise ToolError(UNKNOWN_DATE.format(text.strip()[:60]))
        return found


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _span(count: int, unit: str) -> str:
    words = f"{abs(count)} {unit}{'' if abs(count) == 1 else 's'}"
    return f"{words} ago" if count < 0 else f"in {words}"


def _place_name(place: str) -> str:
    name = " ".join(place.split())[:60]
    if name.startswith("the "):
        return f"the {_place_name(name[4:])}"
    if name.lower() in ("utc", "gmt", "uk", "nyc", "la", "sf"):
        return name.upper()
    return " ".join(word[:1].upper() + word[1:] for word in name.split(" "))
