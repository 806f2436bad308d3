"""axe-core finds nothing serious on our pages: light, dark, 360 px wide."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.console.full_house import FullHouse
from tests.web import browser as browsers

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]

PAGES = {
    "start": "/admin/",
    "live": "/admin/live/",
    "repair": "/admin/repair/",
    "repair, one kind": "/admin/repair/?what=letters&channel=webchat&code=refused",
    "repair, question": "/admin/repair/?confirm=discard&what=letters&channel=webchat&code=refused",
    "repair, nothing": "/admin/repair/?channel=nowhere",
    "sessions": "/admin/sessions_app/session/",
    "session": "/admin/sessions_app/session/{session}/change/",
    "compare": "/admin/compare/{turn}/",
    "deliveries": "/admin/gateway/delivery/",
    "turns": "/admin/gateway/turn/",
    "turn": "/admin/gateway/turn/{turn}/change/",
    "delivery": "/admin/gateway/delivery/1/change/",
    "messages": "/admin/sessions_app/message/",
    "contacts": "/admin/sessions_app/contact/",
    "contact": "/admin/sessions_app/contact/1/change/",
    "rules": "/admin/gateway/routingrule/",
    "new rule": "/admin/gateway/routingrule/add/",
    "rule": "/admin/gateway/routingrule/1/change/",
    "agents": "/admin/gateway/agent/",
    "new agent": "/admin/gateway/agent/add/",
    "agent": "/admin/gateway/agent/1/change/",
    "audit": "/admin/gateway/audit/",
    "audit line": "/admin/gateway/audit/1/change/",
    "schedules": "/admin/gateway/schedule/",
    "new schedule": "/admin/gateway/schedule/add/",
    "occurrences": "/admin/gateway/occurrence/",
    "pairing codes": "/admin/gateway/pairingcode/",
    "set aside": "/admin/gateway/setaside/",
    "tokens": "/admin/gateway/apitoken/",
    "replays": "/admin/gateway/replay/",
    "attachments": "/admin/sessions_app/attachment/",
    "users": "/admin/auth/user/",
    "groups": "/admin/auth/group/",
    "nothing there": "/nowhere/",
    "chat": "/chat/",
    "login": "/admin/login/",
    "chat login": "/chat/login/",
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}},
}


def axe_source() -> Path:
    """Where the package keeps axe-core."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "axe.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullHouse]:
    with FullHouse.open(tmp_path_factory.mktemp("full")) as house:
        yield house


def faults(page: Page) -> list[str]:
    """What axe-core finds serious or critical, one line each."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.add_script_tag(path=axe_source())
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {' '.join(map(str, node['target']))} {node['failureSummary']}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def context_for(house: FullHouse, browser: Browser, name: str, look: str) -> BrowserContext:
    options = {**LOOKS[look], "bypass_csp": True, "reduced_motion": "reduce"}
    if "login" in name:
        return browsers.new_person(browser, **options)
    return house.person(browser, **options)


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_serious_on_any_page(house: FullHouse, browser: Browser, look: str) -> None:
    found = []
    for name, address in PAGES.items():
        context = context_for(house, browser, name, look)
        page = context.new_page()
        page.goto(house.url + address.format(session=house.session, turn=house.turn))
        if page.locator("#skeleton").count():
            page.locator("#skeleton").wait_for(state="hidden")
        for details in page.locator("#content details").all():
            details.evaluate("(element) => element.open = true")
        found += [f"{name}: {fault}" for fault in faults(page)]
        context.close()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_sticks_out_of_a_phone(house: FullHouse, browser: Browser, name: str) -> None:
    context = context_for(house, browser, name, "phone")
    page = context.new_page()
    page.goto(house.url + PAGES[name].format(session=house.session, turn=house.turn))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_axe_sees_a_fault(house: FullHouse, browser: Browser) -> None:
    context = context_for(house, browser, "start", "light")
    page = context.new_page()
    page.goto(f"{house.url}/admin/")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any(fault.startswith("button-name") for fault in faults(page))
    context.close()
