"""Sessions as JSON: what a session is outside the database.

A whole session is one object::

    {"format": "openclaw-session", "version": 1, "session": {…}, "contact": {…},
     "messages": […], "turns": […], "deliveries": […]}

An archive is a file with one such object, an export one with many, a line each.
A mirror holds the same in pieces, a record a line, so that it can grow::

    {"record": "session", "id": "sess_…", "data": {"session": {…}, "contact": {…}, …}}
    {"record": "messages", "id": "sess_…", "data": {"seq": 1000, …}}

A later record of the same thing takes the place of an earlier one. What belongs
to a session but not to this app (turns, deliveries) comes from `sections`, to
which its owner adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sessions_app import archive_attachments
from sessions_app.archive_fields import Fields
from sessions_app.sql import Row, loads, one_moment, run_rows, written_moment

FORMAT = "openclaw-session"
VERSION = 1

Entry = dict[str, Any]
Whole = dict[str, Any]

BATCH = 100
"""Sessions read at once: bounds what an export holds in memory."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session, from a place in its history on."""

    session: str
    from_seq: int = 0


class Section(Protocol):
    """A kind of rows that belong to sessions. `key` is the field that tells them apart."""

    name: str
    key: str
    fields: Fields

    def read(self, wanted: Sequence[Wanted]) -> dict[str, list[Entry]]:
        """session id -> its entries, in order."""

    def write(self, entries: Sequence[tuple[str, Entry]]) -> int:
        """Add those of (session id, checked entry) that are not there yet; how many."""


sections: list[Section] = []
"""What other apps keep about sessions. Filled when Django starts."""

_SESSIONS = """
WITH wanted(session_id, from_seq) AS ({rows})
SELECT s.id, s.channel, s.scope_key, s.chat_id, s.agent, s.state, s.handler, s.fence, s.context,
       s.last_seq, s.revision, s.created_at, s.last_activity, s.expires_at, s.ended_at,
       c.channel, c.user_id, c.aliases, c.name, c.access, c.preferences, c.notes, c.created_at
FROM wanted w
JOIN sessions_app_session s ON s.id = w.session_id
JOIN sessions_app_contact c ON c.id = s.contact_id
ORDER BY s.id
"""

_MESSAGES = """
WITH wanted(session_id, from_seq) AS ({rows})
SELECT m.session_id, m.id, m.seq, m.role, m.origin, m.text, m.external_id, m.sender, m.target,
       m.disposition, m.created_at, m.edited_at, m.context, m.generated
FROM wanted w
JOIN sessions_app_message m ON m.session_id = w.session_id AND m.seq >= w.from_seq
ORDER BY m.session_id, m.seq
"""

_OTHER_IDS = """
WITH wanted(session_id, from_seq) AS ({rows})
SELECT w.session_id, a.user_id FROM wanted w
JOIN sessions_app_session s ON s.id = w.session_id
JOIN sessions_app_contactalias a ON a.contact_id = s.contact_id
ORDER BY a.id
"""


def read(wanted: Sequence[Wanted]) -> Iterator[Whole]:
    """These sessions as they stand in the database; those that are gone are left out."""
    rows = [(want.session, want.from_seq) for want in wanted]
    with one_moment():  # a reply and the turn that says it is done belong together
        heads = run_rows(_SESSIONS, rows)
        messages = _messages(rows)
        known_as = run_rows(_OTHER_IDS, rows)
        others = {section.name: section.read(wanted) for section in sections}
    other_ids: dict[str, list[str]] = {}
    for session, user_id in known_as:
        other_ids.setdefault(session, []).append(user_id)
    for row in heads:
        whole = _head(row, other_ids.get(row[0], [])) | {"messages": messages.get(row[0], [])}
        yield whole | {name: found.get(row[0], []) for name, found in others.items()}


def records(whole: Whole) -> Iterator[Entry]:
    """The same in pieces, the session first."""
    session = whole["session"]["id"]
    head = {key: value for key, value in whole.items() if not isinstance(value, list)}
    yield {"record": "session", "id": session, "data": head}
    for name, entries in whole.items():
        if isinstance(entries, list):
            for entry in entries:
                yield {"record": name, "id": session, "data": entry}


class Pieces:
    """Puts the records of one session together again."""

    def __init__(self) -> None:
        self._head: Whole | None = None
        self._entries: dict[str, dict[Any, Entry]] = {name: {} for name in keys()}

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record. Raises `ValueError` where it is none."""
        kind, data = record.get("record"), record.get("data")
        if not isinstance(data, dict):
            raise ValueError("the record holds no data")
        if kind == "session":
            self._head = data
        elif kind in self._entries:
            key = data.get(keys()[kind])
            if not isinstance(key, int | str):
                raise ValueError(f"a record of {kind} without {keys()[kind]}")
            self._entries[kind][key] = data
        else:
            raise ValueError(f"unknown record {kind!r}")

    def whole(self) -> Whole | None:
        """The session; None where its own record is missing."""
        if self._head is None:
            return None
        return self._head | {
            name: [found[key] for key in sorted(found, key=_place)]
            for name, found in self._entries.items()
        }


def keys() -> dict[str, str]:
    """Name of each list in a whole session -> the field that tells its entries apart."""
    return {"messages": "seq"} | {section.name: section.key for section in sections}


def _place(key: int | str) -> tuple[int, str]:
    return (key, "") if isinstance(key, int) else (0, key)


def _head(row: Row, other_ids: list[str]) -> Whole:
    return {
        "format": FORMAT,
        "version": VERSION,
        "session": {
            "id": row[0],
            "channel": row[1],
            "scope_key": row[2],
            "chat_id": row[3],
            "agent": row[4],
            "state": row[5],
            "handler": row[6],
            "fence": row[7],
            "context": loads(row[8]),
            "last_seq": row[9],
            "revision": row[10],
            "created_at": written_moment(row[11]),
            "last_activity": written_moment(row[12]),
            "expires_at": written_moment(row[13]),
            "ended_at": written_moment(row[14]),
        },
        "contact": {
            "channel": row[15],
            "user_id": row[16],
            "aliases": loads(row[17]),
            "other_ids": other_ids,
            "name": row[18],
            "access": row[19],
            "preferences": loads(row[20]),
            "notes": loads(row[21]),
            "created_at": written_moment(row[22]),
        },
    }


def _messages(rows: Sequence[Row]) -> dict[str, list[Entry]]:
    files = archive_attachments.read(rows)
    found: dict[str, list[Entry]] = {}
    for row in run_rows(_MESSAGES, rows):
        found.setdefault(row[0], []).append(
            {
                "seq": row[2],
                "role": row[3],
                "origin": row[4],
                "text": row[5],
                "external_id": row[6],
                "sender": row[7],
                "target": loads(row[8]),
                "disposition": row[9],
                "created_at": written_moment(row[10]),
                "edited_at": written_moment(row[11]),
                "context": loads(row[12]),
                "generated": bool(row[13]),
                "attachments": files.get(row[1], []),
            }
        )
    return found


def batches(ids: Iterable[str], size: int = BATCH) -> Iterator[list[str]]:
    """Ids in lists of at most `size`."""
    batch: list[str] = []
    for session in ids:
        batch.append(session)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
