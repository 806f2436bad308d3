"""How far chat.db is read, and which messages are too old to be answered.

iCloud may insert messages of long ago under new row numbers: those are not
answered. A Mac that slept, a network that was away and a gateway that did not
run bring old messages, too, and those are. What tells them apart: a message is
late only beside what was read before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from adapters.base import Cursor

OLD_SECONDS = 600.0
"""Messages may be this much older than others that were read, and any order is fine so long."""

BREAK_SECONDS = 60.0
"""Nobody looked for longer than this: the Mac slept, or the gateway did not run."""

LATE_SECONDS = 3600.0
"""After a break what was sent during it is let in for this long."""

OUTAGE_SECONDS = 24 * 3600.0
"""The longest time without network, while we looked, of which messages are let in."""


@dataclass(slots=True)
class Place:
    """The cursor. Times are Unix time, but `edited`, which is chat.db's own.

    row        the last row
    edited     the last edit
    seen       when we last looked
    newest     when the newest message that we know was sent
    before     `newest` as it was when `turned`
    floor      `before` as it was ten minutes earlier: who is older is late
    turned     when these two last moved on
    away       since when nobody had looked, in the last break
    away_until until when what was sent since then is let in
    """

    row: int
    edited: int = 0
    seen: float = 0.0
    newest: float = 0.0
    before: float = 0.0
    floor: float = 0.0
    turned: float = 0.0
    away: float = 0.0
    away_until: float = 0.0

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))

    def oldest(self, at: float) -> float:
        """What was sent before this is not answered, if it is read now."""
        if at - self.seen > BREAK_SECONDS:
            self.away = min(self.away, self.seen) if at < self.away_until else self.seen
            self.away_until = at + LATE_SECONDS
        floor = max(self.floor, at - OUTAGE_SECONDS)
        return (min(floor, self.away) if at < self.away_until else floor) - OLD_SECONDS

    def looked(self, at: float, sent: Iterable[float]) -> None:
        """We have read messages that were sent at these times."""
        self.newest = max([self.newest, *(min(one, at) for one in sent)])
        if at - self.turned >= OLD_SECONDS:
            self.floor, self.before, self.turned = self.before, self.newest, at
        self.seen = at


def first_place(row: int, at: float) -> Place:
    """Where the very first start begins: behind all that is there."""
    return Place(row, seen=at, newest=at, before=at, floor=at, turned=at)


def place_of(cursor: Cursor | None) -> Place | None:
    """The kept place, None where there is none."""
    try:
        return None if cursor is None else Place(**json.loads(cursor.value))
    except (TypeError, ValueError):
        return None
