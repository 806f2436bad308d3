"""One person, one contact: whatever id a platform gives them today.

The first id under which somebody was known stays the contact's; every other one
is an alias that leads to it. Where two contacts turn out to be one person, the
older one is used from now on, and the younger one's conversation ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from adapters.base import Inbound, SamePerson
from gateway.ledger.records import Arrival
from sessions_app.sql import dumps, loads, loads_object, run, run_rows

Ids = tuple[str, ...]

_KNOWN = """
WITH wanted(channel, user_id) AS ({rows})
SELECT w.channel, w.user_id, c.user_id, c.id FROM wanted w
JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.user_id
UNION
SELECT w.channel, w.user_id, c.user_id, c.id FROM wanted w
JOIN sessions_app_contactalias a ON a.channel = w.channel AND a.user_id = w.user_id
JOIN sessions_app_contact c ON c.id = a.contact_id
"""

_REMEMBER = """
WITH wanted(channel, user_id, known) AS ({rows})
INSERT INTO sessions_app_contactalias (channel, user_id, contact_id)
SELECT w.channel, w.user_id, c.id FROM wanted w
JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.known
WHERE NOT w.user_id = w.known
ON CONFLICT DO NOTHING
RETURNING contact_id, user_id
"""


class People:
    """The persons of one round of arrivals, each under the id they are known by."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self._ids: dict[tuple[str, str], set[str]] = {}
        self._known: dict[tuple[str, str], str] = {}
        groups = [(a.channel, ids) for a in arrivals for ids in _groups(a)]
        if groups:
            self._settle(groups)

    def known(self, channel: str, inbound: Inbound) -> Inbound:
        """The message under the id that its sender is known by."""
        if inbound.aliases is None:
            return inbound
        name = self._known[channel, inbound.user_id]
        others = self._ids[channel, name] - {name}
        return replace(inbound, user_id=name, aliases=tuple(sorted(others)))

    def remember(self) -> None:
        """Write down new ids of people who have a contact by now."""
        rows = [
            (channel, other, known)
            for (channel, known), ids in self._ids.items()
            for other in sorted(ids - {known})
        ]
        for contact, user_id in run_rows(_REMEMBER, rows):
            for (aliases,) in run(
                "SELECT aliases FROM sessions_app_contact WHERE id = %s", (contact,)
            ):
                both = dumps([*loads(aliases), user_id])
                run("UPDATE sessions_app_contact SET aliases = %s WHERE id = %s", (both, contact))

    def _settle(self, groups: list[tuple[str, Ids]]) -> None:
        wanted = {(channel, one) for channel, ids in groups for one in ids}
        found: dict[tuple[str, str], tuple[int, str]] = {}
        for channel, user_id, known, contact in run_rows(_KNOWN, sorted(wanted)):
            best = found.get((channel, user_id))
            if best is None or contact < best[0]:
                found[channel, user_id] = (contact, known)
        for channel, ids in groups:
            earlier = [found[channel, one] for one in ids if (channel, one) in found]
            here = [self._known[channel, one] for one in ids if (channel, one) in self._known]
            name = min(earlier)[1] if earlier else here[0] if here else ids[0]
            self._ids.setdefault((channel, name), set()).update(ids, {name})
            for one in ids:
                self._known[channel, one] = name


def _groups(arrival: Arrival) -> Iterable[Ids]:
    """Sets of ids that are one person's, the newest first."""
    for inbound in (*arrival.inbounds, *arrival.overheard):
        if inbound.aliases is not None:
            yield (inbound.user_id, *inbound.aliases)
    for same in arrival.same_people:
        if isinstance(same, SamePerson):
            yield (same.user_id, *same.aliases)


def whom(name: str | None, preferences: Any, notes: Any) -> dict[str, Any]:
    """Whom an agent talks to, without what is empty. In groups (None) that is nobody alone."""
    if name is None:
        return {}
    said = {
        "name": name,
        "preferences": loads_object(preferences),
        "notes": loads_object(notes),
    }
    return {field: value for field, value in said.items() if value}
