"""What people write to Pi without a model, and the tool it uses for it.

The last 22 phrases of the table were written after the code was done, without a
look at it. Four of them failed at first: a wish for a reminder as a noun, being woken,
words that only lead to the time ("when it is 6pm"), and two prepositions in a row.
"""

from __future__ import annotations

from typing import Any

import pytest

from pi.skills import Call
from pi.skills.small_talk import NOT_PLANNED
from tests.pi.conftest import rules

REMIND, TASK, NOTE, FIND = "remind", "plan_task", "write_note", "search_history"


def remind(when: str, text: str) -> tuple[str, dict[str, Any]]:
    return REMIND, {"when": when, "text": text}


def task(when: str, text: str) -> tuple[str, dict[str, Any]]:
    return TASK, {"when": when, "task": text}


PHRASES: list[tuple[str, tuple[str, dict[str, Any]]]] = [
    ("remind me tomorrow at 9 to call Ana", remind("tomorrow at 9", "call Ana")),
    ("Remind me to call Ana tomorrow at 9", remind("tomorrow at 9", "call Ana")),
    ("please remind me to call Ana tomorrow at 9.", remind("tomorrow at 9", "call Ana")),
    (
        "can you remind me in 20 minutes to check the oven?",
        remind("in 20 minutes", "check the oven"),
    ),
    ("remind me about the dentist on Friday at 3pm", remind("on Friday at 3pm", "the dentist")),
    ("in 2 hours remind me to stretch", remind("in 2 hours", "stretch")),
    ("tomorrow at 8 remind me that the bins go out", remind("tomorrow at 8", "the bins go out")),
    ("remind me every day at 9 to take my pills", remind("every day at 9", "take my pills")),
    (
        "remind me every weekday at 8:30 to write the log",
        remind("every weekday at 8:30", "write the log"),
    ),
    (
        "remind me every Monday at 10 to send the report",
        remind("every Monday at 10", "send the report"),
    ),
    ("every evening remind me to lock the door", remind("every evening", "lock the door")),
    (
        "remind me on 24 December at 18:00 to wrap presents",
        remind("on 24 December at 18:00", "wrap presents"),
    ),
    ("remind me at noon to eat", remind("at noon", "eat")),
    ("remind me tonight to charge the bike", remind("tonight", "charge the bike")),
    (
        "set a reminder for tomorrow morning: water the plants",
        remind("tomorrow morning", "water the plants"),
    ),
    ("remind me every 2 hours to drink", remind("every 2 hours", "drink")),
    (
        "remind me on the 1st of every month to pay rent",
        remind("on the 1st of every month", "pay rent"),
    ),
    ("don't forget to call Ana tomorrow", remind("tomorrow", "call Ana")),
    (
        "every day at 9:00 send me a summary of my day",
        task("every day at 9:00", "send me a summary of my day"),
    ),
    (
        "send me a summary of my day every day at 9:00",
        task("every day at 9:00", "send me a summary of my day"),
    ),
    ("every morning tell me what day it is", task("every morning", "tell me what day it is")),
    ("what are my reminders", ("list_plans", {})),
    ("show me my reminders", ("list_plans", {})),
    ("Do I have any reminders?", ("list_plans", {})),
    ("what is planned?", ("list_plans", {})),
    ("list my schedules", ("list_plans", {})),
    ("cancel the reminder about Ana", ("cancel_plan", {"which": "Ana"})),
    ("delete my reminder to take my pills", ("cancel_plan", {"which": "take my pills"})),
    ("stop reminding me to drink", ("cancel_plan", {"which": "drink"})),
    ("cancel the daily summary", ("cancel_plan", {"which": "daily summary"})),
    ("cancel all reminders", ("cancel_all_plans", {})),
    ("note that I like tea", (NOTE, {"note": "I like tea"})),
    ("Remember that my sister is called Eva", (NOTE, {"note": "my sister is called Eva"})),
    (
        "make a note: the wifi code is on the fridge",
        (NOTE, {"note": "the wifi code is on the fridge"}),
    ),
    ("what do you know about me?", ("read_notes", {})),
    ("show my notes", ("read_notes", {})),
    ("forget that I like tea", ("delete_note", {"about": "I like tea"})),
    ("what did I say about the invoice?", (FIND, {"words": "invoice"})),
    ("when did I mention the dentist", (FIND, {"words": "dentist"})),
    ("search my messages for Lisbon", (FIND, {"words": "Lisbon"})),
    ("give me a summary of my day", ("summarise_day", {})),
    ("summarise my day", ("summarise_day", {})),
    ("what is 17% of 240", ("calculate", {"expression": "17% of 240"})),
    ("what time is it in Tokyo", ("time_in", {"place": "tokyo"})),
    ("how many days until Christmas?", ("days_until", {"day": "christmas"})),
    # from here on written after the code
    ("I need a reminder at 5 to pick up Tom", remind("at 5", "pick up Tom")),
    ("Hey Pi, remind me to buy milk when it is 6pm", remind("6pm", "buy milk")),
    ("wake me up tomorrow at 6:30", remind("tomorrow at 6:30", "wake me up")),
    ("remind me in an hour: laundry", remind("in an hour", "laundry")),
    (
        "remind me next Tuesday about the parents' evening",
        remind("next Tuesday", "the parents' evening"),
    ),
    ("could you remind me of mum's birthday on 3 March?", remind("on 3 March", "mum's birthday")),
    ("remind me to stand up every 45 minutes", remind("every 45 minutes", "stand up")),
    (
        "remind me each Sunday at 7pm to plan the week",
        remind("each Sunday at 7pm", "plan the week"),
    ),
    ("tomorrow at noon, remind me to ring the bank", remind("tomorrow at noon", "ring the bank")),
    (
        "remind me to call the plumber the day after tomorrow at 10am",
        remind("the day after tomorrow at 10am", "call the plumber"),
    ),
    ("daily at 7 send me my day's summary", task("daily at 7", "send me my day's summary")),
    ("every Friday at 16:00 summarise my day", task("every Friday at 16:00", "summarise my day")),
    ("what reminders do I have?", ("list_plans", {})),
    ("which reminders are set", ("list_plans", {})),
    ("please cancel the reminder to buy milk", ("cancel_plan", {"which": "buy milk"})),
    ("remove the dentist reminder", ("cancel_plan", {"which": "dentist"})),
    (
        "please note that my car is parked on level 3",
        (NOTE, {"note": "my car is parked on level 3"}),
    ),
    ("keep in mind that I am vegetarian", (NOTE, {"note": "I am vegetarian"})),
    ("what have you noted about me?", ("read_notes", {})),
    ("what did we talk about regarding Lisbon", (FIND, {"words": "Lisbon"})),
    ("did I mention anything about a passport?", (FIND, {"words": "passport"})),
    ("how does my day look?", ("summarise_day", {})),
]


@pytest.mark.parametrize(("phrase", "expected"), PHRASES, ids=[p[0][:40] for p in PHRASES])
def test_phrase_finds_its_tool(phrase: str, expected: tuple[str, dict[str, Any]]) -> None:
    found = rules().find(phrase)
    assert isinstance(found, Call), found
    assert (found.tool, dict(found.arguments)) == expected


@pytest.mark.parametrize("phrase", ["every day at 9 send me a poem", "every hour tell me a joke"])
def test_what_it_could_not_do_when_its_time_comes_is_not_planned(phrase: str) -> None:
    assert rules().find(phrase) == NOT_PLANNED


@pytest.mark.parametrize(
    "phrase",
    [
        "tomorrow",
        "what time will it be in 3 hours",
        "what day is it in 10 days",
        "tell me the date in 3 weeks",
        "every day I go for a walk",
        "at 9 I had breakfast",
        "I reminded Ana of it",
        "stop",
        "cancel",
        "remember",
        "the day after tomorrow",
    ],
)
def test_what_only_looks_like_a_wish_changes_nothing(phrase: str) -> None:
    found = rules().find(phrase)
    if isinstance(found, Call):
        assert found.tool in ("time_after", "date_after", "weekday_of")
