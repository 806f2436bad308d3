"""One day of an operator in one piece: watch, stop, mend, end and restore, all in the browser."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console.live_house import SECRET, LiveHouse, until, watch
from tests.process import manage
from tests.web import browser as browsers
from tests.web.agent import Call

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
BLOCKED = {"status": 403, "description": "Forbidden: bot was blocked by the user"}
_LOGIN = "from tests.console.things import superuser; print('KEY', superuser())"
ADA, BO, CY = 501, 502, 503
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
}


class Story:
    """The people who write, and the operator's browser."""

    def __init__(self, house: LiveHouse, page: Page) -> None:
        self.house, self.page = house, page

    def write(self, user: int, name: str, text: str) -> Call:
        """Somebody writes on Telegram; the call their message becomes."""
        sender = {"from": {"id": user, "is_bot": False, "first_name": name}}
        self.house.say(user, text, **sender)
        return self.house.agent.wait_call()

    def answered(self, user: int, text: str) -> None:
        """That has arrived on the person's own phone."""
        self.house.telegram.wait_for(lambda: text in self.house.telegram.texts(user))

    def go(self, address: str) -> None:
        """The operator opens a page of the admin."""
        self.page.goto(f"{self.house.url}/admin/{address}")

    def audit(self) -> list[str]:
        """What was done by hand, in order."""
        rows = self.house.sql("SELECT action FROM gateway_audit WHERE actor = 'root' ORDER BY id")
        return [action for (action,) in rows]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A running gateway, and a page whose complaints fail the test."""
    problems: list[str] = []
    with LiveHouse.open(tmp_path) as house, browsers.running() as browser:
        env = {"OPENCLAW_SECRET_KEY": SECRET}
        said = manage("shell", "-v", "0", "-c", _LOGIN, data_dir=house.gateway.data_dir, env=env)
        house.logins["root"] = said.split("KEY")[1].strip()
        page = house.person(browser, "root").new_page()
        watch(page, problems)
        yield Story(house, page)
        assert page.evaluate("window.hurt") is None
    assert problems == []


def test_a_day_of_an_operator(story: Story) -> None:
    ada = _watches_and_stops(story)
    _retries_a_dead_letter(story)
    _ends_and_restores(story, ada)
    _ends_from_the_list(story)
    assert story.audit() == [
        "cancel_turn",
        "retry_delivery",
        "terminate_session",
        "restore_session",
        "terminate_session",
        "restore_session",
    ]


def _watches_and_stops(story: Story) -> Call:
    """Tokens appear while they are written; one turn is stopped, the other goes on."""
    page = story.page
    story.go("live/")
    ada, bo = story.write(ADA, "Ada", "hello"), story.write(BO, "Bo", "tell me everything")
    mine, other = page.locator(f"#{ada.turn}"), page.locator(f"#{bo.turn}")
    for word in ("One ", "word ", "after "):
        ada.say(word)
        expect(mine.locator(".text")).to_have_text(ada.text)
    bo.say("Everything is ")
    expect(other.locator(".text")).to_have_text("Everything is ")
    browsers.picture(page, "story-live")
    other.get_by_role("button", name="Stop").click()
    expect(other.locator(".state")).to_have_text("stopped")
    ada.say("the other.")
    ada.finish()
    expect(mine.locator(".state")).to_have_text("answered")
    expect(mine.locator(".text")).to_have_text("One word after the other.")
    story.answered(ADA, "One word after the other.")
    return ada


def _retries_a_dead_letter(story: Story) -> None:
    """The start page says that something needs a person; after a click it has arrived."""
    page = story.page
    story.house.telegram.fail("sendMessage", **BLOCKED)
    story.write(CY, "Cy", "are you there?").finish("I am here.")
    dead = "SELECT count(*) FROM gateway_delivery WHERE state = 'failed'"
    until(lambda: story.house.sql(dead) == [(1,)])
    story.go("")
    expect(page.locator("#verdict")).to_contain_text("need")
    browsers.picture(page, "story-start", whole=True)
    page.get_by_role("link", name=re.compile("1 dead letter on telegram")).click()
    browsers.picture(page, "story-repair", whole=True)
    page.locator(".item").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("1 dead letter queued again.")).to_be_visible()
    story.answered(CY, "I am here.")


def _ends_and_restores(story: Story, ada: Call) -> None:
    """On the page of the conversation; what was said before is known afterwards."""
    page = story.page
    story.go(f"sessions_app/session/{ada.session}/change/")
    expect(page.locator(".entry.agent")).to_contain_text("One word after the other.")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="End conversation").click()
    expect(page.locator("#head .state")).to_have_text("ended")
    browsers.picture(page, "story-ended")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#head .state")).not_to_have_text("ended")
    again = story.write(ADA, "Ada", "and now?")
    assert again.session == ada.session
    assert [said["content"] for said in again.payload["messages"]] == [
        "hello",
        "One word after the other.",
        "and now?",
    ]
    again.finish("On we go.")
    expect(page.locator(".entry.agent").last).to_contain_text("On we go.")


def _ends_from_the_list(story: Story) -> None:
    """By ticking a row and choosing what is to be done with it."""
    page = story.page
    story.go("sessions_app/session/?q=Cy")
    _choose(page, "End the selected sessions and stop their turns")
    expect(page.locator(".messagelist")).to_contain_text("1 ended.")
    state = "SELECT state FROM sessions_app_session WHERE scope_key LIKE ?"
    assert story.house.sql(state, f"%{CY}%") == [("terminated",)]
    browsers.picture(page, "story-list", whole=True)
    _choose(page, "Restore the selected ended sessions")
    expect(page.locator(".messagelist")).to_contain_text("1 restored.")
    assert story.house.sql(state, f"%{CY}%") != [("terminated",)]


def _choose(page: Page, what: str) -> None:
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    rows.first.locator("input.action-select").check()
    page.locator(".actions select[name=action]").select_option(label=what)
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()


def test_operating_by_keyboard_alone(story: Story) -> None:
    """Stop on the live page; try again and end on a conversation: no mouse."""
    page = story.page
    story.go("live/")
    call = story.write(ADA, "Ada", "hello")
    call.say("Well, ")
    card = page.locator(f"#{call.turn}")
    expect(card.locator(".text")).to_have_text("Well, ")
    page.keyboard.press("j")
    expect(card).to_be_focused()
    _tab_to(page, "Stop")
    page.keyboard.press("Enter")
    expect(card.locator(".state")).to_have_text("stopped")

    broken = story.write(BO, "Bo", "this breaks")
    broken.say("half an ")
    broken.break_off()
    failed = "SELECT session_id FROM gateway_turn WHERE state = 'failed'"
    (session,) = until(lambda: story.house.sql(failed))[0]
    story.go(f"sessions_app/session/{session}/change/")
    _tab_to(page, "Try again")
    page.keyboard.press("Enter")
    story.house.agent.wait_call().finish("It goes well.")
    expect(page.locator(".entry.agent").last).to_contain_text("It goes well.")
    page.once("dialog", lambda dialog: dialog.accept())
    _tab_to(page, "End conversation")
    page.keyboard.press("Enter")
    expect(page.locator("#head .state")).to_have_text("ended")
    assert story.audit() == ["cancel_turn", "requeue_turn", "terminate_session"]


def _tab_to(page: Page, name: str) -> None:
    """With the tabulator to the button of this name, as often as a person would bear."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"no way leads to {name}")


def test_pages_in_every_look(story: Story) -> None:
    """Live, start, repair and chat fit; their pictures are kept where somebody asks for them."""
    story.house.telegram.fail("sendMessage", **BLOCKED)
    story.write(CY, "Cy" * 30, "are you there?").finish("I am here.")
    ada, bo = story.write(ADA, "Ada", "hello"), story.write(BO, "محمد", "مرحبا")
    ada.say("word " * 300 + "\n```python\nprint('here')\n```\n")
    for look in LOOKS:
        _look_around(story, look, ada)
    ada.finish()
    bo.finish("مرحبا")


def _look_around(story: Story, look: str, ada: Call) -> None:
    browser = story.page.context.browser
    assert browser is not None
    context = story.house.person(browser, "root", **LOOKS[look])
    for name in ("live/", "", "repair/", "../chat/"):
        page = context.new_page()
        page.goto(f"{story.house.url}/admin/{name}")
        if name == "live/":
            expect(page.locator(f"#{ada.turn} .text")).to_contain_text("here")
        expect(page.locator("main, #content").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, look)
        label = name.strip("./").replace("/", "-") or "start"
        browsers.picture(page, f"{label}-{look}", whole=label in ("start", "repair"))
        page.close()
