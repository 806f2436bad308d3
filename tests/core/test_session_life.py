"""Sessions age: active, idle, terminated, forgotten; never while something is under way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django import Settings

from gateway import cleanup
from gateway.cleanup import clean_sessions, forget_sessions
from gateway.ledger.operate import terminate_sessions
from gateway.ledger.recovery import GATEWAY, beat, resume_sessions
from gateway.leftovers import forget_leftovers
from gateway.models import Delivery, PairingCode, SetAside, Turn
from sessions_app.models import Message, Session
from tests.conftest import Clock
from tests.core.kit import (
    CHANNEL,
    Verbs,
    history_of,
    inbound,
    open_sessions,
    queue,
    sent,
    texts,
)


def _pass(clock: Clock, seconds: float) -> int:
    """Time passes with the gateway up; the worker cleans. How many sessions ended."""
    clock.advance(seconds)
    beat(GATEWAY)
    return clean_sessions()


def _chat(verbs: Verbs, external_id: str, user: str = "u1") -> None:
    """A question, answered and sent."""
    verbs.converse(external_id, f"q{external_id}", user)
    verbs.finish_deliveries([sent(claim) for claim in verbs.send()])


def _state() -> str:
    return Session.objects.get().state


def test_a_session_is_active_then_idle_then_terminated(verbs: Verbs, clock: Clock) -> None:
    _chat(verbs, "1")
    assert (_pass(clock, 299), _state()) == (0, "active")
    assert (_pass(clock, 1), _state()) == (0, "idle")
    assert (_pass(clock, 599), _state()) == (0, "idle")
    assert (_pass(clock, 1), _state()) == (1, "terminated")
    assert Session.objects.get().ended_at == clock()
    assert _pass(clock, 300) == 0


def test_an_idle_session_is_active_again_with_the_next_message(verbs: Verbs, clock: Clock) -> None:
    _chat(verbs, "1")
    _pass(clock, 400)
    verbs.take_in(inbound("2"))
    assert _state() == "active"
    assert texts() == ["q1", "re q1", "hello"]


def test_after_a_time_out_a_person_gets_a_new_session(verbs: Verbs, clock: Clock) -> None:
    _chat(verbs, "1")
    _pass(clock, 900)
    verbs.take_in(inbound("2", "new"))
    assert history_of(verbs.claim_one()) == [("user", "new")]
    assert Session.objects.count() == 2


def test_or_the_old_one_where_set_so(verbs: Verbs, clock: Clock) -> None:
    keeper = Verbs(restore=True)
    _chat(keeper, "1")
    _pass(clock, 900)
    keeper.take_in(inbound("2", "new"))
    assert [content for _, content in history_of(keeper.claim_one())] == ["q1", "re q1", "new"]
    session = Session.objects.get()
    assert (session.state, session.ended_at) == ("active", None)
    assert session.expires_at == clock() + timedelta(seconds=900)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "too late"])
@pytest.mark.parametrize("how", ["/new", "operator"])
def test_what_was_ended_on_purpose_is_not_brought_back(
    verbs: Verbs, clock: Clock, how: str, late: bool
) -> None:
    """With OPENCLAW_RESTORE=always too: /new begins a new conversation, and so does who returns."""
    keeper = Verbs(restore=True)
    _chat(keeper, "1")
    if late:
        keeper.take_in(inbound("2", "waits"))  # so that its time passes without an end
        clock.advance(1000)
    (session,) = open_sessions()
    if how == "/new":
        keeper.take_in(inbound("3", "/new"))
    else:
        terminate_sessions("ada", [session.pk])
    keeper.take_in(inbound("4", "anew"))
    assert history_of(keeper.claim_one()) == [("user", "anew")]
    assert [one.pk for one in open_sessions()] != [session.pk]


@pytest.mark.parametrize("work", ["queued", "running", "delivery", "sending"])
def test_a_session_with_work_in_flight_is_left_alone(verbs: Verbs, clock: Clock, work: str) -> None:
    """OC 127211: accepted messages dead-lettered behind a long turn."""
    verbs.take_in(inbound("1"))
    if work != "queued":
        turn = verbs.claim_one()
        if work in ("delivery", "sending"):
            verbs.answer(turn)
        if work == "sending":
            verbs.send()
    assert _pass(clock, 100_000) == 0
    assert len(open_sessions()) == 1
    Turn.objects.update(state="done")
    Delivery.objects.update(state="sent")
    assert _pass(clock, 1) == 1


def test_an_unsure_delivery_holds_no_session_open(verbs: Verbs, clock: Clock) -> None:
    _chat(verbs, "1")
    Delivery.objects.update(state="unsure")
    assert _pass(clock, 900) == 1


def test_only_the_idle_end(verbs: Verbs, clock: Clock) -> None:
    _chat(verbs, "1", "u1")
    clock.advance(500)
    _chat(verbs, "2", "u2")
    assert _pass(clock, 400) == 1
    assert [session.scope_key for session in open_sessions()] == ["user:u2"]


def test_many_sessions_end_in_several_commits(
    verbs: Verbs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 3)
    verbs.take_in(*(inbound(f"{n}", user=f"u{n}") for n in range(7)))
    Turn.objects.update(state="done")
    assert _pass(clock, 900) == 7
    assert open_sessions() == []


def test_nothing_ends_while_the_gateway_is_down(verbs: Verbs, clock: Clock) -> None:
    """Time that nobody could write in does not count."""
    _chat(verbs, "1")
    assert clean_sessions() == 0  # no sign of life at all
    beat(GATEWAY)
    clock.advance(3600)
    assert clean_sessions() == 0
    assert _state() == "active"


@pytest.mark.parametrize("quiet", [11, 30, 59])
def test_time_since_the_gateways_last_sign_of_life_does_not_count(
    verbs: Verbs, clock: Clock, quiet: float
) -> None:
    """It may have died right after it: the worker must not end what a restart would go on with."""
    _chat(verbs, "1")
    assert _pass(clock, 895) == 0
    clock.advance(quiet)
    assert clean_sessions() == 0
    assert _state() == "idle"
    beat(GATEWAY)  # it lives, and only had not said so
    assert clean_sessions() == 1


def test_a_session_that_would_have_ended_while_the_gateway_was_down_goes_on(
    verbs: Verbs, clock: Clock
) -> None:
    """OPENCLAW_RESTORE=on_restart, with the worker running all the time."""
    _chat(verbs, "1")
    assert _pass(clock, 895) == 0
    for _ in range(60):
        clock.advance(60)
        assert clean_sessions() == 0
    resume_sessions(verbs.sessions, "on_restart")
    beat(GATEWAY)
    assert clean_sessions() == 0
    verbs.take_in(inbound("2", "hello again"))
    assert texts() == ["q1", "re q1", "hello again"]


def test_each_channel_has_its_own_time_out(verbs: Verbs, clock: Clock, settings: Settings) -> None:
    settings.OPENCLAW_CHANNELS = [CHANNEL, "slowchat"]
    settings.OPENCLAW_CHANNEL_SETTINGS = {"slowchat": {"idle_seconds": "3600"}}
    verbs.take_in(inbound("1"))
    verbs.take_in(inbound("2"), channel="slowchat")
    Turn.objects.update(state="done")
    assert _pass(clock, 900) == 1
    assert [(s.channel, s.state) for s in open_sessions()] == [("slowchat", "active")]
    _pass(clock, 300)
    assert [(s.channel, s.state) for s in open_sessions()] == [("slowchat", "idle")]
    assert _pass(clock, 2400) == 1


def test_old_conversations_are_forgotten_where_retention_is_set(
    verbs: Verbs, clock: Clock, settings: Settings
) -> None:
    _chat(verbs, "1", "u1")
    _pass(clock, 900)
    clock.advance(20 * 86400)
    _chat(verbs, "2", "u2")
    _pass(clock, 900)
    _chat(verbs, "3", "u3")
    clock.advance(11 * 86400)
    assert forget_sessions() == 0
    settings.OPENCLAW_RETENTION_DAYS, settings.OPENCLAW_JSON = 30, "off"
    assert forget_sessions() == 1
    assert sorted(texts()) == ["q2", "q3", "re q2", "re q3"]
    assert Delivery.objects.count() == Turn.objects.count() == 2


def test_a_terminated_session_is_brought_back_unless_there_is_a_new_one(
    verbs: Verbs, clock: Clock
) -> None:
    _chat(verbs, "1", "u1")
    _chat(verbs, "2", "u2")
    _pass(clock, 900)
    one, two = Session.objects.order_by("scope_key").values_list("pk", flat=True)
    _chat(verbs, "3", "u1")
    assert verbs.sessions.restore([one, two, "sess_none"], clock()) == [two]
    assert sorted(session.scope_key for session in open_sessions()) == ["user:u1", "user:u2"]
    assert verbs.sessions.restore([two], clock()) == []


def test_deliveries_without_a_session_do_not_matter_to_any(verbs: Verbs, clock: Clock) -> None:
    _chat(verbs, "1")
    queue("broadcast", "elsewhere")
    assert _pass(clock, 900) == 1
    assert Message.objects.count() == 2


def test_what_belongs_to_no_conversation_is_forgotten_too(verbs: Verbs, clock: Clock) -> None:
    """A person's words, ids and codes stood there for ever, whatever retention said."""
    _chat(verbs, "1")

    def leave(name: str) -> None:
        SetAside.objects.create(channel=CHANNEL, external_id=name, reason="odd", payload=name)
        queue(name, f"sent-{name}", state="sent")
        queue(name, f"dead-{name}", state="failed")
        queue(name, f"waits-{name}")
        PairingCode.objects.create(
            channel=CHANNEL,
            user_id=name,
            code=f"CODE{name.upper()}"[:8],
            expires_at=clock() + timedelta(hours=1),
        )

    leave("old")
    clock.advance(10 * 86_400)
    leave("new")
    assert forget_leftovers(clock() - timedelta(days=7)) == 4
    assert list(SetAside.objects.values_list("external_id", flat=True)) == ["new"]
    assert list(PairingCode.objects.values_list("user_id", flat=True)) == ["new"]
    kept = set(Delivery.objects.filter(session=None).values_list("chat_id", flat=True))
    assert kept == {"waits-old", "sent-new", "dead-new", "waits-new"}
    assert Delivery.objects.exclude(session=None).count() == 1
