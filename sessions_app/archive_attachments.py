"""What people sent, in the files of sessions: what is known of it, and where its bytes lie.

The bytes stay in the media folder. A file that was kept comes back as kept, under
its generated name, so that it is shown again wherever that folder still has it.
No other name is read, and a name that another message has already is not given
to a second one: what stands in a file leads to nobody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sessions_app.archive_fields import Fields, media_name, one_of, optional, text, time, whole
from sessions_app.models import Attachment
from sessions_app.sql import Row, moment, run_each, run_rows, written_moment

State = Attachment.State

FIELDS: Fields = {
    "kind": text(32),
    "mime": text(127),
    "name": text(255),
    "size": optional(whole),
    "handle": text(1024),
    "state": lambda value: one_of(*State.values)("" if value is None else value),
    "path": media_name,
    "error": text(255),
    "attempts": whole,
    "created_at": time,
}

CUT_OFF = "was not fetched before this conversation was restored"
"""The error of what was still to be fetched in the file that it came from."""

NOT_ITS_OWN = "its file belongs to another message"

_FACTS = ("kind", "mime", "name", "size", "handle", "attempts")

_READ = """
WITH wanted(session_id, from_seq) AS ({rows})
SELECT a.message_id, a.kind, a.mime, a.name, a.size, a.handle, a.state, a.path, a.error,
       a.attempts, a.created_at
FROM wanted w
JOIN sessions_app_message m ON m.session_id = w.session_id AND m.seq >= w.from_seq
JOIN sessions_app_attachment a ON a.message_id = m.id
ORDER BY a.id
"""

_TAKEN = "SELECT path FROM sessions_app_attachment WHERE path IN ({rows})"

_ADD = """
INSERT INTO sessions_app_attachment
    (message_id, kind, mime, name, size, handle, attempts, state, path, error, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def read(rows: Sequence[Row]) -> dict[int, list[dict[str, Any]]]:
    """Message id -> its files, of messages given as (session id, first place)."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in run_rows(_READ, rows):
        found.setdefault(row[0], []).append(
            {
                "kind": row[1],
                "mime": row[2],
                "name": row[3],
                "size": row[4],
                "handle": row[5],
                "state": row[6],
                "path": row[7],
                "error": row[8],
                "attempts": row[9],
                "created_at": written_moment(row[10]),
            }
        )
    return found


def add(messages: Collection[tuple[int, Mapping[str, Any]]]) -> None:
    """Write the checked files of messages that were just added: (message id, message)."""
    files = [(row, file) for row, message in messages for file in message["attachments"]]
    names = {file["path"] for _, file in files if file["path"]}
    taken = {row[0] for row in run_rows(_TAKEN, [(name,) for name in sorted(names)])}
    rows = []
    for message, file in files:
        state, path, error = _settled(file, taken)
        taken.add(path)
        rows.append((message, *_facts(file), state, path, error, moment(file["created_at"])))
    run_each(_ADD, rows)


def _facts(file: Mapping[str, Any]) -> Row:
    return tuple(file[name] for name in _FACTS)


def _settled(file: Mapping[str, Any], taken: Collection[str]) -> tuple[str, str, str]:
    """State, path and error as they come back: nothing is fetched, nothing is shared."""
    state, path, error = file["state"], file["path"], file["error"]
    if state == State.WAITING:
        return State.FAILED, "", error or CUT_OFF
    if state not in (State.STORED, State.PRUNED) or (state == State.PRUNED and not path):
        return state, "", error
    if not path or path in taken:
        return State.FAILED, "", NOT_ITS_OWN
    return state, path, error
