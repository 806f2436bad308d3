"""What this person said and was told, also in earlier sessions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, tzinfo
from typing import Any

from pi.gateway import Gateway
from pi.tools.dates import Clock

MAX_FOUND = 10
MAX_SHOWN = 300


class History:
    """Tools for this person's own history. Each raises `ToolError`."""

    def __init__(self, gateway: Gateway, clock: Clock, asked: Collection[str] = ()) -> None:
        self._gateway = gateway
        self._clock = clock
        self._asked = set(asked)  # the question itself is no answer to it

    async def search_history(self, words: str) -> str:
        """Search what this person and you said before, also in earlier conversations.

        Args:
            words: what to look for.
        """
        found = await self._gateway.messages(words.strip()[:200], limit=MAX_FOUND * 2)
        texts = {"", *self._asked}
        lines = [
            line(message, self._clock().tzinfo)
            for message in found
            if text_of(message) not in texts
        ]
        return "\n".join(lines[:MAX_FOUND]) or f"Nothing was said about “{words.strip()[:60]}”."


def line(message: Mapping[str, Any], zone: tzinfo | None) -> str:
    """One message in one line: when, who, what."""
    moment = said_at(message)
    when = f"{moment.astimezone(zone):%Y-%m-%d %H:%M} " if moment else ""
    who = "you" if message.get("role") == "user" else "Pi"
    return f"- {when}{who}: {text_of(message)}"


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text on one line, shortened."""
    text = " ".join(str(message.get("text") or "").split())
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def said_at(message: Mapping[str, Any]) -> datetime | None:
    """When it was said; None where the gateway does not tell."""
    try:
        moment = datetime.fromisoformat(str(message.get("at")))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
