"""What Pi answers without a model."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi.config import Config
from pi.rules import ANSWER_SECONDS, Rules
from pi.skills.small_talk import CONNECT, EMPTY, GREETING, HELP, UNKNOWN
from pi.toolbox import Toolbox
from pi.tools import ToolError
from pi.tools.dates import Calendar
from pi.tools.schedules import WHEN
from pi.tools.web import PRIVATE
from pi.tools.zones import PLACES, find_zone
from tests.pi.conftest import NOON, Start, ask, no_sleep, reply, rules

EXAMPLES = settings(deadline=None, database=None)
NOW = "It is 12:05 on Sunday, 22 November 2026 (UTC, my machine's time zone)."
TODAY = "Today is Sunday, 22 November 2026."

PHRASES = [
    ("help", HELP),
    ("/help", HELP),
    ("/help@example_bot", HELP),
    ("@example_bot what is 2+2", "2 + 2 = 4"),
    ("What can you do?", HELP),
    ("how do I connect a model?", CONNECT),
    ("hi", GREETING),
    ("Hello there!", GREETING),
    ("Good morning", GREETING),
    ("/start", GREETING),
    ("thanks a lot!", "You are welcome."),
    ("bye", "Goodbye!"),
    ("17% of 240", "17% of 240 = 40.8"),
    ("what is 17% of 240", "17% of 240 = 40.8"),
    ("What's 17 percent of 240?", "17% of 240 = 40.8"),
    ("15 percent of 80 plus 3", "15% of 80 + 3 = 15"),
    ("12*(3+4)", "12 × (3 + 4) = 84"),
    ("2^10", "2^10 = 1024"),
    ("2**10", "2^10 = 1024"),
    ("sqrt(2)", "sqrt(2) ≈ 1.414213562"),
    ("what is the square root of 144?", "sqrt(144) = 12"),
    ("how much is 3 x 4", "3 × 4 = 12"),
    ("two plus two", "2 + 2 = 4"),
    ("7 times six", "7 × 6 = 42"),
    ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
    ("200 + 10%", "200 + 10% = 220"),
    ("100 - 20%", "100 - 20% = 80"),
    ("10 % 3", "10 mod 3 = 1"),
    ("-2^2", "-2^2 = -4"),
    ("2(3+4)", "2(3 + 4) = 14"),
    ("1,000,000 * 3", "1,000,000 × 3 = 3000000"),
    ("what percent of 80 is 20?", "20 is 25% of 80."),
    ("3 squared", "3^2 = 9"),
    ("calculate 1/3", "1 / 3 ≈ 0.3333333333"),
    ("please calculate 2 + 3", "2 + 3 = 5"),
    ("hi, what is 2+2?", "2 + 2 = 4"),
    ("1/0", "I cannot divide by zero."),
    ("9^9^9", "That number is too large for me to work out."),
    ("sqrt(-1)", "A negative number has no real square root."),
    ("(-8)^0.5", "That has no real result: a root of a negative number."),
    ("2 +", "I cannot read that as a calculation."),
    ("what time is it", NOW),
    ("What's the time?", NOW),
    ("could you please tell me what time it is", NOW),
    ("what time is it in Tokyo?", "In Tokyo it is 21:05 on Sunday, 22 November 2026."),
    ("time in new york", "In New York it is 07:05 on Sunday, 22 November 2026."),
    ("time in Vienna right now", "In Vienna it is 13:05 on Sunday, 22 November 2026."),
    ("current time in the UK", "In the UK it is 12:05 on Sunday, 22 November 2026."),
    ("time in utc", "In UTC it is 12:05 on Sunday, 22 November 2026."),
    ("time in atlantis", "I do not know the time zone of “atlantis”. Try a large city nearby."),
    (
        "what time will it be in 3 hours",
        "In 3 hours it will be 15:05 on Sunday, 22 November 2026.",
    ),
    ("what day is it", TODAY),
    ("what day is it today?", TODAY),
    ("what is today's date", TODAY),
    ("what day is it in 10 days", "In 10 days it will be Wednesday, 2 December 2026."),
    ("what is the date in three weeks?", "In 3 weeks it will be Sunday, 13 December 2026."),
    ("what day was 3 weeks ago", "3 weeks ago it was Sunday, 1 November 2026."),
    ("10 days from now", "In 10 days it will be Wednesday, 2 December 2026."),
    ("in a month", "In 1 month it will be Tuesday, 22 December 2026."),
    ("days until 24 December", "32 days until Thursday, 24 December 2026."),
    ("how many days until Christmas?", "33 days until Friday, 25 December 2026."),
    ("days until December 24th, 2027", "397 days until Friday, 24 December 2027."),
    ("days until today", "That is today, Sunday, 22 November 2026."),
    ("days until 2026-01-01", "That was 325 days ago: Thursday, 1 January 2026."),
    ("days since 1 January 2000", "9822 days since Saturday, 1 January 2000."),
    (
        "days between 2026-01-01 and 2026-12-31",
        "364 days between Thursday, 1 January 2026 and Thursday, 31 December 2026.",
    ),
    (
        "days until my birthday",
        "I do not know which date “my birthday” is. "
        "Please write it like 24 December or 2026-12-24.",
    ),
    ("what weekday was 2000-02-29", "29 February 2000 was a Tuesday."),
    ("2000-02-29", "29 February 2000 was a Tuesday."),
    ("what day of the week is 24 December 2027?", "24 December 2027 is a Friday."),
    ("what day is tomorrow", "Tomorrow is Monday, 23 November 2026."),
    ("what day was yesterday", "Yesterday was Saturday, 21 November 2026."),
    ("what day is 31 February", "There is no 31 February."),
    ("what day is 2026-02-30", "There is no such day: 2026-02-30."),
    ("11/12/2026", "Day or month first? Please write the date like 2026-12-24."),
    ("in 999999999 years", "My calendar only has the years 1 to 9999."),
    ("is 2100 a leap year", "2100 is not a leap year."),
    ("what week is it", "It is November 2026, ISO week 47."),
    (
        "days between 20 May and 20 June",
        "31 days between Thursday, 20 May 2027 and Sunday, 20 June 2027.",
    ),
    (
        "days between Monday and Friday",
        "4 days between Monday, 23 November 2026 and Friday, 27 November 2026.",
    ),
    (
        "days between 1 January and 2026-12-31",
        "364 days between Thursday, 1 January 2026 and Thursday, 31 December 2026.",
    ),
    (
        "days between 1 November and today",
        "21 days between Sunday, 1 November 2026 and Sunday, 22 November 2026.",
    ),
    (
        "days from tomorrow to Christmas",
        "32 days between Monday, 23 November 2026 and Friday, 25 December 2026.",
    ),
    ("weeks until Christmas", "4 weeks and 5 days until Friday, 25 December 2026."),
    ("weeks until 29 November", "1 week until Sunday, 29 November 2026."),
    ("what time was it 3 hours ago", "3 hours ago it was 09:05 on Sunday, 22 November 2026."),
    ("3 weeks from tomorrow", "14 December 2026 is a Monday."),
    ("is today Sunday?", f"Yes. {TODAY}"),
    ("is today Monday?", f"No. {TODAY}"),
    ("time in Spain", "In Spain it is 13:05 on Sunday, 22 November 2026."),
    ("time in Paris, France", "In Paris, France it is 13:05 on Sunday, 22 November 2026."),
    ("time in Sydney, Australia", "In Sydney, Australia it is 23:05 on Sunday, 22 November 2026."),
    (
        "time in Paris, Texas",
        "I do not know the time zone of “paris, texas”. Try a large city nearby.",
    ),
    ("what's a 15% tip on 64", "15% of 64 = 9.6"),
    ("two thirds of 90", "2 / 3 × 90 = 60"),
    ("how many minutes in 3 hours", "3 hours are 180 minutes."),
    ("how many hours in a day", "1 day is 24 hours."),
    ("what percentage is 5 of 20", "5 is 25% of 20."),
    ("15% tip on 64", "15% of 64 = 9.6"),
    ("sum of 3 and 4", "3 + 4 = 7"),
    ("double 45", "2 × 45 = 90"),
    ("$20 + $5", "20 + 5 = 25"),
    ("thirty plus two", "30 + 2 = 32"),
    ("5 factorial", "1 × 2 × 3 × 4 × 5 = 120"),
    ("list my files", "There are no files outside a session."),
    ("read https://example.com", "I may not read pages of the internet here (`OPENCLAW_PI_WEB`)."),
    ("who wrote Faust?", UNKNOWN),
    ("what day works for you", UNKNOWN),
    ("what is love", UNKNOWN),
    ("42", UNKNOWN),
    ("pi", UNKNOWN),
    ("100!", UNKNOWN),
    ("日本の天気は？", UNKNOWN),
    ("...", UNKNOWN),
    ("x" * 100_000, UNKNOWN),
    ("", EMPTY),
    (" \n ", EMPTY),
]


@pytest.mark.parametrize(("phrase", "answer"), PHRASES, ids=[p[0][:40] for p in PHRASES])
def test_answer(phrase: str, answer: str) -> None:
    assert reply(phrase) == answer


def test_each_line_is_a_question_of_its_own() -> None:
    assert reply("2+2\n\nwhat day is it?\nwho am I\nwho are they") == (
        f"2 + 2 = 4\n\n{TODAY}\n\n{UNKNOWN}"
    )


def test_help_names_every_setting_that_connects_a_model() -> None:
    for line in (
        "OPENCLAW_LLM_MODEL=",
        "OPENCLAW_LLM_BASE_URL=http://127.0.0.1:11434/v1",
        "OPENCLAW_LLM_API_KEY=",
    ):
        assert line in HELP


@pytest.mark.parametrize("example", re.findall(r"`([^`]+)`", HELP.split("To connect")[0]))
def test_every_example_in_help_works(example: str) -> None:
    assert reply(example) not in (UNKNOWN, HELP)


def test_day_is_the_one_of_the_clocks_zone() -> None:
    tokyo = datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    assert (
        reply("what day is it", Rules(clock=lambda: tokyo, sleep=no_sleep))
        == "Today is Monday, 23 November 2026."
    )


def test_leap_day_without_a_year_is_the_next_that_exists() -> None:
    assert Calendar(lambda: NOON).days_until("29 February") == "464 days until " + (
        "Tuesday, 29 February 2028."
    )
    late = Calendar(lambda: datetime(2097, 1, 1, tzinfo=UTC))
    assert late.weekday_of("29 February") == "29 February 2104 is a Friday."


def test_months_end_on_a_day_that_exists() -> None:
    calendar = Calendar(lambda: datetime(2027, 1, 31, tzinfo=UTC))
    assert calendar.date_after(1, "month") == "In 1 month it will be Sunday, 28 February 2027."


@pytest.mark.parametrize("place", [*sorted(PLACES), "the uk"])
def test_every_listed_place_has_a_zone(place: str) -> None:
    assert find_zone(place).key == PLACES[place.removeprefix("the ")]


@pytest.mark.parametrize(
    "place", ["../etc/passwd", "/etc/passwd", "Europe/../../x", "America", "a" * 500, "\0", "é"]
)
def test_strange_places_are_refused(place: str) -> None:
    with pytest.raises(ToolError):
        find_zone(place)


def test_small_words_in_a_zones_name_stay_small() -> None:
    assert Path(find_zone("Dar es Salaam").key).name == "Dar_es_Salaam"


async def test_files_are_kept_shown_and_deleted(start: Start, tmp_path: Path) -> None:
    pi = await start(Config(files_dir=str(tmp_path)))

    async def said(text: str) -> str:
        response = await pi.post("/rpc/message", json=ask(text, stream=False))
        return str(response.json()["content"])

    assert await said("list my files") == "No files yet."
    assert await said("save to file list.txt: milk,\n\n 2 eggs.") == "Written: list.txt (15 bytes)"
    assert await said("show me my files") == "- list.txt (15 bytes)"
    assert await said("read list.txt") == "milk,\n\n 2 eggs."
    assert await said("delete file list.txt") == "Deleted: list.txt"
    assert await said("read file ../list.txt") == UNKNOWN


async def test_page_is_read_where_the_settings_allow_it(start: Start) -> None:
    pi = await start(Config(web=True))
    response = await pi.post("/rpc/message", json=ask("fetch http://127.0.0.1/", stream=False))
    assert response.json()["content"] == PRIVATE


def test_the_persons_clock_reads_the_phrase() -> None:
    tokyo = datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=9)))
    assert rules().find("remind me this weekend to rest", tokyo) != WHEN
    assert rules().find("remind me this weekend to rest", NOON) == WHEN


@EXAMPLES
@given(st.text(max_size=400))
def test_any_text_gets_an_answer(text: str) -> None:
    assert reply(text)


WORDS = st.one_of(
    st.sampled_from(["what", "is", "the", "day", "date", "time", "in", "on", "until", "since"]),
    st.sampled_from(["days", "weeks", "month", "from", "now", "ago", "how many", "between", "and"]),
    st.sampled_from(["10", "two", "december", "24", "2026-12-24", "31.12.2026", "christmas"]),
    st.sampled_from(["tokyo", "17", "%", "+", "(", "sqrt", "of"]),
)


@EXAMPLES
@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_any_mix_of_known_words_gets_an_answer(text: str) -> None:
    assert reply(text)


async def test_words_come_at_a_pace_that_ends_in_time() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    brain = Rules(clock=lambda: NOON, sleep=sleep)
    for question in ("help", "thanks"):
        pauses.clear()
        pieces = [event.data["text"] async for event in brain.answer(question, Toolbox(()))]
        assert "".join(pieces) == brain.find(question)
        assert len(pauses) == len(pieces) - 1 > 1
        assert 0.003 <= max(pauses) <= 0.025
        assert sum(pauses) <= ANSWER_SECONDS
