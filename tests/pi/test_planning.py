"""Reminders, notes, history and the summary through Pi without a model, against a gateway's API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from pi.rules import Rules
from tests.pi.conftest import NOON, Start, ask, events, no_sleep
from tests.pi.gateway_api import GatewayApi, message


async def said(pi: httpx.AsyncClient, api: GatewayApi, text: str, **fields: Any) -> str:
    """What Pi answers Ann."""
    body = ask(text, stream=False, gateway=api.grant(), **fields)
    response = await pi.post("/rpc/message", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["content"])


async def test_reminder_is_made_listed_and_cancelled(start: Start, api: GatewayApi) -> None:
    pi = await start()
    made = await said(pi, api, "remind me tomorrow at 9 to call Ana")
    assert made == "Planned 09:00 on Monday, 23 November 2026 (UTC): call Ana."
    (plan,) = api.ann.schedules
    assert (plan["kind"], plan["spec"], plan["timezone"]) == ("at", "2026-11-23T09:00", "UTC")
    assert (plan["text"], plan["prompt"]) == ("Reminder: call Ana", "")
    listed = await said(pi, api, "what are my reminders?")
    assert listed == "- 09:00 on Monday, 23 November 2026 (UTC): call Ana (id sched_1)"
    assert await said(pi, api, "cancel the reminder about Ana") == "Cancelled: call Ana."
    assert api.ann.schedules == []
    assert "Nothing is planned" in await said(pi, api, "what are my reminders?")


async def test_where_somebody_lives_is_kept_and_counts_from_then_on(
    start: Start, api: GatewayApi
) -> None:
    pi = await start()
    told = await said(pi, api, "My time zone is Europe/Berlin.")
    assert told == "Your time zone is Europe/Berlin now; it is 13:05 there."
    await said(pi, api, "remind me at 22:00 to sleep")
    (plan,) = api.ann.schedules
    assert (plan["spec"], plan["timezone"]) == ("2026-11-22T22:00", "Europe/Berlin")


async def test_times_are_the_persons_own(start: Start, api: GatewayApi) -> None:
    api.ann.timezone = "Asia/Tokyo"  # there it is 21:05
    await said(await start(), api, "remind me at 22:00 to sleep")
    (plan,) = api.ann.schedules
    assert (plan["spec"], plan["timezone"]) == ("2026-11-22T22:00", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("zone", "answer"),
    [
        ("Asia/Tokyo", "It is 21:05 on Sunday, 22 November 2026 (JST, your time zone)."),
        ("Nowhere/Land", "It is 12:05 on Sunday, 22 November 2026 (UTC, my machine's time zone)."),
        ("../etc/passwd", "It is 12:05 on Sunday, 22 November 2026 (UTC, my machine's time zone)."),
    ],
)
async def test_the_clock_is_the_persons_own(
    start: Start, api: GatewayApi, zone: str, answer: str
) -> None:
    person = {"preferences": {"timezone": zone}}
    assert await said(await start(), api, "what time is it?", person=person) == answer


async def test_daily_summary_is_planned_from_chat_and_written_when_it_fires(
    start: Start, api: GatewayApi
) -> None:
    pi = await start()
    made = await said(pi, api, "every day at 9:00 send me a summary of my day")
    assert made.startswith("Planned every day at 09:00, next at 09:00 on Monday")
    (plan,) = api.ann.schedules
    assert (plan["kind"], plan["spec"]) == ("cron", "0 9 * * *")
    api.ann.schedules = [{**plan, "id": "x", "text": "pay", "next_run": "2026-11-22T18:00:00Z"}]
    api.ann.messages = [
        message("user", "too old to matter", 20),
        message("user", "the invoice came", 21),
        message("assistant", "Noted.", 21),
        message("user", "lunch with Eva", 22),
        message("user", plan["prompt"], 22, 12),
    ]
    answer = await said(pi, api, plan["prompt"], origin="schedule")
    assert answer == (
        "Today is Sunday, 22 November 2026.\n\nDue today:\n- 18:00 pay\n\n"
        "Since yesterday you wrote:\n- Saturday 10:00 the invoice came\n"
        "- Sunday 10:00 lunch with Eva"
    )


async def test_notes_are_kept_read_and_forgotten(start: Start, api: GatewayApi) -> None:
    pi = await start()
    assert await said(pi, api, "note that I like tea") == "Noted: I like tea"
    assert await said(pi, api, "what do you know about me?") == "- I like tea"
    assert await said(pi, api, "forget that I like tea") == "Forgotten: I like tea"
    assert "no notes" in await said(pi, api, "what do you know about me?")


async def test_history_is_searched_and_the_question_is_no_find(
    start: Start, api: GatewayApi
) -> None:
    question = "what did I say about the invoice?"
    api.ann.messages = [message("user", "the invoice is due on 3 May", 2)]
    api.ann.messages.append(message("user", question, 22))
    answer = await said(await start(), api, question)
    assert answer == "- 2026-11-02 10:00 you: the invoice is due on 3 May"


async def test_tool_events_stream_before_the_words(start: Start, api: GatewayApi) -> None:
    pi = await start()
    body = ask("note that I like tea", gateway=api.grant())
    call, result, *tokens, last = events((await pi.post("/rpc/message", json=body)).text)
    assert call == ("tool_call", {"name": "write_note", "arguments": {"note": "I like tea"}})
    assert result == ("tool_result", {"name": "write_note", "result": "Noted: I like tea"})
    assert {name for name, _ in tokens} == {"token"} and last[0] == "final"


async def test_a_repeated_turn_plans_nothing_twice(start: Start, api: GatewayApi) -> None:
    pi = await start()
    for turn in ("turn_1", "turn_1", "turn_2"):
        await said(pi, api, "remind me tomorrow at 9 to call Ana", turnId=turn)
    assert len(api.ann.schedules) == 2


async def test_a_turn_repeated_later_plans_in_20_minutes_once(
    start: Start, api: GatewayApi
) -> None:
    """By the time of the second try the words mean another moment."""
    for seconds in (0, 7):
        later = Rules(clock=lambda: NOON + timedelta(seconds=seconds), sleep=no_sleep)  # noqa: B023
        told = await said(
            await start(using=later), api, "remind me in 20 minutes to stretch", turnId="turn_1"
        )
        assert told == "Planned 12:25 on Sunday, 22 November 2026 (UTC): stretch."
    (plan,) = api.ann.schedules
    assert plan["spec"] == "2026-11-22T12:25"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("remind me to call Ana", "I could not tell when"),
        ("remind me tomorrow at 9", "What shall I remind you of?"),
        ("remind me today at 08:30 to call Ana", "passed already"),
        ("cancel the reminder about Bob", "Nothing planned here matches"),
        ("remind me tomorrow to " + "x" * 1100, "No language model"),
    ],
)
async def test_what_cannot_be_done_is_said(
    start: Start, api: GatewayApi, text: str, answer: str
) -> None:
    assert answer in await said(await start(), api, text)
    assert api.ann.schedules == []


async def test_which_one_is_asked_where_several_match(start: Start, api: GatewayApi) -> None:
    pi = await start()
    await said(pi, api, "remind me tomorrow at 9 to call Ana")
    await said(pi, api, "remind me tomorrow at 10 to write to Ana")
    assert "which one?" in await said(pi, api, "cancel the reminder about Ana")
    assert len(api.ann.schedules) == 2
    assert await said(pi, api, "cancel sched_2") == "Cancelled: write to Ana."


async def test_last_reminder_is_the_one_made_last(start: Start, api: GatewayApi) -> None:
    pi = await start()
    await said(pi, api, "remind me in 3 months to change the filter")
    await said(pi, api, "remind me tomorrow at 10 to write to Ana")
    assert await said(pi, api, "cancel the last reminder") == "Cancelled: write to Ana."


async def test_alarms_and_timers_are_found_by_these_words(start: Start, api: GatewayApi) -> None:
    pi = await start()
    await said(pi, api, "remind me tomorrow at 9 to fix it")
    await said(pi, api, "wake me tomorrow at 7")
    await said(pi, api, "set a 5 minute timer for the tea")
    assert await said(pi, api, "cancel the alarm") == "Cancelled: wake me (alarm)."
    assert await said(pi, api, "cancel the timer") == "Cancelled: the tea (timer)."
    assert "Nothing planned here matches" in await said(pi, api, "cancel it and that")
    assert len(api.ann.schedules) == 1


async def test_all_notes_are_forgotten_where_they_are_named(start: Start, api: GatewayApi) -> None:
    pi = await start()
    await said(pi, api, "note that I like tea")
    await said(pi, api, "note that my car is red")
    assert "All of what?" in await said(pi, api, "forget everything")
    assert len(api.ann.notes) == 2
    assert await said(pi, api, "delete all notes") == "Forgotten: I like tea; my car is red"
    assert api.ann.notes == {}
    assert "no notes" in await said(pi, api, "delete all notes")


async def test_plural_finds_what_was_said_in_the_singular(start: Start, api: GatewayApi) -> None:
    api.ann.messages = [message("user", "the invoice is due", 2)]
    answer = await said(await start(), api, "what did I say about invoices?")
    assert answer == "- 2026-11-02 10:00 you: the invoice is due"


@pytest.mark.parametrize("status", [403, 422, 500])
async def test_gateway_that_refuses_is_quoted(start: Start, api: GatewayApi, status: int) -> None:
    api.failing = status
    answer = await said(await start(), api, "what are my reminders?")
    assert answer == "The gateway said no: out of order"


async def test_gateway_that_is_away_and_none_at_all(start: Start, api: GatewayApi) -> None:
    pi = await start()
    await api.stop()
    assert "cannot be reached" in await said(pi, api, "what are my reminders?")
    alone = await pi.post("/rpc/message", json=ask("note that I like tea", stream=False))
    assert "through the gateway" in alone.json()["content"]


@pytest.mark.parametrize(
    "gateway", [{"url": 7}, {"url": "file:///etc", "token": "x"}, {"url": "http://x", "token": "é"}]
)
async def test_a_grant_that_cannot_be_used_is_refused(start: Start, gateway: Any) -> None:
    pi = await start()
    assert (await pi.post("/rpc/message", json=ask("hi", gateway=gateway))).status_code == 422
