"""The page of comparison in a real browser: the answer appears by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from sessions_app import clock
from tests.console.full_house import FullHouse
from tests.console.things import NASTY
from tests.e2e.probe import Probe
from tests.web import browser as browsers

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]


def test_the_answer_appears_when_it_is_there(tmp_path: Path) -> None:
    with FullHouse.open(tmp_path) as house, browsers.running() as browser:
        probe = Probe(house.gateway.data_dir)
        try:
            probe.create("gateway.Replay", turn_id=house.turn, agent="newer")
            page = house.person(browser).new_page()
            page.goto(f"{house.url}/admin/compare/{house.turn}/")
            expect(page.locator("#waiting")).to_be_visible()
            probe.update(
                "gateway.Replay",
                {"agent": "newer"},
                text=f"here it is {NASTY}",
                ended_at=clock.now().isoformat(),
            )
            newest = page.locator(".answer", has_text="newer")
            expect(newest).to_contain_text("here it is")
            expect(page.locator("#waiting")).to_have_count(0)
            assert NASTY in newest.locator(".said").inner_text()
            if folder := os.environ.get("SHOTS"):
                for scheme in ("light", "dark"):
                    for width in (1200, 360):
                        other = house.person(
                            browser, color_scheme=scheme, viewport={"width": width, "height": 800}
                        ).new_page()
                        other.goto(page.url)
                        other.screenshot(path=f"{folder}/{scheme}-{width}.png")
        finally:
            probe.close()
