"""iMessage as the end-to-end tests see it, by a BlueBubbles server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.e2e.channels.base import BUSY_SECONDS, Channel, Reply, Trouble
from tests.fakes._weather import Weather
from tests.fakes.bluebubbles import FIRST_NUMBER, PASSWORD, SECRET, FakeBlueBubbles

UNKNOWN = b'{"status": 404, "error": {"type": "Validation Error", "message": "no such chat"}}'


class BlueBubblesChannel(Channel):
    """One server; person 7 writes from +15550000007. Its webhook is called once, or never."""

    name = "imessage"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.fake = FakeBlueBubbles()

    def __enter__(self) -> BlueBubblesChannel:
        self.fake = self._stack.enter_context(FakeBlueBubbles.in_thread())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, gateway_url: str) -> dict[str, str]:
        return {
            "OPENCLAW_IMESSAGE_MODE": "bluebubbles",
            "OPENCLAW_IMESSAGE_API_URL": self.fake.url,
            "OPENCLAW_IMESSAGE_PASSWORD": PASSWORD,
            "OPENCLAW_IMESSAGE_SECRET": SECRET,
            "OPENCLAW_IMESSAGE_ACCESS": "open",
            "OPENCLAW_IMESSAGE_RATE": "unlimited",
        }

    def follow(self, gateway_url: str) -> None:
        """Nothing: the gateway registers its webhook."""

    def say(self, person: int, text: str) -> None:
        self.fake.say(person, text)

    def replies(self) -> list[Reply]:
        sent = list(self.fake.sent)
        return [
            Reply(int(one.chat.rpartition("+")[2]) - FIRST_NUMBER, one.text, one.at) for one in sent
        ]

    def fail(self, person: int, what: Trouble) -> None:
        """Too many: a proxy before the server says so."""
        troubles: dict[Trouble, dict[str, Any]] = {
            "busy": {"retry_after": BUSY_SECONDS},
            "broken": {"status": 500},
            "dropped": {"drop": "before"},
            "refused": {"status": 404, "body": UNKNOWN},
        }
        self.fake.fail("text", match=str(FIRST_NUMBER + person), **troubles[what])

    def set_weather(self, weather: Weather | None) -> None:
        self.fake.weather = weather
