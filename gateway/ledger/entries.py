"""What the verb `ingest` works on: messages on their way in, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.base import Inbound
from sessions_app.manager import Scope


@dataclass(frozen=True, slots=True)
class Entry:
    """One inbound on its way: which arrival it came with, and whose conversation it is."""

    arrival: int
    inbound: Inbound
    scope: Scope
    fetches_media: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """By what it is known."""
        return self.scope.channel, self.inbound.external_id


@dataclass(slots=True)
class Done:
    """What became of each arrival so far."""

    messages: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)
    cancelled: dict[int, list[str]] = field(default_factory=dict)
    pause: float = 0.0
    kept_out: dict[int, list[str]] = field(default_factory=dict)
    unheard: dict[int, set[str]] = field(default_factory=dict)

    def note(self, arrival: int, session: str, row: int | None) -> None:
        """A message of this arrival was kept."""
        if row is not None:
            self.messages.setdefault(arrival, []).append((session, row))
            self.taken[arrival] = self.taken.get(arrival, 0) + 1


def refused(entries: Sequence[Entry], allowed: Sequence[Entry]) -> dict[int, set[str]]:
    """External ids of messages whose senders have no access, by arrival."""
    let_in = {entry.inbound.external_id for entry in allowed}
    found: dict[int, set[str]] = {}
    for entry in entries:
        if entry.inbound.external_id not in let_in:
            found.setdefault(entry.arrival, set()).add(entry.inbound.external_id)
    return found
