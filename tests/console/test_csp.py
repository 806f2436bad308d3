"""The strict CSP, without inline script or style, holds on every page of the admin and the chat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.http.response import HttpResponseBase
from django.test import Client
from playwright.sync_api import Browser
from pytest_django.fixtures import Settings

from gateway.models import Agent, Delivery, Turn
from sessions_app.models import Session
from tests.console.crawl import Answer, crawl
from tests.console.full_house import FullHouse
from tests.console.things import NASTY, account, everything, superuser
from tests.web import browser as browsers

MORE = (
    "/admin/repair/?confirm=discard&what=letters&channel=webchat&code=refused",
    "/admin/repair/?confirm=discard&what=aside&key=1",
    "/admin/repair/?what=letters&channel=webchat&code=refused",
    "/admin/sessions_app/session/?q=nothing",
    "/admin/password_change/",
    "/admin/nowhere/",
    "/chat/nowhere/",
)
POLICY = {
    "default-src 'self'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "form-action 'self'",
}


class Inline(HTMLParser):
    """Collects what a strict policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script" and "src" not in values and values.get("type") != "application/json":
            self.found.append("<script>")
        if tag == "style":
            self.found.append("<style>")
        for name, value in attrs:
            if name == "style" or name.startswith("on") or name == "srcdoc":
                self.found.append(f"<{tag} {name}>")
            if (value or "").strip().lower().startswith(("javascript:", "data:text", "vbscript:")):
                self.found.append(f"<{tag} {name}={value!r}>")


def inline(text: str) -> list[str]:
    parser = Inline()
    parser.feed(text)
    return parser.found


def walk(client: Client) -> dict[str, tuple[str, Answer]]:
    """Every page this client may see."""

    def fetch(address: str) -> Answer:
        answer = client.get(address)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, headers, answer.content.decode(errors="replace"))

    return crawl(fetch, MORE)


@pytest.mark.django_db
def test_every_page_is_strict_and_escapes_what_was_written(client: Client) -> None:
    everything(NASTY)
    pages = {f"stranger: {name}": page for name, page in walk(Client()).items()}
    client.cookies["sessionid"] = superuser()
    pages |= walk(client)
    wanted = {
        "admin:index",
        "admin:live",
        "admin:repair",
        "chat",
        "api-docs",
        "stranger: admin:login",
    }
    for model in admin.site._registry:
        label = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        wanted |= {f"{label}_changelist"}
        if model._default_manager.exists():
            wanted |= {f"{label}_change"}
    assert wanted <= set(pages)
    for name, (address, answer) in pages.items():
        assert answer.status < 500, f"{name} {address}"
        policy = answer.headers.get("content-security-policy", "")
        assert {part.strip() for part in policy.split(";")} == POLICY, f"{name} {address}: {policy}"
        assert inline(answer.text) == [], f"{name} {address}"
        for hurt in ("<img src=x", "<svg onload", "<script>window"):
            assert hurt not in answer.text, f"{name} {address}"


def assert_strict(name: str, response: HttpResponseBase, status: int) -> None:
    """This page of ours obeys the policy, needs nothing inline, and escapes."""
    assert response.status_code == status, name
    policy = response.headers.get("content-security-policy", "")
    assert {part.strip() for part in policy.split(";")} == POLICY, f"{name}: {policy}"
    text = response.content.decode()  # type: ignore[attr-defined]  # none of them streams
    assert "<title>" in text, name
    assert inline(text) == [], name
    assert "<img src=x" not in text, name


@pytest.mark.django_db
def test_pages_of_refusal_are_strict_and_say_what_to_do(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.cookies["sessionid"] = superuser()
    client.raise_request_exception = False
    stranger = Client()
    stranger.force_login(account("viewer"))
    nobody = Client()
    nobody.force_login(User.objects.create_user("nobody", is_staff=True))
    forger = Client(enforce_csrf_checks=True)

    missing = client.get(f"/{quote(NASTY)}")
    assert_strict("404", missing, 404)
    assert "There is nothing here" in missing.content.decode()
    refused = nobody.get("/admin/live/")
    assert_strict("403", refused, 403)
    assert "may not do that" in refused.content.decode()
    assert_strict("403 on POST", stranger.post("/admin/repair/", {"do": "retry"}), 403)
    forged = forger.post("/admin/login/", {"username": NASTY, "password": "x"})
    assert_strict("403 CSRF", forged, 403)
    assert "form is too old" in forged.content.decode()
    bad = client.post("/admin/repair/", {"do": NASTY, "what": NASTY})
    assert_strict("400", bad, 400)
    assert "not understood" in bad.content.decode()

    def broken(request: object) -> None:
        raise RuntimeError(NASTY)

    monkeypatch.setattr("gateway.console.overview.context", broken)
    failed = client.get("/admin/")
    assert_strict("500", failed, 500)
    assert "on our side" in failed.content.decode()


@pytest.mark.django_db
def test_answers_to_forms_are_strict(client: Client) -> None:
    everything(NASTY)
    client.cookies["sessionid"] = superuser()
    wrong = {"username": NASTY, "password": "wrong"}
    assert_strict("login refused", Client().post("/admin/login/", wrong), 200)
    assert_strict("chat login refused", Client().post("/chat/login/", wrong), 200)
    for table in ("agent", "routingrule"):
        found = client.post(f"/admin/gateway/{table}/add/", {"name": NASTY})
        assert_strict(f"{table} refused", found, 200)
    session = Session.objects.order_by("pk")[0]
    agent = Agent.objects.get()
    chosen = {"action": "delete_selected", "_selected_action": agent.pk}
    assert_strict("asked", client.post("/admin/gateway/agent/", chosen), 200)
    forms: list[tuple[str, dict[str, Any]]] = [
        ("sessions_app/session/", {"action": "terminate_sessions", "_selected_action": session.pk}),
        ("sessions_app/session/", {"action": "", "_selected_action": session.pk}),
        (f"sessions_app/session/{session.pk}/act/", {"do": "restore"}),
        ("repair/", {"do": "retry", "what": "letters", "key": Delivery.objects.all()[0].pk}),
        (
            "gateway/turn/",
            {"action": "requeue_turns", "_selected_action": Turn.objects.all()[0].pk},
        ),
    ]
    for address, form in forms:
        assert_strict(address, client.post(f"/admin/{address}", form, follow=True), 200)


@pytest.mark.django_db
def test_the_page_for_too_many_passwords_is_strict(settings: Settings) -> None:
    settings.AXES_ENABLED = True
    account("ada")
    wrong = {"username": "ada", "password": "wrong"}
    client = Client()
    tries = [client.post("/admin/login/", wrong) for _ in range(settings.AXES_FAILURE_LIMIT + 1)]
    assert_strict("429", tries[-1], 429)


def test_this_test_sees_what_it_looks_for() -> None:
    assert inline('<p style="x">') == ["<p style>"]
    assert inline("<script>1</script>") == ["<script>"]
    assert inline("<a href=' javascript:1' onclick=2>") == [
        "<a href=' javascript:1'>",
        "<a onclick>",
    ]
    assert inline('<script src="/x.js"></script><p class="style">on</p>') == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullHouse]:
    with FullHouse.open(tmp_path_factory.mktemp("full")) as house:
        yield house


@pytest.mark.heavy
@pytest.mark.skipif(
    not Path(browsers.CHROMIUM).exists() and not os.environ.get("CI"),
    reason="needs Debian's chromium at /usr/bin/chromium",
)
def test_browser_reports_no_breach_on_any_page(house: FullHouse, browser: Browser) -> None:
    context = house.person(browser)
    context.add_init_script(
        "window.breaches = [];"
        "document.addEventListener('securitypolicyviolation',"
        " (event) => breaches.push(event.violatedDirective + ' ' + event.blockedURI"
        " + ' ' + event.sourceFile));"
    )
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
    found = crawl(house.fetch, MORE)
    assert len(found) > 30
    for name, (address, _) in found.items():
        page.goto(house.url + address, wait_until="load")
        assert page.evaluate("window.breaches") == [], name
        assert page.evaluate("window.hurt") is None, name
    context.close()
    assert errors == []
