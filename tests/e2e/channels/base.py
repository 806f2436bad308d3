"""What a channel's fake platform offers to tests that run a whole gateway against it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tests.fakes._weather import Weather

BUSY_SECONDS = 3
Trouble = Literal["busy", "broken", "dropped", "refused"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One message that a person sees now. `at` is monotonic seconds, `person` its reader."""

    person: int
    text: str
    at: float


class Channel(ABC):
    """One fake platform in a thread of its own. Entered and left as a context manager.

    People are small integers; each has a direct chat with the bot. All methods
    may be called from any thread, also while the gateway is down.
    """

    name: ClassVar[str]

    @abstractmethod
    def __enter__(self) -> Any:
        """Start the platform."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop it."""

    @abstractmethod
    def settings(self, gateway_url: str) -> dict[str, str]:
        """OPENCLAW_<NAME>_… for a gateway at `gateway_url`: open to all, rate unlimited."""

    @abstractmethod
    def follow(self, gateway_url: str) -> None:
        """Where webhooks go, for platforms that do not learn it from the gateway itself."""

    @abstractmethod
    def say(self, person: int, text: str) -> None:
        """`person` writes. The platform keeps the message and hands it over as the real one
        does: webhooks again and again until they are answered with 2xx (paused between tries
        for tenths of seconds instead of minutes), listeners when they ask."""

    @abstractmethod
    def replies(self) -> list[Reply]:
        """All messages that people got from the bot, oldest first, as they read now (after
        edits). What the platform drops as a repeat appears once. Only ever grows at the end."""

    @abstractmethod
    def fail(self, person: int, what: Trouble) -> None:
        """The next message to `person` goes wrong.

        busy     too many: the platform asks to wait `BUSY_SECONDS` (if it ever does)
        broken   an error of the platform's own (5xx), nothing was sent
        dropped  the connection ends without an answer, nothing was sent
        refused  the platform will never take it
        """

    @abstractmethod
    def set_weather(self, weather: Weather | None) -> None:
        """From now on the network is bad, both ways; None: fine again."""
