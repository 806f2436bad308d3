"""One person, one contact: whatever id a platform gives them today.

The first id under which somebody was known stays the contact's; every other one
is an alias that leads to it. Where two contacts turn out to be one person, the
older one is used from now on, and the younger one's conversation ends by itself.

`user_id` says who somebody is; an alias may change hands (a telephone number that
is given to somebody else). So a contact found by an alias alone is that person
only if nothing else is known of it than ids they show themselves. Otherwise they
are somebody new, and the alias leads to them from now on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.base import Inbound
from gateway.ledger.records import Arrival
from sessions_app.sql import dumps, loads, loads_object, run, run_rows

Ids = tuple[str, ...]

Place = tuple[int, str]
"""A person in order of age (the contact's id), and the id they are known by."""

# an id may be a contact's own and another one's alias: then it has changed hands
_KNOWN = """
WITH wanted(channel, user_id) AS ({rows})
SELECT w.channel, w.user_id, c.user_id, c.id, 0 AS own FROM wanted w
JOIN sessions_app_contactalias a ON a.channel = w.channel AND a.user_id = w.user_id
JOIN sessions_app_contact c ON c.id = a.contact_id
UNION ALL
SELECT w.channel, w.user_id, c.user_id, c.id, 1 AS own FROM wanted w
JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.user_id
ORDER BY own
"""

_ALL_IDS = """
WITH wanted(contact) AS ({rows})
SELECT w.contact, a.user_id FROM wanted w
JOIN sessions_app_contactalias a ON a.contact_id = w.contact
"""

_REMEMBER = """
WITH wanted(channel, user_id, known) AS ({rows})
INSERT INTO sessions_app_contactalias (channel, user_id, contact_id)
SELECT w.channel, w.user_id, c.id FROM wanted w
JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.known
WHERE NOT w.user_id = w.known
ON CONFLICT (channel, user_id) DO UPDATE SET contact_id = excluded.contact_id
WHERE NOT sessions_app_contactalias.contact_id = excluded.contact_id
RETURNING channel, user_id, contact_id
"""


@dataclass(frozen=True, slots=True)
class _Group:
    """Ids that are one person's: those of now, and those of before that the platform names.

    The surest stands first in both.
    """

    channel: str
    now: Ids
    before: Ids = ()

    @property
    def ids(self) -> Ids:
        """All of them."""
        return (*self.now, *self.before)


class People:
    """The persons of one round of arrivals, each under the id they are known by."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self._ids: dict[tuple[str, str], set[str]] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self._contacts: dict[tuple[str, str], int] = {}
        self._further: dict[int, set[str]] = {}
        groups = [group for arrival in arrivals for group in _groups(arrival)]
        if groups:
            self._settle(groups)

    def known(self, channel: str, inbound: Inbound) -> Inbound:
        """The message under the id that its sender is known by."""
        if inbound.aliases is None:
            return inbound
        _, name = self._places[channel, inbound.user_id]
        others = self._ids[channel, name] - {name}
        return replace(inbound, user_id=name, aliases=tuple(sorted(others)))

    def remember(self) -> None:
        """Write down new ids of people who have a contact by now, and those that changed hands."""
        rows = [
            (channel, one, name)
            for (channel, one), (_, name) in self._places.items()
            if one != name
        ]
        for channel, user_id, contact in run_rows(_REMEMBER, rows):
            earlier = self._contacts.get((channel, user_id))
            if earlier is not None:
                _show(earlier, without=user_id)
            _show(contact, also=(user_id,))

    def _settle(self, groups: list[_Group]) -> None:
        wanted = {(group.channel, one) for group in groups for one in group.ids}
        for channel, user_id, known, contact, _ in run_rows(_KNOWN, sorted(wanted)):
            self._places.setdefault((channel, user_id), (contact, known))
            self._contacts.setdefault((channel, user_id), contact)
        self._look_closer(groups)
        for age, group in enumerate(groups, sys.maxsize // 2):
            new = (age, group.now[0])
            place = self._who(group, group.before) or self._who(group, group.now) or new
            self._ids.setdefault((group.channel, place[1]), {place[1]}).update(group.ids)
            self._places |= {(group.channel, one): place for one in group.ids}

    def _look_closer(self, groups: list[_Group]) -> None:
        """Every id of the contacts found, unless each person's ids lead to one contact anyway."""
        leads = [
            {self._contacts.get((group.channel, one)) for one in group.ids} for group in groups
        ]
        if any(len(contacts) > 1 for contacts in leads):
            rows = run_rows(_ALL_IDS, [(one,) for one in sorted(set(self._contacts.values()))])
            for contact, user_id in rows:
                self._further.setdefault(contact, set()).add(user_id)

    def _who(self, group: _Group, ids: Ids) -> Place | None:
        """Whom these ids lead to: the first for certain, others if nothing speaks against it."""
        found = [
            place
            for number, one in enumerate(ids)
            if (place := self._places.get((group.channel, one)))
            and (number == 0 or self._all_ids(group.channel, place) <= {*group.ids})
        ]
        return min(found, default=None)

    def _all_ids(self, channel: str, place: Place) -> set[str]:
        contact, name = place
        here = self._ids.get((channel, name), set())
        return {name} | here | self._further.get(contact, set())


def _show(contact: int, *, without: str = "", also: Ids = ()) -> None:
    """Change the list of other ids that stands at a contact."""
    for (aliases,) in run("SELECT aliases FROM sessions_app_contact WHERE id = %s", (contact,)):
        ids = dumps([*(one for one in loads(aliases) if one != without), *also])
        run("UPDATE sessions_app_contact SET aliases = %s WHERE id = %s", (ids, contact))


def _groups(arrival: Arrival) -> Iterable[_Group]:
    """Whose ids they are, in the order in which they came."""
    for inbound in (*arrival.inbounds, *arrival.overheard):
        if inbound.aliases is not None:
            yield _Group(arrival.channel, (inbound.user_id, *inbound.aliases))
    for same in arrival.same_people:
        yield _Group(arrival.channel, (same.user_id, *same.beside), tuple(same.aliases))


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
