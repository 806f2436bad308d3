"""Times and dates, as people ask for them."""

from __future__ import annotations

import re
from datetime import date

from pi.skills import Call
from pi.tools import ToolError
from pi.tools.written_dates import WEEKDAYS, read_date, read_span

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
    r"(?:in|after) (?P<a>.+?)(?: from (?:now|today))?"
    r"|(?P<b>.+) (?:from (?:now|today)|hence|later)"
)
_AGO = re.compile(r"(?P<a>.+) ago|(?P<b>.+) before (?:now|today)")
_TIME_THEN = re.compile(r"what time (?:was it|is it|it was|will it be|it will be) (?P<when>.+)")
_UNTIL = re.compile(
    r"(?:(?:how many )?(?P<unit>days|weeks)|how long|number of days|countdown)"
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
_IS_IT = re.compile(r"is (?P<a>today|tomorrow|it) (?:an? )?(?P<b>[a-z]+)(?: today)?")
_LEAP = re.compile(r"(?:is|was|will) (?P<year>[0-9]{1,4}) (?:be )?a leap year")


def days(phrase: str, today: date) -> Call | None:
    """A tool of the calendar; None where the phrase is no question about time."""
    if call := _now(phrase) or _time_in(phrase) or _shifted(phrase):
        return call
    return _counted(phrase, today) or _weekday(phrase, today) or _leap_year(phrase)


def _now(phrase: str) -> Call | None:
    if _TIME.fullmatch(phrase):
        return Call("current_time")
    if _DAY_NOW.fullmatch(phrase):
        return Call("weekday_of", {"day": "today"})
    return Call("year_and_week") if _YEAR.fullmatch(phrase) else None


def _time_in(phrase: str) -> Call | None:
    match = _TIME_IN.fullmatch(phrase)
    if match is None:
        return None
    if span := read_span(match["where"]):
        return _after(*span)
    return Call("time_in", {"place": match["where"]})


def _shifted(phrase: str) -> Call | None:
    """In ten days, three weeks ago: alone, or in a question for the day."""
    asked = _DAY_OF.fullmatch(phrase) or _TIME_THEN.fullmatch(phrase)
    when = asked["when"] if asked else phrase
    for pattern, sign in ((_AHEAD, 1), (_AGO, -1)):
        match = pattern.fullmatch(when)
        if match and (span := read_span(match["a"] or match["b"])):
            return _after(sign * span[0], span[1])
    return None


def _after(count: int, unit: str) -> Call:
    tool = "time_after" if unit in ("minute", "hour") else "date_after"
    return Call(tool, {"count": count, "unit": unit})


def _counted(phrase: str, today: date) -> Call | None:
    if match := _BETWEEN.fullmatch(phrase):
        return Call("days_between", {"first": match["first"], "second": match["second"]})
    if match := _UNTIL.fullmatch(phrase):
        say = _in_weeks if match["unit"] == "weeks" else str
        return Call("days_until", {"day": match["when"]}, say)
    if match := _SINCE.fullmatch(phrase):
        return Call("days_since", {"day": match["when"] or match["ago"]})
    match = _WHEN.fullmatch(phrase)
    if match and _names_a_day(match["when"], today):
        return Call("days_until", {"day": match["when"]})
    return None


def _in_weeks(answer: str) -> str:
    """The count of days in weeks, where the answer begins with one."""
    match = re.fullmatch(r"([0-9]+) days? (until .+)", answer)
    if match is None:
        return answer
    weeks, days = divmod(int(match[1]), 7)
    counted = [
        f"{count} {unit}{'' if count == 1 else 's'}"
        for count, unit in ((weeks, "week"), (days, "day"))
        if count
    ]
    return f"{' and '.join(counted)} {match[2]}"


def _weekday(phrase: str, today: date) -> Call | None:
    asked = _IS_IT.fullmatch(phrase)
    if asked and asked["b"] in WEEKDAYS:
        name = asked["b"].capitalize()
        return Call(
            "weekday_of",
            {"day": asked["a"].replace("it", "today")},
            lambda answer: f"{'Yes' if name in answer else 'No'}. {answer}",
        )
    match = _DAY_OF.fullmatch(phrase)
    when = match["when"] if match else phrase
    return Call("weekday_of", {"day": when}) if _names_a_day(when, today) else None


def _names_a_day(text: str, today: date) -> bool:
    """Whether it names a day; one that never comes counts too: the calendar says so."""
    try:
        return read_date(text, today) is not None
    except ToolError:
        return True


def _leap_year(phrase: str) -> Call | None:
    match = _LEAP.fullmatch(phrase)
    return Call("leap_year", {"year": int(match["year"])}) if match else None
