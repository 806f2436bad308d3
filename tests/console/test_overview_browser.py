"""The start page and Repair in a real browser, while things change and logins end."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.console.full_house import FullHouse
from tests.web import browser as browsers

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullHouse]:
    with FullHouse.open(tmp_path_factory.mktemp("full")) as house:
        yield house


@pytest.fixture
def open_page(house: FullHouse, browser: Browser) -> Iterator[OpenPage]:
    """Opens an address of the admin; the page's timers stand still until they are moved."""
    contexts: list[BrowserContext] = []

    def open_page(address: str = "", **options: Any) -> Page:
        context = house.person(browser, **options)
        contexts.append(context)
        page = context.new_page()
        page.clock.install()
        page.goto(f"{house.url}/admin/{address}")
        return page

    yield open_page
    for context in contexts:
        context.close()


def change(house: FullHouse, statement: str) -> None:
    """Something happens."""
    path = house.gateway.data_dir / "openclaw.sqlite3"
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as database, database:
        database.execute(statement)


def test_times_are_the_readers_own(open_page: OpenPage) -> None:
    page = open_page(timezone_id="Asia/Kolkata", locale="en-GB")
    expect(page.locator(".asof time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    axis = page.locator("#plot-1 .scale")
    expect(axis).to_contain_text("GMT+5:30")
    expect(axis.locator("time").first).to_have_text(re.compile(r"^\d\d:30$"))
    expect(page.locator("#plot-1 rect title").first).to_have_text(re.compile(r"^\d\d:30: \d+$"))
    page.goto(page.url + "repair/")
    since = page.locator(".item .facts time").first
    expect(since).to_have_text("just now")
    assert "GMT+5:30" in str(since.get_attribute("title"))


def test_what_did_not_change_stays_with_its_selection_and_focus(
    house: FullHouse, open_page: OpenPage
) -> None:
    page = open_page()
    seen = str(page.locator(".asof time").text_content())
    page.locator("#verdict li a").last.focus()
    focused = page.evaluate("document.activeElement.href")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#verdict li .todo'))")
    selected = page.evaluate("String(getSelection())")
    assert selected
    count = page.locator("#verdict li").count()
    # a new finding among those that are there
    change(
        house,
        "INSERT INTO gateway_setaside (channel, external_id, reason, payload, created_at)"
        " SELECT 'another', 'y', reason, payload, created_at FROM gateway_setaside LIMIT 1",
    )
    page.clock.fast_forward(11_000)
    expect(page.locator("#verdict li")).to_have_count(count + 1)
    expect(page.locator(".asof time")).not_to_have_text(seen)
    assert page.evaluate("document.activeElement.href") == focused
    assert page.evaluate("String(getSelection())") == selected
    expect(page.locator("#stale")).to_be_hidden()


def test_who_is_logged_out_is_told_so(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("#verdict")).to_be_visible()
    page.context.clear_cookies()
    page.clock.fast_forward(11_000)
    link = page.get_by_role("link", name="Log in again")
    expect(link).to_be_visible()
    expect(page.locator("#stale")).not_to_contain_text("Trying again")
    link.click()
    page.wait_for_url(re.compile(r"/admin/login/\?next=/admin/"))


def test_repair_keeps_its_number_and_says_that_its_rows_are_old(
    house: FullHouse, open_page: OpenPage
) -> None:
    page = open_page("repair/")
    before = int(str(page.locator(".places .badge").text_content()).split()[0])
    change(house, "UPDATE gateway_delivery SET state = 'sent' WHERE state = 'unsure'")
    page.clock.fast_forward(21_000)
    expect(page.locator(".places .badge")).to_have_text(f"{before - 1} waiting")
    expect(page).to_have_title(re.compile(rf"^\({before - 1}\) "))
    expect(page.locator("#news")).to_contain_text("What waits has changed.")
    page.locator("#news a").click()
    expect(page.locator("#news")).to_be_hidden()
