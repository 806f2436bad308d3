"""Stored tokens: made once, shown once, narrowed by scope and person, taken back."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from gateway.api import tokens
from gateway.models import ApiToken, Audit
from tests.api.kit import Caller, agent_of, person, program, refused, session_of, token
from tests.conftest import Clock
from tests.rights.people import EVERYBODY, Who, browser

pytestmark = pytest.mark.django_db

WHO_NEEDS = [  # (method, path, the scope it takes)
    ("GET", "/sessions", "sessions:read"),
    ("GET", "/sessions/sess_x", "sessions:read"),
    ("GET", "/sessions/sess_x/messages", "sessions:read"),
    ("GET", "/sessions/sess_x/context", "sessions:read"),
    ("PATCH", "/sessions/sess_x/context", "sessions:write"),
    ("POST", "/sessions/sess_x/terminate", "sessions:write"),
    ("POST", "/sessions/sess_x/restore", "sessions:write"),
    ("GET", "/turns", "turns:read"),
    ("GET", "/turns/turn_x", "turns:read"),
    ("POST", "/turns/turn_x/cancel", "turns:write"),
    ("POST", "/turns/turn_x/requeue", "turns:write"),
    ("GET", "/deliveries", "deliveries:read"),
    ("GET", "/deliveries/x", "deliveries:read"),
    ("POST", "/deliveries/x/retry", "deliveries:write"),
    ("POST", "/deliveries/x/discard", "deliveries:write"),
    ("GET", "/contacts", "contacts:read"),
    ("GET", "/contacts/1", "contacts:read"),
    ("GET", "/contacts/1/notes", "contacts:read"),
    ("PATCH", "/contacts/1/notes", "contacts:write"),
    ("GET", "/contacts/1/preferences", "contacts:read"),
    ("PATCH", "/contacts/1/preferences", "contacts:write"),
    ("POST", "/messages", "messages:write"),
]


@pytest.mark.parametrize(("method", "path", "scope"), WHO_NEEDS)
def test_only_the_scope_opens_the_door(method: str, path: str, scope: str) -> None:
    body = {} if method in ("PATCH", "POST") else None
    others = program(*(name for name in tokens.SCOPES if name != scope))
    assert scope in refused(others.call(method, path, body), 403)
    assert program(scope).call(method, path, body).status_code in (200, 404, 422)
    agent = agent_of(session_of(person("Ann")))
    assert "programs" in refused(agent.call(method, path, body), 403)


@pytest.mark.parametrize("path", ["/me", "/me/messages", "/me/usage", "/me/context"])
def test_no_program_is_an_agent(path: str) -> None:
    assert "agents" in refused(program().get(path), 403)


def test_token_counts_until_it_is_revoked_or_over(clock: Clock) -> None:
    until = clock() + timedelta(hours=1)
    row = token("turns:read", expires_at=until)
    caller = Caller(row.name)
    assert caller.get("/turns").status_code == 200
    clock.advance(3600)
    refused(caller.get("/turns"), 401)
    other = token("turns:read")
    assert tokens.revoke_tokens("root", [other.pk, row.pk]) == 2
    assert tokens.revoke_tokens("root", [other.pk]) == 0
    refused(Caller(other.name).get("/turns"), 401)


@pytest.mark.parametrize("wrong", ["oc_", "oc_unknown", "d", "oc_x y", "oc_" + "é"])
def test_token_that_nobody_made_counts_for_nothing(wrong: str) -> None:
    ApiToken.objects.create(name="t", digest="d", scopes=["turns:read"])
    refused(Caller(wrong).get("/turns"), 401)


def test_last_use_is_noted_once_a_minute(clock: Clock) -> None:
    row = token("turns:read")
    first = clock()
    for seconds in (0, 30, 29):
        clock.advance(seconds)
        assert Caller(row.name).get("/turns").status_code == 200
        row.refresh_from_db()
        assert row.last_used_at == first
    clock.advance(1)
    Caller(row.name).get("/turns")
    row.refresh_from_db()
    assert row.last_used_at == clock()


def made_by(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_api_token", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_command_shows_a_token_once_and_keeps_its_hash(clock: Clock) -> None:
    ann = person("Ann")
    arguments = ("--scope", "turns:read", "--contact", "webchat:u-Ann", "--days", "2")
    secret, told = made_by("reports", *arguments)
    row = ApiToken.objects.get()
    assert secret.startswith("oc_") and secret not in told and secret not in repr(row.__dict__)
    assert (row.name, row.scopes, row.contact) == ("reports", ["turns:read"], ann)
    assert row.expires_at == clock() + timedelta(days=2)
    assert Caller(secret).get("/turns").status_code == 200
    assert Audit.objects.get().action == "make_token"


def test_command_says_what_it_cannot_take() -> None:
    for arguments in (
        ("x",),
        ("x", "--scope", "everything"),
        ("", "--scope", "all"),
        ("x", "--scope", "all", "--contact", "webchat:nobody"),
        ("x", "--scope", "all", "--days", "0"),
    ):
        with pytest.raises(CommandError):
            made_by(*arguments)
    assert not ApiToken.objects.exists()
    made_by("x", "--scope", "all")
    assert set(ApiToken.objects.get().scopes) == set(tokens.SCOPES)


def test_admin_makes_a_token_and_shows_it_this_once() -> None:
    client = browser(Who.ADMIN)
    form = {"name": "reports", "scopes": ["turns:read", "sessions:read"], "contact": ""}
    answer: Any = client.post("/admin/gateway/apitoken/add/", form, follow=True)
    row = ApiToken.objects.get()
    assert row.scopes == ["sessions:read", "turns:read"]
    shown = answer.content.decode()
    secret = shown[shown.index("again: oc_") + 7 :][:46]
    assert Caller(secret).get("/turns").status_code == 200
    page = client.get(f"/admin/gateway/apitoken/{row.pk}/change/").content.decode()
    assert secret not in page and row.digest not in page
    assert secret not in str(list(Audit.objects.values()))
    assert [line.action for line in Audit.objects.all()] == ["make_token"]


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name.lower())
def test_only_an_admin_revokes(who: Who) -> None:
    row = token("turns:read")
    client: Client = browser(who)
    data = {"action": "revoke", "_selected_action": str(row.pk), "index": "0"}
    client.post("/admin/gateway/apitoken/", data)
    row.refresh_from_db()
    assert bool(row.revoked_at) == (who >= Who.ADMIN)
    assert Audit.objects.filter(action="revoke_token").exists() == (who >= Who.ADMIN)


def test_no_token_stands_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caller = program("turns:read")
    caller.get("/turns")
    Caller("oc_secret-thing").get("/turns")
    caller.get("/nowhere")
    assert caplog.text and caller.token not in caplog.text and "secret-thing" not in caplog.text
