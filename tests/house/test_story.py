"""The first five minutes in one piece: one command, its link, a question, a reload, an answer."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pi.skills.small_talk import HELP
from tests.e2e.world import wait_until
from tests.house.test_up import Up
from tests.process import fresh_data_dir
from tests.web import browser as browsers

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
LAST_WORDS = HELP[-20:]
TRIES = 5
"""A busy machine may be late with the reload: then it is asked once more."""

WATCH_GROWTH = """() => {
  window.lengths = [];
  new MutationObserver(() => {
    const bodies = document.querySelectorAll('.entry.assistant .body');
    const body = bodies[bodies.length - 1];
    if (body && body.innerText.length) window.lengths.push(body.innerText.length);
  }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


def _ask_and_reload(page: Page) -> tuple[list[int], int]:
    """Ask for help and reload while it is being answered: the lengths seen, and the last one."""
    page.evaluate(WATCH_GROWTH)
    page.get_by_label("Your message").fill("help")
    page.keyboard.press("Enter")
    wait_until(lambda: len(set(page.evaluate("window.lengths"))) >= 2, 60)
    seen: list[int] = page.evaluate("window.lengths")
    page.reload()
    answers = page.locator(".entry.assistant .body")
    expect(answers.last).to_contain_text(LAST_WORDS, timeout=60_000)
    expect(page.locator(".entry.running")).to_have_count(0, timeout=60_000)
    return seen, len(answers.last.inner_text())


def test_from_one_command_to_an_answer_that_survives_a_reload(tmp_path: Path) -> None:
    up = Up(fresh_data_dir(tmp_path))
    try:
        up.ready()
        found = re.search(r"http://\S+/chat/\?\S+", up.text)
        assert found, up.text
        with browsers.running() as browser:
            page = browsers.new_person(browser).new_page()
            page.goto(found[0])
            for number in range(1, TRIES + 1):
                seen, whole = _ask_and_reload(page)
                answers = page.locator(".entry.assistant .body")
                expect(answers).to_have_count(number)
                if seen[-1] < whole:
                    break
            assert len(set(seen)) >= 2  # in pieces
            assert seen[-1] < whole, "it was reloaded in mid-answer"
            texts = answers.all_inner_texts()
            page.reload()  # what is stored is what was shown: nothing is missing
            expect(answers).to_have_count(number)
            assert answers.all_inner_texts() == texts
            assert "calc" in texts[0].lower() or "sum" in texts[0].lower(), texts[0]
        assert up.end() == 0, up.text
    finally:
        up.remove()
