"""What is planned is shown as system-generated, wherever a conversation is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse

from gateway.announce import Announcements
from gateway.chat import history
from gateway.ledger.outreach import reach_out
from gateway.models import Turn
from sessions_app import archive
from sessions_app.models import Contact, Message, Session
from sessions_app.transcript import render_transcript
from tests.conftest import Clock
from tests.core.kit import Verbs, arrival, inbound
from tests.schedules.test_outreach import OUTREACH

HERE = replace(OUTREACH, channel="webchat")


@pytest.fixture
def session(verbs: Verbs, clock: Clock) -> Session:
    """A conversation with an answer, a planned text, and the answer to a planned prompt."""
    Contact.objects.create(channel="webchat", user_id="u1", name="Ana", access="allowed")
    verbs.ingest([arrival(inbound("1", "hello"), channel="webchat")])
    verbs.answer(verbs.claim_one(), "hi")
    reach_out(replace(HERE, text="good morning"), clock())
    reach_out(replace(HERE, prompt="sum up the day"), clock())
    verbs.answer(verbs.claim_one(), "a quiet day")
    return Session.objects.get()


def test_in_the_admin(session: Session, admin_client: Client) -> None:
    address = reverse("admin:sessions_app_session_change", args=(session.pk,))
    page = admin_client.get(address).content.decode()
    assert page.count("Planned, system-generated") == 3
    (turn,) = Turn.objects.filter(upto_seq=3000)
    assert page.count(f'data-turn="{turn.pk}"') == 1  # beside its answer, not by itself
    assert 'id="tturn_' not in page


def test_in_the_web_chat_where_nobody_sees_what_a_program_asked(session: Session) -> None:
    entries, _ = history.latest("u1")
    assert [(entry["text"], entry.get("generated", False)) for entry in entries] == [
        ("hello", False),
        ("hi", False),
        ("good morning", True),
        ("a quiet day", True),
    ]
    assert entries[3]["turn"] == Turn.objects.get(upto_seq=3000).pk


def test_in_a_transcript(session: Session) -> None:
    (whole,) = archive.read([archive.Wanted(session.pk)])
    page = render_transcript(whole)
    assert page.count("<bdi>Schedule</bdi>, system-generated") == 3


def test_open_pages_hear_of_what_another_process_said(session: Session, clock: Clock) -> None:
    announcements = Announcements()
    assert announcements.fresh() == []
    reached = reach_out(replace(HERE, text="and another"), clock())
    reach_out(replace(HERE, prompt="a question that nobody is to see"), clock())
    assert announcements.fresh() == [(session.pk, reached.message)]
    assert announcements.fresh() == []
    assert Message.objects.filter(generated=True).count() == 5
