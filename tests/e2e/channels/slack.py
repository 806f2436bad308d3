"""Slack as the end-to-end tests see it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.e2e.channels.base import BUSY_SECONDS, Channel, Reply, Trouble
from tests.fakes._weather import Weather
from tests.fakes.slack import SIGNING_SECRET, TOKEN, FakeSlack


class SlackChannel(Channel):
    """One workspace; person 7 is U7, and their chat with the bot D7."""

    name = "slack"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.fake = FakeSlack()

    def __enter__(self) -> SlackChannel:
        self.fake = self._stack.enter_context(FakeSlack.in_thread())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, gateway_url: str) -> dict[str, str]:
        return {
            "OPENCLAW_SLACK_TOKEN": TOKEN,
            "OPENCLAW_SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "OPENCLAW_SLACK_API_URL": f"{self.fake.url}/api",
            "OPENCLAW_SLACK_ACCESS": "open",
            "OPENCLAW_SLACK_RATE": "unlimited",
        }

    def follow(self, gateway_url: str) -> None:
        self.fake.follow(f"{gateway_url}/webhooks/slack")

    def say(self, person: int, text: str) -> None:
        self.fake.on_loop(lambda: self.fake.say(f"U{person}", text))

    def replies(self) -> list[Reply]:
        return [Reply(int(sent.channel[1:]), sent.text, sent.at) for sent in list(self.fake.sent)]

    def fail(self, person: int, what: Trouble) -> None:
        troubles: dict[Trouble, dict[str, Any]] = {
            "busy": {"retry_after": BUSY_SECONDS},
            "broken": {"status": 500},
            "dropped": {"drop": "before"},
            "refused": {"status": 200, "body": b'{"ok": false, "error": "is_archived"}'},
        }
        self.fake.fail("chat.postMessage", match=f"'D{person}'", **troubles[what])

    def set_weather(self, weather: Weather | None) -> None:
        self.fake.weather = weather
