"""A grant is signed, ends, and is for one session."""

from __future__ import annotations

import pytest
from django.core import signing
from pytest_django.fixtures import Settings

from gateway.api import grants
from tests.api.kit import Caller, agent_of, group_of, person, refused, session_of
from tests.conftest import Clock

pytestmark = pytest.mark.django_db


def test_agent_sees_the_conversation_it_answers() -> None:
    ann = person("Ann", preferences={"timezone": "Europe/Paris"}, notes={"cat": "Tom"})
    session = session_of(ann)
    assert agent_of(session).get("/me").json() == {
        "session": session.pk,
        "channel": "webchat",
        "chatId": "u-Ann",
        "person": {
            "name": "Ann",
            "preferences": {"timezone": "Europe/Paris"},
            "notes": {"cat": "Tom"},
        },
        "timezone": "Europe/Paris",
    }


def test_group_is_nobodys_alone() -> None:
    session = group_of(person("Ann", notes={"secret": "x"}, preferences={"timezone": "Asia/Tokyo"}))
    me = agent_of(session).get("/me").json()
    assert me["person"] == {"name": "", "preferences": {}, "notes": {}}
    assert me["timezone"] == "UTC"


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "", 7, None, ["UTC"], "\0"])
def test_time_zone_that_is_none_is_the_gateways(zone: object) -> None:
    session = session_of(person("Ann", preferences={"timezone": zone}))
    assert agent_of(session).get("/me").json()["timezone"] == "UTC"


def test_grant_outlives_the_longest_turn_by_an_hour(clock: Clock, settings: Settings) -> None:
    settings.OPENCLAW_AGENT_TOTAL_SECONDS = 900.0
    agent = agent_of(session_of(person("Ann")))
    clock.advance(900 + 3599)
    assert agent.get("/me").status_code == 200
    clock.advance(1)
    assert "over" in refused(agent.get("/me"), 401)


def test_grant_is_dead_at_once_when_its_session_ends() -> None:
    session = session_of(person("Ann"))
    agent = agent_of(session)
    assert agent.get("/me").status_code == 200
    session.state = "terminated"
    session.save()
    refused(agent.get("/me"), 401)
    session.delete()
    refused(agent.get("/me"), 401)


def test_grant_is_dead_at_once_when_its_person_is_blocked() -> None:
    ann = person("Ann")
    direct, group, own = session_of(ann), group_of(ann), group_of(ann, chat_id="g2")
    own.scope_key = "chat:g2:user:u-Ann"  # one session per member
    own.save()
    ann.access = "blocked"
    ann.save()
    refused(agent_of(direct).get("/me"), 401)
    refused(agent_of(own).get("/me"), 401)
    assert agent_of(group).get("/me").status_code == 200


def test_grant_that_was_tampered_with_counts_for_nothing() -> None:
    session = session_of(person("Ann"))
    token = grants.grant(session.pk)
    foreign = grants.PREFIX + signing.dumps([session.pk, 9_999_999_999], salt="another")
    invented = grants.PREFIX + signing.dumps([session.pk, 9_999_999_999], key="k" * 50)
    for wrong in (token[:-1], token + "x", token[3:], token.swapcase(), foreign, invented, "og_"):
        refused(Caller(wrong).get("/me"), 401)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dTpw", "Token x", "Bearer \u00e9", "Bearer og_a b"]
)
def test_without_a_token_nobody_gets_in(header: str) -> None:
    answer = Caller("").call("GET", "/me", authorization=header)
    refused(answer, 401)
    assert answer["WWW-Authenticate"] == "Bearer"


def test_url_for_agents_is_this_machines_own_unless_set(settings: Settings) -> None:
    settings.OPENCLAW_PORT = 8123
    assert grants.access("sess_1")["url"] == "http://127.0.0.1:8123/api/v1"
    settings.OPENCLAW_AGENT_API_URL = "http://10.0.0.2:8000/api/v1"
    assert grants.access("sess_1")["url"] == "http://10.0.0.2:8000/api/v1"
