"""What an agent did on the way to its answer: tool calls, and its reasoning as texts that grow.

Agents send their reasoning word by word. Words that follow each other are one event here,
so that they never push a tool call out. Both are bounded; what was left out is counted,
and said at the end by an event of its own, {"kind": "not_kept", "data": {…}}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sessions_app.sql import dumps

MAX_TRACES = 200
"""Tool calls and the like that are kept of one turn."""

MAX_THOUGHT = 100_000
"""Characters of reasoning that are kept of one turn."""

MAX_EVENT = 8_000
"""Characters of one tool call, as JSON; of a longer one its beginning is kept."""

REASONING, NOT_KEPT = "reasoning", "not_kept"

Event = dict[str, Any]
"""{"kind", "data"}"""

Seen = tuple[int, int]
"""(events told, characters told of the last of them)."""


class Traces:
    """The events of one turn, in their order."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._fresh: list[str] = []  # of the last event
        self._others = self._thought = 0
        self._lost_events = self._lost_thought = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def events(self) -> list[Event]:
        """All that is kept so far."""
        if self._fresh:
            self._events[-1] = _thought(_text(self._events[-1]) + "".join(self._fresh))
            self._fresh.clear()
        return self._events

    def add(self, kind: str, data: Mapping[str, Any]) -> bool:
        """One more. True where there is something new to show."""
        event: Event = {"kind": kind, "data": dict(data)}
        if _grows(event):
            return self._think(_text(event))
        if self._others == MAX_TRACES:
            self._lost_events += 1
            return False
        self._others += 1
        self.events.append(event | {"data": _fitting(event["data"])})
        return True

    def end(self) -> list[Event]:
        """All that is kept, and how much is not. Nothing is added after this."""
        lost = {"events": self._lost_events, "characters of reasoning": self._lost_thought}
        if any(lost.values()):
            data = {name: number for name, number in lost.items() if number}
            self.events.append({"kind": NOT_KEPT, "data": data})
            self._lost_events = self._lost_thought = 0
        return self.events

    def since(self, seen: Seen) -> tuple[list[Event], Seen]:
        """(what is new, how far that reaches). Of a text that grew, only what it grew by."""
        count, characters = seen
        events = self.events
        grown = _text(events[count - 1])[characters:] if count else ""
        new = [_thought(grown), *events[count:]] if grown else events[count:]
        return new, (len(events), len(_text(events[-1])) if events else 0)

    def _think(self, text: str) -> bool:
        kept = text[: MAX_THOUGHT - self._thought]
        self._thought += len(kept)
        self._lost_thought += len(text) - len(kept)
        if not kept:
            return False
        if not self._events or not _grows(self._events[-1]):
            self._events.append(_thought(""))
        self._fresh.append(kept)
        return True


def merged(events: Any) -> list[Any]:
    """Stored events with reasoning as texts: older rows have one event for each word of it."""
    found: list[Any] = []
    for event in events if isinstance(events, list) else ():
        if found and _grows(event) and _grows(found[-1]):
            found[-1] = _thought(_text(found[-1]) + _text(event))
        else:
            found.append(event)
    return found


def counted(events: Iterable[Any]) -> str:
    """How many there are, in words: "2 tool events and reasoning"."""
    kinds = [event.get("kind") if isinstance(event, dict) else "" for event in events]
    number = len([kind for kind in kinds if kind not in (REASONING, NOT_KEPT)])
    tools = f"{number} tool event{'' if number == 1 else 's'}" if number else ""
    return " and ".join(filter(None, (tools, REASONING if REASONING in kinds else "")))


def _thought(text: str) -> Event:
    return {"kind": REASONING, "data": {"text": text}}


def _grows(event: Any) -> bool:
    if not isinstance(event, dict) or event.get("kind") != REASONING:
        return False
    data = event.get("data")
    return isinstance(data, dict) and list(data) == ["text"] and isinstance(data["text"], str)


def _text(event: Event) -> str:
    return str(event["data"]["text"]) if _grows(event) else ""


def _fitting(data: dict[str, Any]) -> dict[str, Any]:
    """The data, or its short fields and the beginning of all of it."""
    whole = dumps(data)
    if len(whole) <= MAX_EVENT:
        return data
    short = {name: data[name] for name in ("id", "name") if len(str(data.get(name))) <= 200}
    return short | {"beginning": whole[:MAX_EVENT], "characters": len(whole)}
