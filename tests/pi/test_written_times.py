"""When something is to happen, as people write it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from pi.tools import ToolError
from pi.tools.schedules import cron_words
from pi.tools.written_times import WHICH_NIGHT, Timing, read_timing

NOW = datetime(2026, 11, 22, 12, 5, 7, 123456, tzinfo=ZoneInfo("Europe/Vienna"))

TIMES = [
    ("tomorrow at 9", "at", "2026-11-23T09:00"),
    ("at 9 tomorrow", "at", "2026-11-23T09:00"),
    ("tomorrow", "at", "2026-11-23T09:00"),
    ("tomorrow morning", "at", "2026-11-23T09:00"),
    ("today at 5", "at", "2026-11-22T17:00"),
    ("at 5", "at", "2026-11-22T17:00"),
    ("at noon", "at", "2026-11-23T12:00"),
    ("tonight", "at", "2026-11-22T21:00"),
    ("tonight at 8", "at", "2026-11-22T20:00"),
    ("in 20 minutes", "at", "2026-11-22T12:25:07"),
    ("in half an hour", "at", "2026-11-22T12:35:07"),
    ("in three days", "at", "2026-11-25T12:05:07"),
    ("on Friday", "at", "2026-11-27T09:00"),
    ("next Friday at 3pm", "at", "2026-11-27T15:00"),
    ("friday at 9 in the evening", "at", "2026-11-27T21:00"),
    ("on 24 December at 18:00", "at", "2026-12-24T18:00"),
    ("December 24th at 6 p.m.", "at", "2026-12-24T18:00"),
    ("2026-12-24T18:00", "at", "2026-12-24T18:00"),
    ("2026-12-24T17:00Z", "at", "2026-12-24T18:00"),
    ("every day at 9:00", "cron", "0 9 * * *"),
    ("at 9 every day", "cron", "0 9 * * *"),
    ("every morning", "cron", "0 9 * * *"),
    ("every weekday at 8:30", "cron", "30 8 * * 1-5"),
    ("on Mondays and Thursdays at 18:00", "cron", "0 18 * * 1,4"),
    ("every Friday evening", "cron", "0 19 * * 5"),
    ("every month on the 1st at 8", "cron", "0 8 1 * *"),
    ("every year on 24 December", "cron", "0 9 24 12 *"),
    ("*/5 * * * *", "cron", "*/5 * * * *"),
    ("0 9 * * mon", "cron", "0 9 * * mon"),
    ("every 2 hours", "every", "7200"),
    ("hourly", "every", "3600"),
    ("every other day", "every", "172800"),
    ("every half hour", "every", "1800"),
    ("every 1 hour and 30 minutes", "every", "5400"),
    ("in 1.5 hours", "at", "2026-11-22T13:35:07"),
    ("in a couple of hours", "at", "2026-11-22T14:05:07"),
    ("in 3 months", "at", "2027-02-22T12:05:07"),
    ("in 3 days at 9", "at", "2026-11-25T09:00"),
    ("a week from Friday at 15:00", "at", "2026-12-04T15:00"),
    ("next week", "at", "2026-11-23T09:00"),
    ("next month at 10", "at", "2026-12-01T10:00"),
    ("next year", "at", "2027-01-01T09:00"),
    ("half past nine", "at", "2026-11-22T21:30"),
    ("at quarter to six", "at", "2026-11-22T17:45"),
    ("tomorrow at ten past eight", "at", "2026-11-23T08:10"),
    ("tomorrow at about 9", "at", "2026-11-23T09:00"),
    ("on the 15th", "at", "2026-12-15T09:00"),
    ("Friday the 27th at 15:00", "at", "2026-11-27T15:00"),
    ("tonight at 10", "at", "2026-11-22T22:00"),
    ("tonight at 1 am", "at", "2026-11-23T01:00"),
    ("tonight at midnight", "at", "2026-11-23T00:00"),
    ("tommorow", "at", "2026-11-23T09:00"),
    ("on wed at 9", "at", "2026-11-25T09:00"),
    ("every evening at 8", "cron", "0 20 * * *"),
    ("nightly", "cron", "0 21 * * *"),
    ("Monday to Friday at 9", "cron", "0 9 * * 1-5"),
    ("fri-mon at 9", "cron", "0 9 * * 5,6,0,1"),
    ("every first Monday of the month", "cron", "0 9 * * 1#1"),
    ("on the 3rd Thursday of every month at 18:00", "cron", "0 18 * * 4#3"),
    ("every month on the last Friday", "cron", "0 9 * * 5L"),
    ("last day of every month at 17:00", "cron", "0 17 L * *"),
    ("every 15th", "cron", "0 9 15 * *"),
    ("0 9 * * 1,3", "cron", "0 9 * * 1,3"),
    ("0 9,13 * * *", "cron", "0 9,13 * * *"),
    ("every night at 12:30", "cron", "30 0 * * *"),
    ("every day at midnight", "cron", "0 0 * * *"),
    ("every Friday night at 11", "cron", "0 23 * * 5"),
    ("every Saturday at 0:00", "cron", "0 0 * * 6"),
    ("at midnight", "at", "2026-11-23T00:00"),
    ("Friday night at midnight", "at", "2026-11-28T00:00"),
    ("Friday night at 1", "at", "2026-11-28T01:00"),
]


@pytest.mark.parametrize(("text", "kind", "spec"), TIMES)
def test_time(text: str, kind: str, spec: str) -> None:
    assert read_timing(text, NOW) == Timing(kind, spec)
    if kind == "cron":  # the gateway takes what cronsim takes
        assert next(CronSim(spec, NOW)) > NOW


@pytest.mark.parametrize(
    "text",
    [
        "9",
        "call Ana",
        "every",
        "at 25",
        "every 15",
        "every second Friday",
        "every 30 seconds",
        "10 to 6",
        "today",
        "",
    ],
)
def test_no_time(text: str) -> None:
    assert read_timing(text, NOW) is None


@pytest.mark.parametrize("text", ["today at 08:30", "2020-01-01T09:00", "this morning"])
def test_time_that_has_passed(text: str) -> None:
    with pytest.raises(ToolError):
        read_timing(text, NOW)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("31 February at 9", "There is no 31 February."),
        ("Friday the 13th at 9", "13 December 2026 is no Friday but a Sunday. Which day is it?"),
        ("the 32nd", "No month has a day 32."),
        ("11/12/2026 at 9", "Day or month first?"),
        ("every Friday night at 1", WHICH_NIGHT),
        ("every Saturday night at 12", WHICH_NIGHT),
        ("every weekday night at 12:30", WHICH_NIGHT),
        ("every Friday at midnight", WHICH_NIGHT),
        ("Sunday midnight", WHICH_NIGHT),
        ("tomorrow at midnight", WHICH_NIGHT),
        ("midnight tomorrow", WHICH_NIGHT),
        ("tomorrow at 12 at night", WHICH_NIGHT),
    ],
)
def test_day_that_never_is_or_may_be_two(text: str, reason: str) -> None:
    with pytest.raises(ToolError, match=re.escape(reason)):
        read_timing(text, NOW)


WORDS = st.one_of(
    st.sampled_from(["in", "at", "on", "every", "each", "next", "the", "of", "and", "am", "9"]),
    st.sampled_from(["tomorrow", "today", "monday", "mondays", "morning", "noon", "2026-12-24"]),
    st.sampled_from(["half", "past", "quarter", "to", "last", "first", "15th", "from", "night"]),
    st.sampled_from(["9:30", "24", "december", "1st", "month", "day", "days", "two", "hours"]),
)


@settings(deadline=None, database=None)
@given(st.lists(WORDS, max_size=7).map(" ".join))
def test_any_mix_of_words_is_a_time_to_come_or_none(text: str) -> None:
    try:
        found = read_timing(text, NOW)
    except ToolError:
        return
    if found and found.kind == "at":
        assert datetime.fromisoformat(found.spec) > NOW.replace(tzinfo=None) - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("0 9 * * *", "every day at 09:00"),
        ("30 8 * * 1-5", "every weekday at 08:30"),
        ("0 18 * * 1,4", "every Monday and Thursday at 18:00"),
        ("0 8 1 * *", "on day 1 of every month at 08:00"),
        ("0 9 24 12 *", "every 24 December at 09:00"),
        ("0 9 * * 1#1", "every first Monday of the month at 09:00"),
        ("0 9 * * 5L", "every last Friday of the month at 09:00"),
        ("0 9 L * *", "on the last day of every month at 09:00"),
        ("*/5 * * * *", "by cron */5 * * * *"),
    ],
)
def test_rhythm_in_words(spec: str, words: str) -> None:
    assert cron_words(spec) == words
