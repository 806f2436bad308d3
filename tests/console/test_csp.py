"""The strict CSP, without inline script or style, holds on every page of the admin and the chat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib import admin
from django.test import Client
from playwright.sync_api import Browser

from tests.console.crawl import Answer, crawl
from tests.console.full_house import FullHouse
from tests.console.things import NASTY, everything, superuser
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
