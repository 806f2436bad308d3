"""The list of sessions: what it says of each, and what can be chosen."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from gateway.models import Delivery, Turn
from sessions_app.models import Message, Session
from tests.console.things import conversation, letter, turn

pytestmark = pytest.mark.django_db
LIST = "/admin/sessions_app/session/"


def replied(number: int) -> tuple[Session, Message]:
    """A session whose question was answered."""
    session = conversation(number)
    turn(session, "done", code="", error_code="")
    reply = Message.objects.create(
        session=session, seq=1001, role="assistant", origin="agent", text="fine", channel="webchat"
    )
    Session.objects.filter(pk=session.pk).update(last_seq=1001)
    return session, reply


def states(client: Client, query: str = "") -> dict[str, str]:
    """Person -> the state that the list tells."""
    page = client.get(LIST + query).content.decode()
    rows = re.findall(r"<bdi>(Person \d+)</bdi>.*?field-standing\">(.*?)</td>", page, re.DOTALL)
    return {name: re.sub("<[^>]*>", "", cell) for name, cell in rows}


@pytest.fixture
def everything() -> None:
    """Four conversations that went wrong, one that went well after it had not."""
    turn(conversation(1), "failed")
    turn(conversation(2))
    for number, code in ((3, "refused"), (4, "unsure")):
        session, reply = replied(number)
        letter(session, "", message=reply, state="sent")
        letter(session, code, message=reply, part=1)
    session, reply = replied(5)
    turn(session, "failed", upto_seq=0)
    letter(session, "discarded", message=reply)
    letter(session, message=Message.objects.get(session=session, seq=1000))


@pytest.mark.usefixtures("everything")
def test_what_went_wrong_last_is_a_sessions_state(admin_client: Client) -> None:
    assert states(admin_client) == {
        "Person 1": "not answered",
        "Person 2": "not answered",
        "Person 3": "not delivered",
        "Person 4": "delivery unsure",
        "Person 5": "active",
    }
    Session.objects.update(state="terminated")
    assert states(admin_client)["Person 1"] == "ended, not answered"
    assert states(admin_client)["Person 5"] == "ended"


@pytest.mark.usefixtures("everything")
def test_they_can_be_chosen(admin_client: Client) -> None:
    assert set(states(admin_client, "?work=unanswered")) == {"Person 1", "Person 2"}
    assert set(states(admin_client, "?work=undelivered")) == {"Person 3", "Person 4"}


@pytest.mark.usefixtures("everything")
def test_a_conversations_page_says_the_same(admin_client: Client) -> None:
    for number, word in ((1, "not answered"), (3, "not delivered"), (5, "active")):
        session = Session.objects.get(contact__user_id=f"u{number}")
        page = admin_client.get(f"{LIST}{session.pk}/change/").content.decode()
        head = page[page.index('id="head"') : page.index('id="scroller"')]
        assert f'">{word}</span>' in head


@pytest.mark.usefixtures("everything")
def test_a_session_that_is_asked_again_waits(admin_client: Client) -> None:
    Turn.objects.filter(state="failed", upto_seq=1000).update(state="queued")
    Delivery.objects.filter(state="failed").update(state="queued")
    assert states(admin_client)["Person 1"] == "waiting"
    assert states(admin_client)["Person 3"] == "active"
