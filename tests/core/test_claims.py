"""What a claim costs and survives: crowds that nobody answers, rows that nobody can read."""

from __future__ import annotations

import pytest

from adapters.base import Media
from gateway.ledger import files
from gateway.ledger.claims import CROWD, PASS_SECONDS
from gateway.ledger.operate import requeue_turns
from gateway.ledger.recovery import close_quarantined
from gateway.models import Delivery, Turn
from sessions_app.models import Contact, Message
from tests.conftest import Clock
from tests.core.kit import Verbs, dispositions, inbound

DEEP = 300
"""Levels of nesting that Django writes and `orjson` does not."""


def _nested(levels: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for _ in range(levels):
        found = {"in": found}
    return found


# --- rows that cannot be read -------------------------------------------------------------------


def test_a_turn_that_cannot_be_read_is_quarantined_alone(verbs: Verbs) -> None:
    """OC 92270: one row of somebody's must not stop the answers to everybody else."""
    verbs.take_in(inbound("1", "bad", user="u1"))
    verbs.take_in(inbound("2", "good", user="u2"))
    verbs.take_in(inbound("3", "too", user="u3"))
    Message.objects.filter(text="bad").update(context=_nested(DEEP))
    claimed = verbs.claim()
    assert sorted(turn.user_id for turn in claimed) == ["u2", "u3"]
    for turn in claimed:
        verbs.answer(turn)
    assert dispositions() == {"bad": "failed", "good": "answered", "too": "answered"}
    turn = Turn.objects.get(state="quarantined")
    assert (turn.error_code, turn.lease_owner, turn.attempts) == ("unreadable", "", 1)
    assert turn.error_detail


def test_its_person_is_told_and_an_operator_can_try_again(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "bad"))
    Message.objects.update(context=_nested(DEEP))
    assert verbs.claim() == []
    (turn,) = close_quarantined(verbs.sessions, "sorry")
    assert Delivery.objects.get().text == "sorry"
    Message.objects.update(context={})
    requeue_turns("ada", [turn])
    verbs.answer(verbs.claim_one())
    assert dispositions() == {"bad": "answered"}


def test_history_is_whole_after_a_turn_that_could_not_be_read(verbs: Verbs) -> None:
    for number in (1, 2):
        verbs.take_in(inbound(f"{number}", f"q{number}", user=f"u{number}"))
        verbs.answer(verbs.claim_one(), f"a{number}")
    verbs.take_in(inbound("3", "bad", user="u1"), inbound("4", "q4", user="u2"))
    Message.objects.filter(text="bad").update(context=_nested(DEEP))
    (turn,) = verbs.claim()
    assert [b"q2" in turn.history[0], b"a2" in turn.history[1], b"q4" in turn.history[2]] == [
        True
    ] * 3
    assert len(turn.history) == 3


@pytest.mark.parametrize("field", ["notes", "preferences"])
def test_half_an_emoji_in_a_note_about_somebody_stops_nobody(verbs: Verbs, field: str) -> None:
    """The admin keeps what a form says as JSON; the agent gets what can be written as text."""
    verbs.take_in(inbound("1", "a"))
    Contact.objects.update(**{field: {"note": "so \ud83d"}})
    turn = verbs.claim_one()
    assert turn.person[field] == {"note": "so \ufffd"}


def test_a_notice_that_has_nowhere_to_go_stops_no_sign_of_life(verbs: Verbs) -> None:
    verbs.take_in(inbound("1", "bad", user="u1"), inbound("2", "worse", user="u2"))
    Turn.objects.update(state="quarantined")
    Message.objects.filter(text="bad").update(target=_nested(DEEP))
    assert len(close_quarantined(verbs.sessions, "sorry")) == 2
    assert Delivery.objects.get().chat_id == "chat-u2"
    assert close_quarantined(verbs.sessions, "sorry") == []


# --- a crowd that nobody answers ----------------------------------------------------------------


class _Crowd:
    """`CROWD` turns of people whose agent is away, and who asked to be routed since."""

    def __init__(self, verbs: Verbs) -> None:
        self.verbs, self.away, self.now = verbs, True, 100.0
        self.asked: list[str] = []
        verbs.start_turns._route = self._route
        verbs.start_turns._monotonic = lambda: self.now
        for number in range(CROWD):
            verbs.take_in(inbound(f"w{number}", user=f"waits{number}"))

    def _route(self, channel: str, user: str, chat: str) -> int | None:
        self.asked.append(user)
        return None if self.away and user.startswith("waits") else 1

    def claim(self) -> list[str]:
        """Who is answered now."""
        self.asked.clear()
        return [turn.user_id for turn in self.verbs.claim(10)]


def test_a_crowd_that_waits_costs_the_others_nothing(verbs: Verbs, clock: Clock) -> None:
    """3,000 turns behind an agent that is away made every commit 45 ms longer."""
    crowd = _Crowd(verbs)
    assert crowd.claim() == []
    assert len(crowd.asked) >= CROWD
    for step in (1, 2):
        clock.advance(step)
        verbs.take_in(inbound(f"n{step}", user=f"new{step}"))
        assert crowd.claim() == [f"new{step}"]
        assert crowd.asked == [f"new{step}"]


def test_and_is_answered_soon_after_its_agent_is_back(verbs: Verbs) -> None:
    crowd = _Crowd(verbs)
    crowd.claim()
    crowd.away = False
    assert crowd.claim() == []
    crowd.now += PASS_SECONDS
    assert len(crowd.claim()) == 10
    assert len(crowd.claim()) == 10


def test_or_at_once_when_somebody_says_so(verbs: Verbs) -> None:
    crowd = _Crowd(verbs)
    crowd.claim()
    crowd.away = False
    verbs.start_turns.look_again()
    assert len(crowd.claim()) == 10


def test_a_few_that_wait_are_looked_at_each_time(verbs: Verbs) -> None:
    crowd = _Crowd(verbs)
    Turn.objects.filter(pk__in=list(Turn.objects.values_list("pk", flat=True)[:1])).delete()
    crowd.claim()
    crowd.away = False
    assert len(crowd.claim()) == 10


def test_who_was_answering_has_the_next_turn_at_once(verbs: Verbs, clock: Clock) -> None:
    """A message that came in mid-turn is older than the crowd that is passed over."""
    verbs.take_in(inbound("1", user="mine"))
    turn = verbs.claim_one()
    verbs.take_in(inbound("2", user="mine"))
    clock.advance(1)
    crowd = _Crowd(verbs)
    assert crowd.claim() == []
    verbs.answer(turn)
    assert crowd.claim() == ["mine"]
    assert crowd.asked == ["mine"]
    assert crowd.claim() == []


def test_so_has_whose_file_has_come(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1", user="mine", media=[Media("image", "handle")]), fetches_media=True)
    (file,) = files.StartFetches(lambda channel: True)(8)
    clock.advance(1)
    crowd = _Crowd(verbs)
    assert crowd.claim() == []
    files.finish_fetches([files.FinishedFile(file, "failed")], verbs.start_turns.freed)
    assert crowd.claim() == ["mine"]
    assert crowd.asked == ["mine"]


def test_many_that_are_freed_at_once_are_all_answered(verbs: Verbs, clock: Clock) -> None:
    users = [f"mine{number}" for number in range(12)]
    verbs.take_in(*(inbound(user, user=user) for user in users))
    turns = verbs.claim()
    verbs.take_in(*(inbound(f"{user} again", user=user) for user in users))
    clock.advance(1)
    crowd = _Crowd(verbs)
    assert crowd.claim() == []
    for turn in turns:
        verbs.answer(turn)
    answered = [*crowd.claim(), *crowd.claim()]
    assert sorted(answered) == sorted(users)


def test_files_of_a_channel_that_is_down_hide_no_others(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK_AT", 3)
    photo = Media("image", "handle")
    for number in range(4):
        verbs.take_in(inbound(f"d{number}", media=[photo]), channel="down", fetches_media=True)
    verbs.take_in(inbound("u", media=[photo]), channel="up", fetches_media=True)
    start = files.StartFetches(lambda channel: channel == "up")
    assert [file.channel for file in start(8)] == ["up"]
    assert start(8) == []
