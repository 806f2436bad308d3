"""/remind: what people write, what it means, and what they are answered."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.ledger.firing import fire_due
from gateway.models import Schedule
from gateway.schedules.remind import USAGE, Cancelling, Listing, Wish, understand
from gateway.schedules.when import BadTiming, check
from gateway.schedules.words import local, rhythm
from sessions_app.models import Contact, Message
from tests.conftest import Clock
from tests.core.kit import Verbs, in_group, inbound, sent, texts
from tests.schedules.kit import at

NOW = at("2026-06-03T10:00")  # a Wednesday; noon in Berlin
BERLIN = "Europe/Berlin"

PHRASES = {
    "in 10 minutes drink water": ("at", "2026-06-03T12:10:00+02:00", "drink water"),
    "in 10min drink water": ("at", "2026-06-03T12:10:00+02:00", "drink water"),
    "in an hour to call Ana": ("at", "2026-06-03T13:00:00+02:00", "call Ana"),
    "In 2 Days water the plants": ("at", "2026-06-05T12:00:00", "water the plants"),
    "in 1 week: pay rent": ("at", "2026-06-10T12:00:00", "pay rent"),
    "18:30 call Ana": ("at", "2026-06-03T18:30:00", "call Ana"),
    "at 18:30 to call Ana": ("at", "2026-06-03T18:30:00", "call Ana"),
    "at 6 pm call Ana": ("at", "2026-06-03T18:00:00", "call Ana"),
    "at 18 call Ana": ("at", "2026-06-03T18:00:00", "call Ana"),
    "12:30 am sleep": ("at", "2026-06-04T00:30:00", "sleep"),
    "9:00 stand up": ("at", "2026-06-04T09:00:00", "stand up"),
    "tomorrow 9:00 send the invoice": ("at", "2026-06-04T09:00:00", "send the invoice"),
    "tomorrow at 9am send it\nall": ("at", "2026-06-04T09:00:00", "send it\nall"),
    "today 20:00 cook": ("at", "2026-06-03T20:00:00", "cook"),
    "friday 17:00 go home": ("at", "2026-06-05T17:00:00", "go home"),
    "on wednesday 9:00 swim": ("at", "2026-06-10T09:00:00", "swim"),
    "2030-01-31 09:00 renew the passport": ("at", "2030-01-31T09:00:00", "renew the passport"),
    "every day 9:00 take a walk": ("cron", "0 9 * * *", "take a walk"),
    "every day at 9 take a walk": ("cron", "0 9 * * *", "take a walk"),
    "every weekday at 8:15 stand up": ("cron", "15 8 * * 1-5", "stand up"),
    "every monday 8:00 plan the week": ("cron", "0 8 * * 1", "plan the week"),
    "every Sunday at 7:30pm rest": ("cron", "30 19 * * 0", "rest"),
    "every 2 hours look up": ("every", "7200", "look up"),
    "every hour look up": ("every", "3600", "look up"),
    "every two hours look up": ("every", "7200", "look up"),
    "every 2 days water the plants": ("every", "172800", "water the plants"),
    "in 1 hour and 30 minutes drink": ("at", "2026-06-03T13:30:00+02:00", "drink"),
    "in 1h 30m drink": ("at", "2026-06-03T13:30:00+02:00", "drink"),
    "in half an hour drink": ("at", "2026-06-03T12:30:00+02:00", "drink"),
    "in two hours drink": ("at", "2026-06-03T14:00:00+02:00", "drink"),
    "in 1 day, 2 hours drink": ("at", "2026-06-04T14:00:00+02:00", "drink"),
    "in 10 minutes 5 pushups": ("at", "2026-06-03T12:10:00+02:00", "5 pushups"),
    "in 2 days at 9:00 call Ana": ("at", "2026-06-05T09:00:00", "call Ana"),
    "me in 10 minutes to drink": ("at", "2026-06-03T12:10:00+02:00", "drink"),
    "tomorrow 9 send it": ("at", "2026-06-04T09:00:00", "send it"),
    "friday 9 o'clock send it": ("at", "2026-06-05T09:00:00", "send it"),
    "9:00 tomorrow send it": ("at", "2026-06-04T09:00:00", "send it"),
    "at 9 on friday send it": ("at", "2026-06-05T09:00:00", "send it"),
    "next monday 9:00 plan": ("at", "2026-06-08T09:00:00", "plan"),
    "next wednesday 18:00 swim": ("at", "2026-06-10T18:00:00", "swim"),
    "wednesday 18:00 swim": ("at", "2026-06-03T18:00:00", "swim"),
    "daily 9:00 walk": ("cron", "0 9 * * *", "walk"),
    "daily at 9 walk": ("cron", "0 9 * * *", "walk"),
    "every week monday 9:00 plan": ("cron", "0 9 * * 1", "plan"),
    "every week on friday at 5pm rest": ("cron", "0 17 * * 5", "rest"),
    "every day 9:00 5 pushups": ("cron", "0 9 * * *", "5 pushups"),
}


@pytest.mark.parametrize("said", PHRASES)
def test_phrase(said: str) -> None:
    kind, spec, text = PHRASES[said]
    assert understand(said, BERLIN, NOW) == Wish(kind, spec, text)
    check(kind, spec, BERLIN)


NOT_UNDERSTOOD = [
    "", "me", "soon drink", "in 10 minutes", "every monday", "18:30",
    "every day at 9:00", "every day 9:00", "every day 9 take a walk", "every day 2 pills",
    "every 2 days at 9:00 water", "every week at 9:00 plan", "every day in the morning walk",
    "every day at 9:00 and 18:00 take it", "every 2 hours from 9:00 look up",
    "every 2 hours 30 minutes look up", "every hour on weekdays look up", "every other day 9:00 x",
    "every monday and friday 9:00 x", "every day 9:00 until friday take it",
    "every day except sunday x", "in an hour and a half drink", "in 10 minutes 5 minutes walk",
    "in 2 days at 9 tomorrow x",
    "9:00 every day walk", "tomorrow 2 hours of sleep", "tomorrow morning walk", "18:30 monday",
    "every day tomorrow x", "in 2 hours at 9:00 x",
]  # fmt: skip
"""Nothing is planned where it might be something else than was said."""


@pytest.mark.parametrize("said", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_answered_with_how_to_say_it(said: str) -> None:
    with pytest.raises(BadTiming, match=r"^Say when"):
        understand(said, BERLIN, NOW)


@pytest.mark.parametrize(
    "said", ["25:00 x", "at 13pm x", "2030-02-30 9:00 x", "in 999999 weeks x", "9:77 x"]
)
def test_times_that_do_not_exist_are_said_to(said: str) -> None:
    with pytest.raises(BadTiming, match=r"there is no|too far"):
        understand(said, BERLIN, NOW)


def test_list_and_cancel() -> None:
    assert understand(" List ", BERLIN, NOW) == Listing()
    assert understand("list all", BERLIN, NOW) == Listing()
    assert understand("cancel 2", BERLIN, NOW) == Cancelling(2)
    assert understand("cancel #2", BERLIN, NOW) == Cancelling(2)


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("cron", "0 9 * * *", "every day at 09:00"),
        ("cron", "30 19 * * 0", "every Sunday at 19:30"),
        ("cron", "15 8 * * 1-5", "every weekday at 08:15"),
        ("cron", "hello", "hello"),
        ("every", "3600", "every hour"),
        ("every", "5400", "every 90 minutes"),
        ("at", "2030-01-31T09:00", "once"),
    ],
)
def test_rhythm_in_words(kind: str, spec: str, words: str) -> None:
    assert rhythm(kind, spec) == words


def test_other_crons_are_explained_too() -> None:
    assert "28" in rhythm("cron", "0 9 28 * *")


def test_a_time_in_words() -> None:
    moment = datetime(2026, 6, 1, 7, 0, 5, tzinfo=UTC)
    assert local(moment, BERLIN) == "Monday, 1 June 2026 at 09:00:05 (Europe/Berlin)"
    assert local(moment, "Mars/Base") == "Monday, 1 June 2026 at 07:00:05 (UTC)"


def say(verbs: Verbs, number: int, text: str, zone: str = "") -> str:
    """What u1 is answered."""
    if zone:
        Contact.objects.get_or_create(
            channel="testchat", user_id="u1", defaults={"preferences": {"timezone": zone}}
        )
    verbs.take_in(inbound(f"{number}", text))
    return texts()[-1]


def test_a_reminder_is_planned_in_the_persons_zone_and_comes(verbs: Verbs, clock: Clock) -> None:
    clock.time = NOW
    answer = say(verbs, 1, "/remind 18:30 call Ana", BERLIN)
    assert answer == (
        "I will remind you on Wednesday, 3 June 2026 at 18:30 (Europe/Berlin): call Ana"
    )
    assert not verbs.claim()  # no agent is asked
    (schedule,) = Schedule.objects.all()
    assert (schedule.next_run, schedule.created_by) == (at("2026-06-03T16:30"), "testchat:u1")
    Contact.objects.update(access="allowed")
    clock.time = at("2026-06-03T16:30")
    fire_due(clock())
    assert texts()[-1] == "call Ana"
    assert [claim.outbound.chat_id for claim in verbs.send()] == ["chat-u1"]


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../etc"])
def test_without_a_zone_of_their_own_it_is_the_settings(
    verbs: Verbs, clock: Clock, zone: str
) -> None:
    clock.time = NOW
    assert "at 18:30 (UTC)" in say(verbs, 1, "/remind 18:30 call Ana", zone)


def test_listed_and_cancelled_by_number(verbs: Verbs, clock: Clock) -> None:
    clock.time = NOW
    assert say(verbs, 1, "/remind list") == "Nothing is planned here."
    assert say(verbs, 2, "/Remind every day 9:00 take a walk") == (
        "I will remind you every day at 09:00, first on Thursday, 4 June 2026 at 09:00 (UTC): "
        "take a walk"
    )
    clock.advance(1)
    say(verbs, 3, "/remind 18:30 call Ana")
    assert say(verbs, 4, "/remind list").splitlines() == [
        "1. every day at 09:00, next Thursday, 4 June 2026 at 09:00 (UTC): take a walk",
        "2. Wednesday, 3 June 2026 at 18:30 (UTC): call Ana",
    ]
    assert say(verbs, 5, "/remind cancel 3").startswith("There is no number 3.")
    assert say(verbs, 6, "/remind cancel 1") == "Cancelled: take a walk"
    assert say(verbs, 7, "/remind list").startswith("1. Wednesday")


def test_what_cannot_be_done_is_said(verbs: Verbs, clock: Clock) -> None:
    clock.time = NOW
    assert say(verbs, 1, "/remind") == USAGE
    assert say(verbs, 2, "/remind every 10 seconds look up") == (
        "That cannot be done: every 10 seconds: at least 60."
    )
    assert say(verbs, 3, "/remind today 9:00 wake up").endswith("is past.")
    assert not Schedule.objects.exists()


def test_nobody_lists_or_cancels_anothers(verbs: Verbs, clock: Clock) -> None:
    say(verbs, 1, "/remind every day 9:00 take a walk")
    verbs.take_in(inbound("2", "/remind list", "u2"), inbound("3", "/remind cancel 1", "u2"))
    said = list(Message.objects.filter(session__scope_key="user:u2", role="system"))
    assert said[0].text == "Nothing is planned here."
    assert said[1].text.startswith("There is no number 1.")
    assert Schedule.objects.get().next_run


def test_in_a_group_it_comes_into_the_group(verbs: Verbs, clock: Clock) -> None:
    clock.time = NOW
    verbs.take_in(in_group("1", "/remind in 10 minutes lunch", target={"thread": 7}))
    Contact.objects.update(access="allowed")
    clock.advance(600)
    fire_due(clock())
    schedule = Schedule.objects.get()
    assert (schedule.scope_key, schedule.chat_id) == ("chat:g1:thread:7", "g1")
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])  # the answer
    (reminder,) = verbs.send()
    assert (reminder.outbound.text, reminder.is_group) == ("lunch", True)
    assert reminder.outbound.target["thread"] == 7


def test_a_groups_reminders_are_listed_in_all_of_its_threads(verbs: Verbs, clock: Clock) -> None:
    clock.time = NOW
    verbs.take_in(
        in_group("1", "/remind in 10 minutes lunch", target={"thread": 7}),
        in_group("2", "/remind in 20 minutes tea"),
        in_group("3", "/remind in 30 minutes elsewhere", chat_id="g12"),
    )
    verbs.take_in(in_group("4", "/remind cancel 1", "u2", target={"thread": 8}))
    verbs.take_in(in_group("5", "/remind list", "u2", target={"thread": 9}))
    listed = Message.objects.order_by("pk").last()
    assert listed is not None
    assert "tea" in listed.text and "lunch" not in listed.text and "else" not in listed.text


def test_other_words_that_begin_alike_are_messages(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "/reminder: lunch"))
    assert len(verbs.claim()) == 1
