"""The gateway speaks first: in the right session, to who may be written to, and marked as such."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_django import Settings

from gateway.ledger.outreach import NotAdmitted, Outreach, reach_out
from gateway.models import Delivery, Turn
from sessions_app import clock as app_clock
from sessions_app.models import Contact, ContactAlias, Message, Session
from tests.conftest import Clock
from tests.core.kit import CHANNEL, Verbs, inbound, open_sessions, texts

OUTREACH = Outreach(CHANNEL, "user:u1", "u1", "chat-u1", {}, "schedule")
TEXT, PROMPT = replace(OUTREACH, text="good morning"), replace(OUTREACH, prompt="sum up the day")


@pytest.fixture(autouse=True)
def known(verbs: Verbs) -> Contact:
    """u1 has been let in; nobody else."""
    return Contact.objects.create(channel=CHANNEL, user_id="u1", name="Ana", access="allowed")


def test_a_text_makes_a_session_and_goes_out(verbs: Verbs, clock: Clock) -> None:
    reached = reach_out(TEXT, clock())
    message = Message.objects.get(pk=reached.message)
    assert (message.role, message.origin, message.generated) == ("assistant", "schedule", True)
    assert (message.session_id, message.disposition, reached.turn) == (reached.session, "", "")
    (sent,) = verbs.send()
    assert (sent.outbound.text, sent.outbound.chat_id, sent.is_group) == (
        "good morning",
        "chat-u1",
        False,
    )
    assert list(reached.deliveries) == [Delivery.objects.get().key]
    assert Delivery.objects.get().message_id == message.pk
    assert Contact.objects.get().name == "Ana"


def test_it_goes_into_the_open_session_and_keeps_it_open(verbs: Verbs, clock: Clock) -> None:
    verbs.converse("1")
    clock.advance(600)
    reached = reach_out(TEXT, clock())
    assert texts(reached.session) == ["hello", "re hello", "good morning"]
    assert open_sessions()[0].expires_at == clock() + timedelta(seconds=900)


def test_a_session_idle_for_too_long_ends_first(verbs: Verbs, clock: Clock) -> None:
    verbs.converse("1")
    Delivery.objects.update(state="sent")
    clock.advance(901)
    assert texts(reach_out(TEXT, clock()).session) == ["good morning"]
    assert len(open_sessions()) == 1


def test_a_prompt_runs_a_turn_whose_answer_is_marked(verbs: Verbs, clock: Clock) -> None:
    reached = reach_out(PROMPT, clock())
    turn = verbs.claim_one()
    assert (turn.id, turn.origin, turn.user_id, turn.name) == (
        reached.turn,
        "schedule",
        "u1",
        "Ana",
    )
    assert not Delivery.objects.exists()
    verbs.answer(turn, "a quiet day")
    (sent,) = verbs.send()
    assert sent.outbound.text == "a quiet day"
    question, answer = Message.objects.order_by("seq")
    assert (question.role, question.disposition, question.generated) == ("user", "answered", True)
    assert (answer.origin, answer.generated) == ("schedule", True)


def test_an_answer_to_a_person_is_not_marked(verbs: Verbs) -> None:
    verbs.converse("1")
    assert not Message.objects.filter(generated=True).exists()
    assert Message.objects.get(role="assistant").origin == "agent"


def test_a_prompt_joins_what_waits(verbs: Verbs, clock: Clock) -> None:
    verbs.take_in(inbound("1"))
    reached = reach_out(PROMPT, clock())
    assert Turn.objects.get().pk == reached.turn == verbs.claim_one().id


def test_where_an_operator_answers_a_text_goes_out_and_a_prompt_waits_for_them(
    verbs: Verbs, clock: Clock
) -> None:
    verbs.converse("1")
    Session.objects.update(handler="operator")
    assert reach_out(TEXT, clock()).deliveries
    reached = reach_out(PROMPT, clock())
    assert Message.objects.get(pk=reached.message).disposition == "handed_over"
    assert (reached.turn, Turn.objects.filter(state="queued").exists()) == ("", False)


@pytest.mark.parametrize("access", ["blocked", "pending", None])
def test_who_is_not_let_in_is_not_written_to(
    verbs: Verbs, clock: Clock, access: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    if access:
        Contact.objects.update(access=access)
    else:
        Contact.objects.all().delete()
    with pytest.raises(NotAdmitted, match="blocked" if access == "blocked" else "not let in"):
        reach_out(TEXT, clock())
    assert Contact.objects.count() == (1 if access else 0)
    assert not Session.objects.exists()
    (line,) = [r.getMessage() for r in caplog.records if r.name == "gateway.ledger.outreach"]
    assert "good morning" not in line


@pytest.mark.parametrize("rule", [{"access": "open"}, {"access": "allowlist", "allow": "u9,u2"}])
def test_the_channels_rules_let_in_who_is_not_known(
    verbs: Verbs, clock: Clock, settings: Settings, rule: dict[str, str]
) -> None:
    settings.OPENCLAW_CHANNEL_SETTINGS = {CHANNEL: rule}
    reach_out(replace(TEXT, scope_key="user:u2", user_id="u2", name="Ben"), clock())
    assert Contact.objects.get(user_id="u2").name == "Ben"


def test_another_id_of_a_person_leads_to_the_same_conversation(verbs: Verbs, clock: Clock) -> None:
    contact = Contact.objects.get()
    ContactAlias.objects.create(channel=CHANNEL, user_id="u1-new", contact=contact)
    reached = reach_out(replace(TEXT, scope_key="user:u1-new", user_id="u1-new"), clock())
    assert Session.objects.get(pk=reached.session).scope_key == "user:u1"


def test_an_id_that_was_given_to_somebody_else_leads_to_them(
    verbs: Verbs, clock: Clock, settings: Settings
) -> None:
    settings.OPENCLAW_CHANNEL_SETTINGS = {CHANNEL: {"access": "open"}}
    other = Contact.objects.create(channel=CHANNEL, user_id="u2")
    ContactAlias.objects.create(channel=CHANNEL, user_id="u1", contact=other)
    reached = reach_out(TEXT, clock())
    assert Session.objects.get(pk=reached.session).scope_key == "user:u2"


def test_a_group_is_written_to_where_the_target_says(verbs: Verbs, clock: Clock) -> None:
    group = replace(TEXT, scope_key="chat:g1", chat_id="g1", target={"thread": 7})
    reach_out(group, clock())
    (sent,) = verbs.send()
    assert (sent.outbound.chat_id, sent.is_group) == ("g1", True)
    assert sent.outbound.target["thread"] == 7


def test_the_same_external_id_says_nothing_twice(verbs: Verbs, clock: Clock) -> None:
    first = reach_out(replace(TEXT, external_id="k1"), clock())
    again = reach_out(replace(TEXT, external_id="k1"), clock())
    assert (again.session, again.message, again.deliveries) == (first.session, None, ())
    assert Delivery.objects.count() == 1


def test_a_long_text_goes_out_in_parts_by_the_platforms_facts(verbs: Verbs, clock: Clock) -> None:
    """Also where no adapter was built: the facts stand in the channel's file."""
    Contact.objects.update(channel="telegram")
    long = replace(TEXT, channel="telegram", text="word " * 2000)
    assert len(reach_out(long, app_clock.now()).deliveries) == 3
    assert Delivery.objects.filter(part=2).get().text.endswith("word")


def test_files_go_out_and_are_kept_with_the_message(verbs: Verbs, clock: Clock) -> None:
    file = {"kind": "image", "path": "ab/c.png", "mime": "image/png", "name": "c.png", "size": 9}
    Contact.objects.update(channel="telegram")
    reached = reach_out(replace(TEXT, channel="telegram", attachments=[file]), clock())
    assert len(reached.deliveries) == 2
    assert Message.objects.get(pk=reached.message).attachments.get().path == "ab/c.png"
