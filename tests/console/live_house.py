"""A gateway between a fake Telegram and an agent played by the test, and people of the console."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from tests.fakes.telegram import FakeTelegram
from tests.process import Gateway, free_port, fresh_data_dir, manage
from tests.web import browser as browsers
from tests.web.agent import PlayedAgent

SECRET = "not-a-secret-live-tests"
TOKEN = "123456789:FAKE-token-of-the-tests"
VIEWS = ["view_turn", "view_session", "view_message", "view_contact"]

_MAKE_ACCOUNTS = """
import json
from django.contrib.auth.models import Permission, User
from django.test import Client
views = %r
keys = {}
for name, more in (("operator", ["operate"]), ("viewer", []), ("nobody", None)):
    user = User.objects.create_user(name, password="not-a-password-1", is_staff=True)
    if more is not None:
        user.user_permissions.set(Permission.objects.filter(codename__in=views + more))
    client = Client()
    client.force_login(user)
    keys[name] = client.session.session_key
print(json.dumps(keys))
"""


class LiveHouse:
    """The gateway with its fakes; `say` is a person writing on the platform."""

    def __init__(self, gateway: Gateway, telegram: FakeTelegram, agent: PlayedAgent) -> None:
        self.gateway, self.telegram, self.agent, self.url = gateway, telegram, agent, gateway.url
        self.logins = make_accounts(gateway.data_dir)

    @classmethod
    @contextlib.contextmanager
    def open(cls, parent: Path, **env: str) -> Iterator[LiveHouse]:
        """A house for as long as the context lasts."""
        with FakeTelegram.in_thread(token=TOKEN) as telegram, PlayedAgent.running() as agent:
            settings = telegram_settings(telegram.url, agent.url, **env)
            gateway = Gateway.start(settings, data_dir=fresh_data_dir(parent))
            try:
                until(lambda: "channel telegram is up" in gateway.log_text())
                yield cls(gateway, telegram, agent)
            finally:
                agent.forget()
                gateway.remove()

    def say(self, user: int, text: str, **more: Any) -> None:
        """A person writes."""
        self.telegram.say(user, text, **more)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement on the gateway's database, as another process would."""
        path = self.gateway.data_dir / "openclaw.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
            return database.execute(statement, values).fetchall()

    def person(self, browser: Browser, name: str, **options: Any) -> BrowserContext:
        """A browser in which this account is logged in."""
        context = browsers.new_person(browser, **options)
        cookie = {"name": "sessionid", "value": self.logins[name], "url": self.url}
        context.add_cookies([cookie])  # type: ignore[list-item]  # playwright wants its own dict
        return context


def make_accounts(data_dir: Path) -> dict[str, str]:
    """An operator, a viewer and somebody without rights: name -> session key."""
    made = manage(
        "shell",
        "-v",
        "0",
        "-c",
        _MAKE_ACCOUNTS % VIEWS,
        data_dir=data_dir,
        env={"OPENCLAW_SECRET_KEY": SECRET},
    )
    keys: dict[str, str] = json.loads(made.strip().splitlines()[-1])
    return keys


def telegram_settings(telegram_url: str, agent_url: str, **more: str) -> dict[str, str]:
    """The environment of a gateway that takes webhooks of a fake Telegram, without limits."""
    port = free_port()
    return {
        "OPENCLAW_SECRET_KEY": SECRET,
        "OPENCLAW_PORT": str(port),
        "OPENCLAW_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "OPENCLAW_CHANNELS": "webchat,telegram",
        "OPENCLAW_TELEGRAM_TOKEN": TOKEN,
        "OPENCLAW_TELEGRAM_SECRET": "a-fake-secret",
        "OPENCLAW_TELEGRAM_MODE": "webhook",
        "OPENCLAW_TELEGRAM_API_URL": telegram_url,
        "OPENCLAW_TELEGRAM_RATE": "unlimited",
        "OPENCLAW_TELEGRAM_ACCESS": "open",
        "OPENCLAW_AGENT_URL": agent_url,
        "OPENCLAW_DRAIN_SECONDS": "0.5",
        **more,
    }


def until(holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `holds()` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)
    return found


def watch(page: Page, problems: list[str]) -> None:
    """Note what the browser complains about: errors of scripts, breaches of the CSP."""
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda said: problems.append(said.text) if said.type == "error" else None,
    )
