"""Telegram as the end-to-end tests see it, by webhook."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.e2e.channels.base import BUSY_SECONDS, Channel, Reply, Trouble
from tests.fakes._weather import Weather
from tests.fakes.telegram import FakeTelegram

TOKEN = "123456789:FAKE-token-of-the-tests"
SECRET = "a-fake-secret"


class TelegramChannel(Channel):
    """One bot; person 7 is user 7 and writes in chat 7."""

    name = "telegram"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.fake = FakeTelegram(token=TOKEN)

    def __enter__(self) -> TelegramChannel:
        self.fake = self._stack.enter_context(FakeTelegram.in_thread(token=TOKEN))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, gateway_url: str) -> dict[str, str]:
        return {
            "OPENCLAW_TELEGRAM_TOKEN": TOKEN,
            "OPENCLAW_TELEGRAM_SECRET": SECRET,
            "OPENCLAW_TELEGRAM_MODE": "webhook",
            "OPENCLAW_TELEGRAM_API_URL": self.fake.url,
            "OPENCLAW_TELEGRAM_ACCESS": "open",
            "OPENCLAW_TELEGRAM_RATE": "unlimited",
        }

    def follow(self, gateway_url: str) -> None:
        """Nothing: the gateway registers its webhook."""

    def say(self, person: int, text: str) -> None:
        self.fake.say(person, text)

    def replies(self) -> list[Reply]:
        return [Reply(sent.chat_id, sent.text, sent.at) for sent in list(self.fake.sent)]

    def fail(self, person: int, what: Trouble) -> None:
        troubles: dict[Trouble, dict[str, Any]] = {
            "busy": {"retry_after": BUSY_SECONDS},
            "broken": {"status": 500},
            "dropped": {"drop": "before"},
            "refused": {"status": 400, "description": "Bad Request: chat not found"},
        }
        self.fake.fail("sendMessage", chat=person, **troubles[what])

    def set_weather(self, weather: Weather | None) -> None:
        self.fake.weather = weather
