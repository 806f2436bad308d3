"""WhatsApp as the end-to-end tests see it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.e2e.channels.base import BUSY_SECONDS, Channel, Reply, Trouble
from tests.fakes._weather import Weather
from tests.fakes.whatsapp import APP_SECRET, PNID, TOKEN, VERIFY_TOKEN, FakeWhatsapp

FIRST = 15_550_000_000
REFUSAL = b'{"error": {"code": 131026, "message": "Message undeliverable"}}'


class WhatsappChannel(Channel):
    """One number; person 7 writes from 15550000007."""

    name = "whatsapp"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.fake = FakeWhatsapp()

    def __enter__(self) -> WhatsappChannel:
        self.fake = self._stack.enter_context(FakeWhatsapp.in_thread())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, gateway_url: str) -> dict[str, str]:
        return {
            "OPENCLAW_WHATSAPP_TOKEN": TOKEN,
            "OPENCLAW_WHATSAPP_PHONE_NUMBER_ID": PNID,
            "OPENCLAW_WHATSAPP_APP_SECRET": APP_SECRET,
            "OPENCLAW_WHATSAPP_VERIFY_TOKEN": VERIFY_TOKEN,
            "OPENCLAW_WHATSAPP_API_URL": self.fake.url,
            "OPENCLAW_WHATSAPP_ACCESS": "open",
            "OPENCLAW_WHATSAPP_RATE": "unlimited",
        }

    def follow(self, gateway_url: str) -> None:
        self.fake.follow(f"{gateway_url}/webhooks/whatsapp")

    def say(self, person: int, text: str) -> None:
        self.fake.on_loop(lambda: self.fake.say(str(FIRST + person), text))

    def again(self, times: int) -> None:
        """Every message that people wrote is handed over so many times more."""
        for message in list(self.fake.written):
            person = message["from"]
            value = {"contacts": [{"wa_id": person}], "messages": [message]}
            for _ in range(times):
                self.fake.deliver(value, lane=person)

    def replies(self) -> list[Reply]:
        return [Reply(int(sent.to) - FIRST, sent.text, sent.at) for sent in list(self.fake.sent)]

    def fail(self, person: int, what: Trouble) -> None:
        troubles: dict[Trouble, dict[str, Any]] = {
            "busy": {"retry_after": BUSY_SECONDS},
            "broken": {"status": 500},
            "dropped": {"drop": "before"},
            "refused": {"status": 400, "body": REFUSAL},
        }
        self.fake.fail("send", match=str(FIRST + person), **troubles[what])

    def set_weather(self, weather: Weather | None) -> None:
        self.fake.weather = weather
