"""With each turn an agent gets the way back, and whom it talks to."""

from __future__ import annotations

import pytest

from gateway.api.grants import read
from gateway.turns import _question
from sessions_app.models import Contact
from tests.core.kit import Verbs, in_group, inbound

pytestmark = pytest.mark.django_db


def test_agent_gets_a_grant_for_its_session_and_what_is_known_of_the_person(verbs: Verbs) -> None:
    verbs.take_in(inbound("m1", sender_name="Ann"))
    Contact.objects.update(preferences={"timezone": "Europe/Paris"}, notes={})
    turn = verbs.claim_one()
    asked = _question(turn)
    assert read(asked.gateway["token"]) == turn.session
    assert asked.person == {"name": "Ann", "preferences": {"timezone": "Europe/Paris"}}
    assert asked.gateway["token"] not in repr(asked)


def test_in_a_group_the_agent_hears_nothing_of_anyone(verbs: Verbs) -> None:
    verbs.take_in(in_group("m1", sender_name="Ann"))
    Contact.objects.update(notes={"secret": "x"})
    assert _question(verbs.claim_one()).person == {}
