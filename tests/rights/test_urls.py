"""Every address, as everybody: who is let through, and who is sent away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from openclaw_site import asgi
from tests.rights.people import EVERYBODY, Who, browser
from tests.rights.rows import KEY, fill
from tests.rights.tables import NOBODY, PAGES, TABLES, Ask, of_api, of_table

PUBLIC_BARE = {"/healthz", "/readyz"}
WEBHOOKS = "/webhooks/"

pytestmark = pytest.mark.django_db


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    """Every address of the project."""
    for entry in resolver.url_patterns:
        address = f"{prefix}{entry.pattern}"
        if isinstance(entry, URLPattern):
            yield address
        else:
            yield from patterns(entry, address)


def asks(address: str, rows: dict[str, str]) -> list[Ask]:
    """What is asked of an address. KeyError where nobody has said who may go there."""
    if address in PAGES:
        return PAGES[address]
    if address.startswith("api/v1/"):
        return of_api(address)
    _, app, model, part = address.split("/", 3)
    table = f"{app}.{model}"
    return of_table(part, TABLES[table], rows[table])


def fill_in(text: str, rows: dict[str, str]) -> str:
    return text.format(**rows) if text.startswith("{") else text


def url(address: str, ask: Ask, rows: dict[str, str]) -> str:
    """The address with its gaps filled."""
    if address.startswith("admin/^") or "(?P<url>" in address:
        return "/admin/" + next(iter((ask.path or {}).values())).rstrip("/") + "/"
    for name, value in (ask.path or {}).items():
        for gap in (f"<{name}>", f"<int:{name}>", f"<str:{name}>", f"<path:{name}>"):
            address = address.replace(gap, fill_in(value, rows))
    return f"/{address}"


def send(client: Client, address: str, ask: Ask, rows: dict[str, str]) -> HttpResponse:
    """The answer; what it changed is undone."""
    data: Any = {name: fill_in(value, rows) for name, value in (ask.data or {}).items()}
    with transaction.atomic():
        answer = getattr(client, ask.method)(url(address, ask, rows), data)
        transaction.set_rollback(True)
    assert isinstance(answer, HttpResponse)
    return answer


def let_through(answer: HttpResponse, ask: Ask) -> bool:
    """Neither refused nor sent to log in."""
    assert answer.status_code < 500 and (answer.status_code != 405 or ask.least is NOBODY)
    to_login = answer.status_code == 302 and "/login/" in answer["Location"]
    refused = answer.status_code in (401, 403, 405) or (ask.hidden and answer.status_code == 404)
    return not refused and not to_login


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name.lower())
def test_everybody_gets_as_far_as_the_table_says(who: Who) -> None:
    rows, client = fill(), browser(who)
    wrong = []
    for address in patterns(get_resolver()):
        for ask in asks(address, rows):
            if address == "chat/leave/" or address == "admin/logout/":
                continue  # they end the login: below
            answer = send(client, address, ask, rows)
            expected = who >= ask.least
            if let_through(answer, ask) != expected:
                wrong.append(f"{ask.method} {url(address, ask, rows)}: {answer.status_code}")
    assert wrong == []


def test_table_names_no_address_that_is_gone() -> None:
    there = set(patterns(get_resolver()))
    assert set(PAGES) <= there
    assert set(TABLES) == {model._meta.label_lower for model in admin.site._registry}


def test_what_answers_before_any_page_is_known() -> None:
    """Webhooks prove themselves by their platform's secret; health says nothing private."""
    assert set(asgi._BARE) == PUBLIC_BARE
    assert asgi.PREFIX == WEBHOOKS
    assert asgi.ENTRANCE == "/v1/"  # by API tokens: tests/entrance/
    assert asgi.MEDIA == "/media/"  # by signed links: tests/media/test_links.py


def test_stranger_is_sent_to_the_login_and_staff_without_rights_is_refused() -> None:
    rows = fill()
    page = "/admin/sessions_app/session/"
    stranger = browser(Who.STRANGER).get(page)
    assert stranger.status_code == 302 and stranger["Location"].startswith("/admin/login/")
    assert browser(Who.STAFF).get(page).status_code == 403
    assert rows


@pytest.mark.parametrize(
    ("who", "path"), [(Who.PERSON, "/chat/leave/"), (Who.STAFF, "/admin/logout/")]
)
def test_way_out_is_open_to_who_is_in(who: Who, path: str) -> None:
    client = browser(who)
    assert client.post(path).status_code in (200, 302)
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("who", [Who.VIEWER, Who.OPERATOR])
def test_who_only_looks_never_sees_a_key(who: Who) -> None:
    rows, client = fill(), browser(who)
    page = client.get(f"/admin/gateway/agent/{rows['gateway.agent']}/change/")
    assert page.status_code == 200 and KEY not in page.content.decode()
    assert "api_key" not in page.content.decode()


def test_forms_want_their_token() -> None:
    rows = fill()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = browser(Who.SUPERUSER).cookies
    own = (f"sessions_app/session/{rows['session']}/act/", f"compare/{rows['turn']}/")
    for path in ("live/cancel/", "repair/", *own):
        answer = strict.post(f"/admin/{path}", {"turn": rows["turn"]})
        assert answer.status_code == 403 and b"form is too old" in answer.content
