"""Debian's chromium, driven by playwright: one browser for all tests, a context for each person."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PATIENT_MS = 30_000  # a busy machine may stand still for seconds
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

expect.set_options(timeout=PATIENT_MS)


@contextmanager
def running() -> Iterator[Browser]:
    """A headless browser for as long as the context lasts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def new_person(browser: Browser, **options: Any) -> BrowserContext:
    """A browser that belongs to somebody else than every other one."""
    options = {"viewport": {"width": 1100, "height": 800}, "locale": "en-GB", **options}
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENT_MS)
    return context


_LISTEN = """(button, text) => {
  window.heard = false;
  new MutationObserver(() => { window.heard ||= button.textContent === text; })
    .observe(button, { childList: true, characterData: true, subtree: true });
}"""


def click_says(button: Locator, text: str) -> None:
    """Click it. Returns when it has said `text`, if only for a moment."""
    button.evaluate(_LISTEN, text)
    button.click()
    wait_for(button.page, "() => window.heard")


def wait_for(page: Page, condition: str, argument: Any = None) -> None:
    """Until a function of the page's gives something true.

    Playwright's own wait looks again from within the page, by the `eval` that our
    content security policy forbids.
    """
    until = time.monotonic() + PATIENT_MS / 1000
    while not page.evaluate(condition, argument):
        assert time.monotonic() < until, condition
        page.wait_for_timeout(20)


def picture(page: Page, name: str, *, whole: bool = False) -> None:
    """A picture of the page in the folder `KEEP_PICTURES`, to be looked at; without it none."""
    if folder := os.environ.get("KEEP_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)
