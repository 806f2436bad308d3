"""iMessage as the end-to-end tests see it, on a Mac of its own."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.e2e.channels.base import Channel, Reply, Trouble
from tests.fakes._weather import Weather
from tests.fakes.imessage import FIRST_NUMBER, FakeMac


class ImessageChannel(Channel):
    """One Mac; person 7 writes from +15550000007."""

    name = "imessage"

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> ImessageChannel:
        self._home = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.fake = self._stack.enter_context(FakeMac(self._home / "mac"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, gateway_url: str) -> dict[str, str]:
        return {
            "OPENCLAW_IMESSAGE_DB": str(self.fake.db),
            "OPENCLAW_IMESSAGE_OSASCRIPT": str(self.fake.osascript),
            "OPENCLAW_IMESSAGE_FOLDER": str(self._home / "pictures"),
            "OPENCLAW_IMESSAGE_ACCESS": "open",
            "OPENCLAW_IMESSAGE_RATE": "unlimited",
        }

    def follow(self, gateway_url: str) -> None:
        """Nothing: the gateway reads the Mac's database."""

    def say(self, person: int, text: str) -> None:
        self.fake.say(person, text)

    def replies(self) -> list[Reply]:
        sent = list(self.fake.sent)
        return [
            Reply(int(one.chat.rpartition("+")[2]) - FIRST_NUMBER, one.text, one.at) for one in sent
        ]

    def fail(self, person: int, what: Trouble) -> None:
        """Messages never asks to wait; what is "dropped" was sent, and its row shows it."""
        troubles: dict[Trouble, dict[str, Any]] = {
            "broken": {"number": -600},
            "dropped": {"number": -1712, "sent": True},
            "refused": {"number": -1728},
        }
        self.fake.fail(match=str(FIRST_NUMBER + person), **troubles[what])

    def set_weather(self, weather: Weather | None) -> None:
        self.fake.weather = weather
