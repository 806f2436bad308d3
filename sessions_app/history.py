"""What was said in a session, as the agent gets it: one JSON object per message.

The encoded messages of recent sessions are kept, so that the thousandth turn
of a session reads one new row instead of a thousand old ones. Nothing has to
be told when rows are added: a session's rows only grow at the end, and a change
of an older one raises the session's revision.

What is still to be answered comes last, whatever was said since it came in: nothing
that the gateway said meanwhile stands between a question and its answer. Commands
(/stop and the like) are the gateway's own business, and left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sessions_app.sql import Row, loads_object, run_rows

COMMAND = "command"
"""In a message's context: it was a command to the gateway, which agents do not get."""

ENTRY_OVERHEAD = 150
"""Bytes that a kept message costs beside its text."""

FILES_OVERHEAD = 1000
"""Bytes that its files cost, about."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """History of `session` up to and including `upto_seq`.

    `waiting` are the places of what is to be answered; None for all that is pending.
    """

    session: str
    revision: int
    upto_seq: int
    waiting: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What an agent is told: the messages, of which the last `waiting` are to be answered."""

    messages: list[bytes]
    waiting: int


Link = Callable[[str, str], str]
"""A stored file's path and its name -> a link that an agent can follow for a while."""


@dataclass(frozen=True, slots=True)
class _WithFiles:
    """A message with stored files: it is encoded anew each time, since links end."""

    fields: dict[str, Any]
    paths: Sequence[str]

    def encoded(self, link: Link) -> bytes:
        files = [
            file | {"url": link(path, file["name"])} if path else file
            for file, path in zip(self.fields["attachments"], self.paths, strict=True)
        ]
        return _packed(self.fields | {"attachments": files})


@dataclass(slots=True)
class _Kept:
    revision: int
    upto_seq: int = -1
    places: list[int] = field(default_factory=list)
    entries: list[bytes | _WithFiles] = field(default_factory=list)
    cost: int = 0

    def in_turn(self, waiting: Sequence[int]) -> tuple[list[bytes | _WithFiles], int]:
        """The entries, those at the places `waiting` last, and how many these are."""
        due = set(waiting)
        start = bisect_left(self.places, min(due, default=self.upto_seq + 1))
        rest = list(zip(self.places[start:], self.entries[start:], strict=True))
        last = [entry for place, entry in rest if place in due]
        others = [entry for place, entry in rest if place not in due]
        return [*self.entries[:start], *others, *last], len(last)


_NEW_ROWS = """
WITH wanted(session_id, after_seq, upto_seq) AS ({rows})
SELECT m.session_id, m.id, m.role, m.text, m.context, m.seq,
       EXISTS (SELECT 1 FROM sessions_app_attachment a WHERE a.message_id = m.id)
FROM wanted w
JOIN sessions_app_message m
  ON m.session_id = w.session_id AND m.seq > w.after_seq AND m.seq <= w.upto_seq
WHERE NOT m.origin = 'system'
ORDER BY m.session_id, m.seq
"""

_PENDING = """
WITH wanted(session_id, upto_seq) AS ({rows})
SELECT m.session_id, m.seq
FROM wanted w
JOIN sessions_app_message m ON m.session_id = w.session_id AND m.seq <= w.upto_seq
WHERE m.disposition = 'pending'
ORDER BY m.session_id, m.seq
"""

_FLOORS = """
WITH wanted(session_id, upto_seq) AS ({rows})
SELECT w.session_id,
       (SELECT m.seq FROM sessions_app_message m
        WHERE m.session_id = w.session_id AND m.seq <= w.upto_seq
        ORDER BY m.seq DESC LIMIT 1 OFFSET %s)
FROM wanted w
"""

_MISSING = {"failed": "could not be fetched", "pruned": "deleted after its time"}

_ATTACHMENTS = """
SELECT message_id, kind, mime, name, size, handle, state, path, error FROM sessions_app_attachment
WHERE message_id IN ({rows}) ORDER BY id
"""


class History:
    """Histories by session. `max_messages` bounds what an agent gets, `max_cost` the memory."""

    def __init__(
        self,
        max_messages: int,
        link: Link = lambda path, name: "",
        max_cost: int = 4 * 1024 * 1024,
    ) -> None:
        self._max_messages = max_messages
        self._link = link
        self._max_cost = max_cost
        self._cost = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def load(self, wanted: Sequence[Wanted]) -> dict[str, Conversation]:
        """session id -> its messages in order, oldest first, the newest `max_messages`."""
        kept = {want.session: self._current(want) for want in wanted}
        new = [want for want in wanted if kept[want.session].upto_seq < 0]
        for session, floor in self._floors(new):
            kept[session].upto_seq = floor
        self._read([(want.session, kept[want.session].upto_seq, want.upto_seq) for want in wanted])
        for want in wanted:
            kept[want.session].upto_seq = want.upto_seq
        waiting = _waiting(wanted)
        self._trim()
        return {session: self._told(item, waiting[session]) for session, item in kept.items()}

    def clear(self) -> None:
        """Forget everything: what was read may have been rolled back."""
        self._kept.clear()
        self._cost = 0

    def _read(self, ranges: Sequence[tuple[str, int, int]]) -> None:
        """Keep what is new: (session, after this place, up to that one)."""
        rows = run_rows(_NEW_ROWS, ranges)
        attachments = _attachments([row[1] for row in rows if row[6]])
        for row in rows:
            context = loads_object(row[4])
            if COMMAND in context:
                continue
            entry = _encode(row, context, attachments.get(row[1], []))
            item = self._kept[row[0]]
            item.places.append(row[5])
            item.entries.append(entry)
            size = len(entry) if isinstance(entry, bytes) else len(row[3]) + FILES_OVERHEAD
            item.cost += size + ENTRY_OVERHEAD
            self._cost += size + ENTRY_OVERHEAD

    def _told(self, item: _Kept, waiting: Sequence[int]) -> Conversation:
        entries, last = item.in_turn(waiting)
        messages = [
            entry if isinstance(entry, bytes) else entry.encoded(self._link)
            for entry in entries[-self._max_messages :]
        ]
        return Conversation(messages, min(last, len(messages)))

    def _floors(self, wanted: Sequence[Wanted]) -> list[tuple[str, int]]:
        """(session, the place before the oldest message that still counts)."""
        ends = [(want.session, want.upto_seq) for want in wanted]
        rows = run_rows(_FLOORS, ends, [self._max_messages])
        return [(session, -1 if seq is None else seq) for session, seq in rows]

    def _current(self, want: Wanted) -> _Kept:
        """What is kept of a session, if it is still true; else an empty place to fill."""
        item = self._kept.pop(want.session, None)
        if item is not None and (item.revision != want.revision or item.upto_seq > want.upto_seq):
            self._cost -= item.cost
            item = None
        if item is None:
            item = _Kept(want.revision)
        self._kept[want.session] = item
        return item

    def _trim(self) -> None:
        while self._cost > self._max_cost and self._kept:
            _, item = self._kept.popitem(last=False)
            self._cost -= item.cost


def _waiting(wanted: Sequence[Wanted]) -> dict[str, Sequence[int]]:
    """session id -> the places of what is to be answered."""
    found: dict[str, list[int]] = {want.session: [] for want in wanted}
    asked = [(want.session, want.upto_seq) for want in wanted if want.waiting is None]
    for session, seq in run_rows(_PENDING, asked):
        found[session].append(seq)
    return {
        want.session: (found[want.session] or [want.upto_seq])
        if want.waiting is None
        else want.waiting
        for want in wanted
    }


def _attachments(messages: Sequence[int]) -> dict[int, list[tuple[dict[str, Any], str]]]:
    """Message id -> its files, each with the path of what is stored, or an empty one."""
    found: dict[int, list[tuple[dict[str, Any], str]]] = {}
    for message, kind, mime, name, size, handle, state, path, error in run_rows(
        _ATTACHMENTS, [(message,) for message in messages]
    ):
        entry = {"kind": kind, "mime": mime, "name": name, "size": size}
        if state == "" and handle.startswith(("http://", "https://")):
            entry["url"] = handle
        if state in _MISSING:
            entry["error"] = error or _MISSING[state]
        found.setdefault(message, []).append((entry, path if state == "stored" else ""))
    return found


def _encode(
    row: Row, context: dict[str, Any], files: Sequence[tuple[dict[str, Any], str]]
) -> bytes | _WithFiles:
    entry: dict[str, Any] = {"role": row[2], "content": row[3]}
    if context:
        entry["context"] = context
    if not files:
        return _packed(entry)
    entry["attachments"] = [file for file, _ in files]
    paths = [path for _, path in files]
    return _WithFiles(entry, paths) if any(paths) else _packed(entry)


def _packed(entry: dict[str, Any]) -> bytes:
    # A copy of its own size: orjson's buffer keeps kilobytes from being used again.
    return bytes(memoryview(orjson.dumps(entry)))
