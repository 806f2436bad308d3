"""A real gateway with something on every page, and a superuser who may open each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext

from tests.console.crawl import Answer
from tests.console.things import NASTY
from tests.process import Gateway, fresh_data_dir, manage
from tests.web import browser as browsers

SECRET = "not-a-secret-full-house"

_SEED = """
from tests.console.things import Session, Turn, everything, superuser
everything({nasty!r})
first = [model.objects.order_by("pk").first().pk for model in (Session, Turn)]
print('KEY', superuser(), *first)
"""


class FullHouse:
    """The gateway, the superuser's login, one of the sessions and one of its turns."""

    def __init__(self, gateway: Gateway, key: str, session: str, turn: str) -> None:
        self.gateway, self.url, self.key = gateway, gateway.url, key
        self.session, self.turn = session, turn

    @classmethod
    @contextlib.contextmanager
    def open(cls, parent: Path) -> Iterator[FullHouse]:
        """A house for as long as the context lasts."""
        env = {"OPENCLAW_SECRET_KEY": SECRET, "OPENCLAW_AGENT_URL": "http://127.0.0.1:9/"}
        data_dir = fresh_data_dir(parent)
        code = _SEED.format(nasty=NASTY)
        said = manage("shell", "-v", "0", "-c", code, data_dir=data_dir, env=env)
        gateway = Gateway.start(env, data_dir=data_dir)
        try:
            yield cls(gateway, *said.split("KEY")[1].split())
        finally:
            gateway.remove()

    def fetch(self, address: str) -> Answer:
        """What the gateway answers the superuser."""
        answer = httpx.get(self.url + address, cookies={"sessionid": self.key}, timeout=30)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, headers, answer.text)

    def person(self, browser: Browser, **options: object) -> BrowserContext:
        """A browser in which the superuser is logged in."""
        context = browsers.new_person(browser, **options)
        cookie = {"name": "sessionid", "value": self.key, "url": self.url}
        context.add_cookies([cookie])  # type: ignore[list-item]  # playwright wants its own dict
        return context
