"""The operator's stories in a real browser: something fails, is seen, mended, and arrives."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.console.live_house import SECRET, LiveHouse, until, watch
from tests.process import manage
from tests.web import browser as browsers

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
BLOCKED = {"status": 403, "description": "Forbidden: bot was blocked by the user"}
ODD = {"status": 400, "description": "Bad Request: message is too odd"}
MARK = "(repeated after an interruption)"
_LOGIN = "from tests.console.things import superuser; print('KEY', superuser())"
_users = count(1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHouse]:
    with LiveHouse.open(tmp_path_factory.mktemp("repair"), OPENCLAW_UNSURE="hold") as house:
        env = {"OPENCLAW_SECRET_KEY": SECRET}
        said = manage("shell", "-v", "0", "-c", _LOGIN, data_dir=house.gateway.data_dir, env=env)
        house.logins["root"] = said.split("KEY")[1].strip()
        yield house


@pytest.fixture(autouse=True)
def nothing_left(house: LiveHouse) -> Iterator[None]:
    """Each test begins with an empty page, whatever became of the one before."""
    yield
    house.telegram.mend()
    house.agent.forget()
    house.sql("DELETE FROM gateway_delivery WHERE NOT state = 'sent'")


@pytest.fixture
def context(house: LiveHouse, browser: Browser) -> Iterator[BrowserContext]:
    context = house.person(browser, "root")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page of the operator; whatever its browser complains about fails the test."""
    problems: list[str] = []
    page = context.new_page()
    watch(page, problems)
    yield page
    assert problems == []


def answered(house: LiveHouse, text: str) -> int:
    """Somebody writes and is answered with `text`. Returns who."""
    user = next(_users)
    house.say(user, f"question of {user}")
    call = house.agent.wait_call()
    call.say(text)
    call.finish()
    return user


def dead(house: LiveHouse, state: str = "failed") -> int:
    """How many parts are dead letters of this state."""
    sql = "SELECT count(*) FROM gateway_delivery WHERE state = ? AND NOT error_code = 'discarded'"
    return int(house.sql(sql, state)[0][0])


def test_dead_letter_is_seen_retried_after_mending_and_arrives(
    house: LiveHouse, page: Page
) -> None:
    house.telegram.fail("sendMessage", **BLOCKED)
    user = answered(house, "the answer")
    until(lambda: dead(house) == 1)
    page.goto(f"{house.url}/admin/")
    expect(page.locator("#verdict")).to_contain_text("need")
    page.get_by_role("link", name="1 dead letter on telegram: refused by the platform.").click()
    row = page.locator(".item")
    expect(row).to_contain_text("the answer")
    expect(row).to_contain_text("bot was blocked by the user")
    row.get_by_text("Trace").click()
    expect(row.locator(".trace")).to_contain_text("refused")
    assert house.telegram.texts(user) == []
    row.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("1 dead letter queued again.")).to_be_visible()
    house.telegram.wait_for(lambda: house.telegram.texts(user) == ["the answer"])
    page.goto(f"{house.url}/admin/repair/")
    expect(page.get_by_role("heading", name="Nothing waits for a person")).to_be_visible()


def test_letter_that_is_refused_again_comes_back(house: LiveHouse, page: Page) -> None:
    house.telegram.fail("sendMessage", times=2, **ODD)
    user = answered(house, "never taken")
    until(lambda: dead(house) == 1)
    before = len(house.telegram.called("sendMessage"))
    page.goto(f"{house.url}/admin/repair/")
    page.locator(".item").get_by_role("button", name="Retry").click()
    until(lambda: len(house.telegram.called("sendMessage")) == before + 1 and dead(house) == 1)
    page.goto(f"{house.url}/admin/repair/")
    page.get_by_role("button", name="Discard…").click()
    expect(page.get_by_role("heading", name="Discard 1 dead letter?")).to_be_visible()
    page.get_by_role("button", name="Discard 1").click()
    expect(page.get_by_text("1 dead letter discarded.")).to_be_visible()
    assert dead(house) == 0
    assert house.telegram.texts(user) == []


def test_held_part_is_sent_again_with_the_mark(house: LiveHouse, page: Page) -> None:
    house.telegram.fail("sendMessage", drop="after")
    user = answered(house, "perhaps twice")
    until(lambda: dead(house, "unsure") == 1)
    assert house.telegram.texts(user) == ["perhaps twice"]
    page.goto(f"{house.url}/admin/repair/")
    expect(page.get_by_role("heading", name=re.compile("May have been sent"))).to_be_visible()
    page.locator(".item").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("1 dead letter queued again.")).to_be_visible()
    house.telegram.wait_for(lambda: len(house.telegram.texts(user)) == 2)
    assert house.telegram.texts(user)[1] == f"perhaps twice\n{MARK}"


def test_all_of_a_kind_are_retried_after_one_question(house: LiveHouse, page: Page) -> None:
    house.telegram.fail("sendMessage", times=7, **BLOCKED)
    users = [answered(house, f"answer {number}") for number in range(7)]
    until(lambda: dead(house) == 7)
    page.goto(f"{house.url}/admin/repair/")
    expect(page.locator(".item")).to_have_count(7)
    page.get_by_role("button", name="Retry all 7…").click()
    expect(page.get_by_role("heading", name="Retry 7 dead letters?")).to_be_visible()
    page.get_by_role("link", name="Leave as it is").click()
    assert dead(house) == 7
    page.get_by_role("button", name="Retry all 7…").click()
    page.get_by_role("button", name="Retry 7").click()
    expect(page.get_by_text("7 dead letters queued again.")).to_be_visible()
    house.telegram.wait_for(lambda: all(house.telegram.texts(user) for user in users))
    assert [house.telegram.texts(user) for user in users] == [[f"answer {n}"] for n in range(7)]


def test_whole_way_by_keyboard(house: LiveHouse, page: Page) -> None:
    house.telegram.fail("sendMessage", **BLOCKED)
    user = answered(house, "by keys")
    until(lambda: dead(house) == 1)
    page.goto(f"{house.url}/admin/repair/")
    page.keyboard.press("j")
    expect(page.locator(".item .who a").first).to_be_focused()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Retry":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 dead letter queued again.")).to_be_visible()
    house.telegram.wait_for(lambda: house.telegram.texts(user) == ["by keys"])


def test_start_page_keeps_itself_up_to_date_and_the_focus_where_it_is(
    house: LiveHouse, page: Page
) -> None:
    user = answered(house, "so that there is a plot")
    house.telegram.wait_for(lambda: house.telegram.texts(user))
    page.clock.install()
    page.goto(f"{house.url}/admin/")
    expect(page.locator("#channels")).to_contain_text("telegram")
    page.locator("#plot-1 summary").click()
    page.locator("#plot-1 summary").focus()
    house.telegram.fail("sendMessage", **BLOCKED)
    answered(house, "shown by itself")
    until(lambda: dead(house) == 1)
    with page.expect_response("**/admin/overview/"):
        page.clock.run_for(10_500)
    expect(page.locator("#verdict")).to_contain_text("1 dead letter on telegram")
    expect(page.locator("#plot-1 details")).to_have_attribute("open", "")
    expect(page.locator("#plot-1 summary")).to_be_focused()
    page.evaluate("window.kept = document.getElementById('plot-1')")
    hour = time.time() // 3600
    expect(page.locator("#agents")).to_contain_text("HTTP 404")  # this agent has no /health
    house.sql("UPDATE gateway_delivery SET state = 'sent' WHERE state = 'failed'")
    with page.expect_response("**/admin/overview/"):
        page.clock.run_for(10_500)
    expect(page.locator("#verdict")).not_to_contain_text("dead letter")
    kept = page.evaluate("window.kept === document.getElementById('plot-1')")
    assert kept or time.time() // 3600 > hour, "unchanged: kept, unless a new hour begins in it"


def test_start_page_says_when_it_is_not_up_to_date(
    house: LiveHouse, context: BrowserContext
) -> None:
    page = context.new_page()
    page.clock.install()
    page.goto(f"{house.url}/admin/")
    verdict = page.locator("#verdict h2").inner_text()
    context.set_offline(True)
    page.clock.run_for(10_500)
    expect(page.locator("#stale")).to_contain_text("Not up to date")
    assert page.locator("#verdict h2").inner_text() == verdict
    context.set_offline(False)
    page.clock.run_for(10_500)
    expect(page.locator("#stale")).to_be_hidden()
