"""Discord as end-to-end tests see it: people write to the bot directly."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.adapters.discord_harness import TOKEN
from tests.e2e.channels.base import BUSY_SECONDS, Channel, Reply, Trouble
from tests.fakes._discord_parts import direct_chat
from tests.fakes._weather import Weather
from tests.fakes.discord import FakeDiscord


class DiscordChannel(Channel):
    """A fake Discord whose gateway process reconnects and catches up by itself."""

    name = "discord"

    def __enter__(self) -> DiscordChannel:
        self._stack = ExitStack()
        self.fake = self._stack.enter_context(FakeDiscord.in_thread(token=TOKEN))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, gateway_url: str) -> dict[str, str]:
        return {
            "OPENCLAW_DISCORD_TOKEN": TOKEN,
            "OPENCLAW_DISCORD_API_URL": self.fake.url,
            "OPENCLAW_DISCORD_GATEWAY_URL": self.fake.gateway_url,
            "OPENCLAW_DISCORD_ACCESS": "open",
            "OPENCLAW_DISCORD_RATE": "unlimited",
        }

    def follow(self, gateway_url: str) -> None:
        """Nothing: the gateway connects to us."""

    def say(self, person: int, text: str) -> None:
        """Waits for the very first session: before it nobody finds the bot."""
        self.fake.wait_for(lambda: self.fake.gateway.identifies)
        self.fake.say(person, text)

    def drop(self) -> None:
        """The open websocket is gone, without a word."""
        self.fake.on_gateway(lambda gateway: gateway.drop())

    def replies(self) -> list[Reply]:
        sent = list(self.fake.sent)
        return [Reply(self.fake.chats[one.chat].person, one.text, one.at) for one in sent]

    def fail(self, person: int, what: Trouble) -> None:
        troubles: dict[Trouble, dict[str, Any]] = {
            "busy": {"retry_after": BUSY_SECONDS},
            "broken": {"status": 503},
            "dropped": {"drop": "before"},
            "refused": {"status": 403, "code": 50007},
        }
        self.fake.fail("send", chat=direct_chat(person), **troubles[what])

    def set_weather(self, weather: Weather | None) -> None:
        self.fake.weather = weather
