"""Planned sends in a real browser: in an open chat page, and in the operator's lists."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import Page, expect

from tests.process import manage
from tests.web import browser as browsers
from tests.web.house import SECRET, House

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]

_FIRE = """
from django.contrib.auth.models import User
from django.test import Client
from gateway.ledger.firing import fire_due
from gateway.models import Schedule
from sessions_app import clock
Schedule.objects.update(next_run=clock.now())
assert fire_due(clock.now()) == 1
client = Client()
client.force_login(User.objects.create_superuser("root"))
print(client.session.session_key)
"""


def fire(house: House) -> str:
    """In another process, as the worker does. Returns a superuser's login."""
    folder = house.gateway.data_dir
    env = {"OPENCLAW_SECRET_KEY": SECRET}
    return manage("shell", "-v", "0", "-c", _FIRE, data_dir=folder, env=env).split()[-1]


def problems_of(page: Page) -> list[str]:
    """What the browser complains about from now on."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda said: found.append(said.text) if "Content Sec" in said.text else None)
    return found


def test_what_was_planned_appears_in_an_open_page_and_in_the_lists() -> None:
    with House.open(OPENCLAW_DRAIN_SECONDS="0.5") as house, browsers.running() as browser:
        page = browsers.new_person(browser).new_page()
        problems = problems_of(page)
        page.goto(house.invite("Ada")[0])
        page.get_by_label("Your message").fill("/remind every day 9:00 take a walk")
        page.keyboard.press("Enter")
        expect(page.locator(".entry.system")).to_contain_text("every day at 09:00")

        login = fire(house)

        planned = page.locator(".entry.assistant")
        expect(planned).to_have_count(1)
        expect(planned).to_contain_text("take a walk")
        expect(planned.locator(".by")).to_have_text("System-generated")
        browsers.picture(page, "planned-chat")
        page.reload()
        expect(planned.locator(".by")).to_have_text("System-generated")

        operator = browsers.new_person(browser)
        operator.add_cookies([{"name": "sessionid", "value": login, "url": house.url}])
        admin = operator.new_page()
        problems += problems_of(admin)
        admin.goto(f"{house.url}/admin/gateway/schedule/")
        row = admin.locator("#result_list tbody tr")
        expect(row).to_contain_text("every day at 09:00")
        expect(row).to_contain_text("Ada")
        browsers.picture(admin, "planned-list")
        row.locator("a").first.click()
        expect(admin.locator("#schedule_form")).to_contain_text(re.compile("under way|ran"))
        browsers.picture(admin, "planned-schedule", whole=True)
        admin.goto(f"{house.url}/admin/gateway/schedule/add/")
        expect(admin.get_by_label("Session")).to_be_visible()
        browsers.picture(admin, "planned-add", whole=True)
        assert problems == []
