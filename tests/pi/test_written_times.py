"""When something is to happen, as people write it."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi.tools import ToolError
from pi.tools.schedules import cron_words
from pi.tools.written_times import Timing, read_timing

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
]


@pytest.mark.parametrize(("text", "kind", "spec"), TIMES)
def test_time(text: str, kind: str, spec: str) -> None:
    assert read_timing(text, NOW) == Timing(kind, spec)


@pytest.mark.parametrize("text", ["9", "call Ana", "every", "at 25", "today", ""])
def test_no_time(text: str) -> None:
    assert read_timing(text, NOW) is None


@pytest.mark.parametrize("text", ["today at 08:30", "2020-01-01T09:00", "this morning"])
def test_time_that_has_passed(text: str) -> None:
    with pytest.raises(ToolError):
        read_timing(text, NOW)


WORDS = st.one_of(
    st.sampled_from(["in", "at", "on", "every", "each", "next", "the", "of", "and", "am", "9"]),
    st.sampled_from(["tomorrow", "today", "monday", "mondays", "morning", "noon", "2026-12-24"]),
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
        ("*/5 * * * *", "by cron */5 * * * *"),
    ],
)
def test_rhythm_in_words(spec: str, words: str) -> None:
    assert cron_words(spec) == words
