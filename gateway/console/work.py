"""One turn and one outgoing part, in the words in which every page tells them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.urls import reverse

from gateway.console import reasons
from gateway.console.reasons import Reason
from gateway.ledger.operate import DISCARDED, TAKEN
from gateway.models import Delivery, Turn
from gateway.traces import counted, merged

KEY = "KEY"

OPEN = (Turn.State.QUEUED, Turn.State.RUNNING)
STUCK = (Turn.State.FAILED, Turn.State.QUARANTINED)
DEAD = (Delivery.State.FAILED, Delivery.State.EXPIRED, Delivery.State.UNSURE)
TURN_WORDS = {
    "queued": ("waiting", "waiting"),
    "running": ("running", "answering"),
    "done": ("done", "answered"),
    "failed": ("failed", "failed"),
    "cancelled": ("waiting", "stopped"),
    "quarantined": ("failed", "quarantined"),
}
DELIVERY_WORDS = {
    "queued": ("waiting", "waiting to be sent"),
    "sending": ("running", "sending"),
    "sent": ("done", "sent"),
    "failed": ("failed", "not sent"),
    "expired": ("failed", "expired"),
    "unsure": ("unsure", "unsure"),
}
"""state -> (its look, its word)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One outgoing part of a reply."""

    row: Delivery
    of: int

    @property
    def look(self) -> str:
        """The state's name in the style sheet."""
        return "waiting" if self.discarded else DELIVERY_WORDS[self.row.state][0]

    @property
    def word(self) -> str:
        """The state in words."""
        return "discarded" if self.discarded else DELIVERY_WORDS[self.row.state][1]

    @property
    def discarded(self) -> bool:
        """An operator let it go."""
        return self.row.error_code == DISCARDED

    @property
    def dead(self) -> bool:
        """It ended badly: it can be sent again."""
        return self.row.state in DEAD

    @property
    def waiting(self) -> bool:
        """It has not gone out yet, and holds up what comes after it."""
        return self.row.state == Delivery.State.QUEUED

    @property
    def why(self) -> Reason | None:
        """What went wrong, in words."""
        code = "" if self.discarded else self.row.error_code
        return reasons.of_delivery(code) if code else None

    @property
    def number(self) -> int:
        """Counted from one."""
        return self.row.part + 1

    @property
    def receipt(self) -> str:
        """What is known of a part that was sent."""
        row = self.row
        facts = [f"part {self.number}"] if self.of > 1 else []
        facts += [f"sent {row.sent_at:%Y-%m-%d %H:%M:%S} UTC"] if row.sent_at else []
        facts += [row.status] if row.status in ("delivered", "read") else []
        facts += [f"receipt {row.receipt}"] if row.receipt else []
        facts += ["repeated"] if row.repeated else []
        return ", ".join(facts)

    @property
    def url(self) -> str:
        """Its own page."""
        return _page("delivery").replace(KEY, str(self.row.pk))

    @property
    def trace(self) -> str:
        """Each try, as text; empty where there was none."""
        return readable(self.row.trace) if self.row.trace else ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an agent."""

    row: Turn

    @property
    def look(self) -> str:
        """The state's name in the style sheet."""
        return TURN_WORDS[self.row.state][0]

    @property
    def word(self) -> str:
        """The state in words."""
        return TURN_WORDS[self.row.state][1]

    @property
    def open(self) -> bool:
        """It waits or runs."""
        return self.row.state in OPEN

    @property
    def stuck(self) -> bool:
        """It failed: it can be tried again."""
        return self.row.state in STUCK

    @property
    def stopped(self) -> bool:
        """Somebody stopped it: it can be asked again, unlike what another took the place of."""
        return self.row.state == Turn.State.CANCELLED and self.row.error_code not in TAKEN

    @property
    def quarantined(self) -> bool:
        """It waits for a person."""
        return self.row.state == Turn.State.QUARANTINED

    @property
    def why(self) -> Reason | None:
        """What went wrong, in words."""
        return reasons.of_turn(self.row.error_code) if self.row.error_code else None

    @property
    def facts(self) -> str:
        """Who was asked, how long it took and what: "pi · first token 380 ms · total 3.2 s"."""
        row = self.row
        spans = (
            ("queued", row.queued_at, row.started_at),
            ("first token", row.started_at, row.first_token_at),
            ("total", row.started_at, row.ended_at),
        )
        facts = [row.agent.name] if row.agent else []
        facts += [f"{name} {span(start, end)}" for name, start, end in spans if start and end]
        if row.attempts > 1:
            facts.append(f"{row.attempts} calls")
        if isinstance(row.usage, dict):
            facts += [
                f"{str(name).replace('_', ' ')} {value}"
                for name, value in row.usage.items()
                if isinstance(value, int | float | str)
            ]
        return " · ".join(facts)

    @property
    def url(self) -> str:
        """Its own page."""
        return _page("turn").replace(KEY, self.row.pk)

    @property
    def doings(self) -> str:
        """Tool calls and thoughts, counted; empty where there was neither."""
        return counted(merged(self.row.events))

    @property
    def events(self) -> str:
        """What each of them was, one below the other."""
        return "\n\n".join(_event(event) for event in merged(self.row.events))


@cache
def _page(table: str) -> str:
    """The address of a row's page, looked up once: a conversation has hundreds."""
    return reverse(f"admin:gateway_{table}_change", args=(KEY,))


def _event(event: Any) -> str:
    if not isinstance(event, dict):
        return readable(event)
    kind = str(event.get("kind") or "event").replace("_", " ")
    data = event.get("data", event)
    if isinstance(data, dict) and set(data) == {"text"}:
        return f"{kind}\n{data['text']}"
    return f"{kind}\n{readable(data)}"


def readable(value: Any) -> str:
    """JSON laid out for eyes."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def span(start: datetime, end: datetime) -> str:
    """A time between, in the unit that fits: "80 ms", "1.2 s", "3 min 5 s"."""
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
