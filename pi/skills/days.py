"""Times and dates, as people ask for them."""

from __future__ import annotations

import re
from collections.abc import Callable

from pi.tools import ToolError
from pi.tools.dates import Calendar
from pi.tools.written_dates import COUNT, read_date, read_span

_SPAN = rf"{COUNT} [a-z]+"
_NOW = r"(?: (?:right )?now| currently| today| here)?"
_TIME = re.compile(
    rf"(?:(?:what|which) )?(?:is )?(?:the )?(?:current |local |exact )?(?:time|clock)"
    rf"(?: is it| it is| is)?{_NOW}|what is the time(?: of day)?|got the time|what time do you have"
)
_TIME_IN = re.compile(
    r"(?:(?:what|which) )?(?:is )?(?:the )?(?:current |local |exact )?time"
    r"(?: (?:is it|it is|is|will it be|was it|it will be))?(?: (?:right )?now| currently)?"
    r" (?:in|at|for) (?P<where>.+?)(?: (?:right )?now| currently)?"
)
_DAY = r"(?:day|date|weekday|day of the week|calendar day)"
_DAY_NOW = re.compile(
    rf"(?:(?:what|which) )?(?:is )?(?:the |today's )?(?:current )?{_DAY}"
    rf"(?: is it| it is| is)?{_NOW}|what (?:is|are) (?:today|it today)|today|(?:what is )?today's "
    + _DAY
)
_DAY_OF = re.compile(
    rf"(?:(?:what|which) )?(?:is |was |will )?(?:the )?{_DAY}(?: of the week)?"
    r"(?: (?:is|was|will|does|did))?(?: (?:it|that))?(?: be)?(?: (?:on|for|of))?"
    r" (?P<when>.+?)(?: (?:be|fall on|on|been))?"
)
_AHEAD = re.compile(
    rf"(?:in|after) (?P<a>{_SPAN})|(?P<b>{_SPAN.replace('count', 'count2')})"
    r" (?:from (?:now|today)|hence|later)"
)
_AGO = re.compile(
    rf"(?P<a>{_SPAN}) ago|(?P<b>{_SPAN.replace('count', 'count2')}) before (?:now|today)"
)
_UNTIL = re.compile(
    r"(?:how many days|how long|days|number of days|countdown)"
    r"(?: (?:are there|are left|is it|are|is|left|remain|to go|there))*"
    r" (?:until|till|til|to|before) (?P<when>.+)"
)
_SINCE = re.compile(
    r"(?:how many days|how long|days)(?: (?:have|has|is|it|been|passed|are|there))*"
    r" since (?P<when>.+)|how long ago (?:was|is) (?P<ago>.+)"
)
_BETWEEN = re.compile(
    r"(?:how many )?days (?:(?:are|is) (?:there|it) )?(?:between|from) (?P<first>.+?)"
    r" (?:and|to|until) (?P<second>.+)"
)
_WHEN = re.compile(r"when (?:is|was) (?P<when>.+)")
_YEAR = re.compile(
    r"(?:what|which) (?:is the )?(?:calendar |iso )?(?:year|month|week)(?: number)?"
    rf"(?: is (?:it|this)| it is| is)?{_NOW}"
    r"|what is the (?:current )?(?:year|month|week)(?: number)?"
)
_LEAP = re.compile(r"(?:is|was|will) (?P<year>[0-9]{1,4}) (?:be )?a leap year")


class Days:
    """The skill: picks the question, asks the calendar."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar

    def __call__(self, phrase: str) -> str | None:
        """The answer in a sentence; None where the phrase is no question about time."""
        try:
            return self._first_of(
                phrase,
                self._now,
                self._time_in,
                self._shifted,
                self._counted,
                self._weekday,
                self._leap_year,
            )
        except ToolError as error:
            return str(error)

    def _first_of(self, phrase: str, *asked: Callable[[str], str | None]) -> str | None:
        return next((answer for ask in asked if (answer := ask(phrase)) is not None), None)

    def _now(self, phrase: str) -> str | None:
        if _TIME.fullmatch(phrase):
            return self._calendar.current_time()
        if _DAY_NOW.fullmatch(phrase):
            return self._calendar.weekday_of("today")
        return self._calendar.year_and_week() if _YEAR.fullmatch(phrase) else None

    def _time_in(self, phrase: str) -> str | None:
        match = _TIME_IN.fullmatch(phrase)
        if match is None:
            return None
        if span := read_span(match["where"]):
            return self._after(*span)
        return self._calendar.time_in(match["where"])

    def _shifted(self, phrase: str) -> str | None:
        """In ten days, three weeks ago: alone, or in a question for the day."""
        asked = _DAY_OF.fullmatch(phrase)
        when = asked["when"] if asked else phrase
        for pattern, sign in ((_AHEAD, 1), (_AGO, -1)):
            match = pattern.fullmatch(when)
            if match and (span := read_span(match["a"] or match["b"])):
                return self._after(sign * span[0], span[1])
        return None

    def _after(self, count: int, unit: str) -> str:
        if unit in ("minute", "hour"):
            return self._calendar.time_after(count, unit)
        return self._calendar.date_after(count, unit)

    def _counted(self, phrase: str) -> str | None:
        if match := _BETWEEN.fullmatch(phrase):
            return self._calendar.days_between(match["first"], match["second"])
        if match := _UNTIL.fullmatch(phrase):
            return self._calendar.days_until(match["when"])
        if match := _SINCE.fullmatch(phrase):
            return self._calendar.days_since(match["when"] or match["ago"])
        match = _WHEN.fullmatch(phrase)
        if match and read_date(match["when"], self._calendar.today):
            return self._calendar.days_until(match["when"])
        return None

    def _weekday(self, phrase: str) -> str | None:
        match = _DAY_OF.fullmatch(phrase)
        when = match["when"] if match else phrase
        if read_date(when, self._calendar.today) is None:
            return None
        return self._calendar.weekday_of(when)

    def _leap_year(self, phrase: str) -> str | None:
        match = _LEAP.fullmatch(phrase)
        return self._calendar.leap_year(int(match["year"])) if match else None
