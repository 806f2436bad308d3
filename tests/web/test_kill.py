"""The gateway is killed in the middle of an answer: the page ends with all of it, once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.web import browser as browsers
from tests.web.house import House

pytestmark = pytest.mark.heavy

HALF, WHOLE = "The first half", "The first half, and the second."
PATIENT_SECONDS = 60.0


@pytest.fixture
def house() -> Iterator[House]:
    with House.open() as house:
        yield house


async def test_a_kill_in_mid_answer_leaves_the_answer_whole_and_once(house: House) -> None:
    guest = house.guest()
    async with guest.page() as page:
        await page.say("question")
        call = await house.agent.call()
        call.say(HALF)
        await page.until(lambda: page.live.get(call.turn) == HALF)
        await asyncio.to_thread(house.gateway.kill9)
    await asyncio.to_thread(house.gateway.restart)

    async with guest.page() as page:
        again = await asyncio.to_thread(house.agent.wait_call, PATIENT_SECONDS)
        assert (again.turn, again.asked) == (call.turn, "question")
        again.say(WHOLE)
        await page.until(lambda: page.live.get(again.turn) == WHOLE)
        again.finish()
        await page.until(lambda: ("assistant", WHOLE) in page.shown)
    async with guest.page() as page:
        assert page.shown == [("user", "question"), ("assistant", WHOLE)]


@pytest.mark.skipif(
    not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
    reason="needs Debian's chromium at /usr/bin/chromium",
)
def test_an_open_page_goes_on_by_itself_after_a_kill_in_mid_answer(house: House) -> None:
    with browsers.running() as browser:
        page = browsers.new_person(browser).new_page()
        page.goto(house.invite()[0])
        page.get_by_label("Your message").fill("question")
        page.keyboard.press("Enter")
        house.agent.wait_call().say(HALF)
        body = page.locator(".entry.assistant .body")
        expect(body).to_have_text(HALF)
        house.gateway.kill9()
        house.gateway.restart()

        again = house.agent.wait_call(PATIENT_SECONDS)
        again.say(WHOLE)
        again.finish()

        expect(body).to_have_text(WHOLE, timeout=PATIENT_SECONDS * 1000)
        expect(page.locator(".entry.running")).to_have_count(0)
        assert page.evaluate("document.querySelectorAll('.entry').length") == 2
