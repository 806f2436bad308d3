"""Sessions out of files back into the database: what is missing is added, nothing is changed.

Ids, places in the history and times are kept. Nothing that comes in is ever run
or sent: what was still pending when the file was written comes back as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DataError, IntegrityError, transaction

from sessions_app import archive, archive_attachments, clock
from sessions_app.archive import FORMAT, VERSION, Whole
from sessions_app.archive_fields import (
    Unreadable,
    flag,
    identifier,
    json_list,
    json_object,
    many,
    one_of,
    optional,
    parse,
    required,
    text,
    texts,
    time,
    whole,
)
from sessions_app.models import Contact, Message, Session
from sessions_app.sql import Row, dumps, moment, run_each, run_rows

MAX_MESSAGES = 5000
"""Messages in one commit: a running gateway waits no longer than that takes."""

CHUNK = 1000
"""Messages in one statement."""

_SESSION = {
    "id": identifier,
    "channel": required(text(32)),
    "scope_key": required(text(600)),
    "chat_id": text(255),
    "agent": text(64),
    "state": one_of(*Session.State.values),
    "handler": one_of(*Session.Handler.values),
    "fence": whole,
    "context": json_object,
    "last_seq": whole,
    "revision": whole,
    "created_at": time,
    "last_activity": time,
    "expires_at": optional(time),
    "ended_at": optional(time),
}
_CONTACT = {
    "channel": required(text(32)),
    "user_id": required(text(255)),
    "aliases": json_list,
    "other_ids": texts(255),
    "name": text(255),
    "access": one_of(*Contact.Access.values),
    "preferences": json_object,
    "notes": json_object,
    "created_at": time,
}
_MESSAGE = {
    "seq": whole,
    "role": one_of(*Message.Role.values),
    "origin": one_of(*Message.Origin.values),
    "text": text(),
    "external_id": optional(text(255)),
    "sender": text(255),
    "target": json_object,
    "disposition": one_of(*Message.Disposition.values),
    "created_at": time,
    "edited_at": optional(time),
    "context": json_object,
    "generated": flag,
    "attachments": many(archive_attachments.FIELDS),
}

_ADD_CONTACTS = """
INSERT INTO sessions_app_contact
    (channel, user_id, aliases, name, access, preferences, notes, created_at)
{rows}
ON CONFLICT DO NOTHING
"""

_CONTACTS = """
WITH wanted(channel, user_id) AS ({rows})
SELECT c.channel, c.user_id, c.id FROM wanted w
JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.user_id
"""

# an id that is a person's own is not taken from them by what a file says
_ADD_ALIASES = """
WITH wanted(channel, user_id, other) AS ({rows})
INSERT INTO sessions_app_contactalias (channel, user_id, contact_id)
SELECT w.channel, w.other, c.id FROM wanted w
JOIN sessions_app_contact c ON c.channel = w.channel AND c.user_id = w.user_id
WHERE NOT w.other = w.user_id AND NOT EXISTS (
    SELECT 1 FROM sessions_app_contact o WHERE o.channel = w.channel AND o.user_id = w.other)
ON CONFLICT DO NOTHING
"""

_KNOWN = "SELECT id FROM sessions_app_session WHERE id IN ({rows})"

_OPEN = """
WITH wanted(channel, scope_key) AS ({rows})
SELECT s.channel, s.scope_key FROM wanted w
JOIN sessions_app_session s
  ON s.channel = w.channel AND s.scope_key = w.scope_key AND NOT s.state = 'terminated'
"""

_ADD_SESSIONS = """
INSERT INTO sessions_app_session
    (id, channel, scope_key, contact_id, chat_id, agent, state, handler, fence, context,
     last_seq, revision, created_at, last_activity, expires_at, ended_at)
{rows}
"""

_TAKEN = """
WITH wanted(channel, external_id) AS ({rows})
SELECT m.channel, m.external_id FROM wanted w
JOIN sessions_app_message m
  ON m.channel = w.channel AND m.external_id = w.external_id AND m.external_id IS NOT NULL
"""

_ADD_MESSAGES = """
INSERT INTO sessions_app_message
    (session_id, seq, role, origin, text, channel, external_id, sender, target,
     disposition, created_at, edited_at, context, generated)
{rows}
ON CONFLICT DO NOTHING
RETURNING id, session_id, seq
"""

_GROWN = """
UPDATE sessions_app_session
SET revision = revision + 1, archived_at = NULL,
    last_seq = CASE WHEN last_seq < %s THEN %s ELSE last_seq END
WHERE id = %s
"""


@dataclass(slots=True)
class Tally:
    """What a restore did, or would do."""

    new: int = 0
    grown: int = 0
    unchanged: int = 0
    messages: int = 0
    bad: int = 0
    restored: list[str] = field(default_factory=list)
    """Sessions whose file was read, known or not."""


def check(data: Whole) -> Whole:
    """A whole session, every value checked. Raises `Unreadable`."""
    if data.get("format") != FORMAT:
        raise Unreadable("not a session of ours")
    if data.get("version") != VERSION:
        raise Unreadable(f"version {data.get('version')!r}; this program reads {VERSION}")
    try:
        found: Whole = {
            "session": parse(data.get("session"), _SESSION),
            "contact": parse(data.get("contact"), _CONTACT),
            "messages": many(_MESSAGE)(data.get("messages")),
        }
        for section in archive.sections:
            found[section.name] = many(section.fields)(data.get(section.name))
    except Unreadable as error:
        raise Unreadable(f"unreadable session: {error}") from None
    if found["session"]["channel"] != found["contact"]["channel"]:
        raise Unreadable("session and contact are of two channels")
    return found


def restore(wholes: Sequence[Whole], *, dry_run: bool = False) -> Tally:
    """Add checked sessions, in one commit. One that the database refuses is counted as bad."""
    try:
        return _in_one(wholes, dry_run)
    except (IntegrityError, DataError):
        if len(wholes) == 1:
            return Tally(bad=1)
    tally = Tally()
    for item in wholes:
        add(tally, restore([item], dry_run=dry_run))
    return tally


def add(total: Tally, more: Tally) -> None:
    """Add the counts of one tally to another."""
    total.new += more.new
    total.grown += more.grown
    total.unchanged += more.unchanged
    total.messages += more.messages
    total.bad += more.bad
    total.restored += more.restored


def _in_one(wholes: Sequence[Whole], dry_run: bool) -> Tally:
    with transaction.atomic():
        new = _add_sessions(wholes)
        messages = _add_messages(wholes)
        grown = set(messages)
        for section in archive.sections:
            section.write([(_id(item), entry) for item in wholes for entry in item[section.name]])
        run_each(_GROWN, [(top, top, key) for key, (_, top) in messages.items() if key not in new])
        transaction.set_rollback(dry_run)
    ids = {_id(item) for item in wholes}
    return Tally(
        new=len(new),
        grown=len(grown - new),
        unchanged=len(ids - new - grown),
        messages=sum(count for count, _ in messages.values()),
        restored=sorted(ids),
    )


def _id(item: Whole) -> str:
    return str(item["session"]["id"])


def _add_sessions(wholes: Sequence[Whole]) -> set[str]:
    """The ids of those that were not there."""
    known = {row[0] for row in run_rows(_KNOWN, [(_id(item),) for item in wholes])}
    new = {_id(item): item for item in wholes if _id(item) not in known}
    if not new:
        return set()
    contacts = _contacts(list(new.values()))
    scopes = [(item["session"]["channel"], item["session"]["scope_key"]) for item in new.values()]
    taken = set(run_rows(_OPEN, scopes))
    rows = []
    for item, scope in zip(new.values(), scopes, strict=True):
        contact = contacts[item["contact"]["channel"], item["contact"]["user_id"]]
        rows.append(_session_row(item, contact, ended=scope in taken))
        if item["session"]["state"] != Session.State.TERMINATED:
            taken.add(scope)
    run_rows(_ADD_SESSIONS, rows)
    return set(new)


def _contacts(wholes: Sequence[Whole]) -> dict[tuple[str, str], int]:
    """(channel, user id) -> row. The oldest first: of two that are one person, it is used."""
    contacts = {(c["channel"], c["user_id"]): c for item in wholes if (c := item["contact"])}
    run_rows(
        _ADD_CONTACTS,
        [
            (
                c["channel"],
                c["user_id"],
                dumps(c["aliases"]),
                c["name"],
                c["access"],
                dumps(c["preferences"]),
                dumps(c["notes"]),
                moment(c["created_at"]),
            )
            for c in sorted(contacts.values(), key=lambda c: c["created_at"])
        ],
    )
    others = [(*key, other) for key, c in contacts.items() for other in c["other_ids"]]
    run_rows(_ADD_ALIASES, others)
    return {(row[0], row[1]): row[2] for row in run_rows(_CONTACTS, list(contacts))}


def _session_row(item: Whole, contact: int, *, ended: bool) -> Row:
    """An open session goes on where it stopped; one whose place is taken comes back ended."""
    s: dict[str, Any] = item["session"]
    state, ended_at, expires_at = s["state"], s["ended_at"], s["expires_at"]
    if state == Session.State.TERMINATED or ended:
        state, ended_at = Session.State.TERMINATED, ended_at or s["last_activity"]
    elif expires_at is not None:
        expires_at = clock.now() + max(expires_at - s["last_activity"], timedelta(0))
    last_seq = max([s["last_seq"], *(message["seq"] for message in item["messages"])])
    return (
        s["id"],
        s["channel"],
        s["scope_key"],
        contact,
        s["chat_id"],
        s["agent"],
        state,
        s["handler"],
        s["fence"],
        dumps(s["context"]),
        last_seq,
        s["revision"],
        moment(s["created_at"]),
        moment(s["last_activity"]),
        moment(expires_at),
        moment(ended_at),
    )


def _add_messages(wholes: Sequence[Whole]) -> dict[str, tuple[int, int]]:
    """session id -> (how many were missing, the highest place of these)."""
    taken = _taken_external_ids(wholes)
    entries = {}
    for item in wholes:
        for message in item["messages"]:
            entries[_id(item), message["seq"]] = (item["session"]["channel"], message)
    rows = []
    for (session, _), (channel, message) in entries.items():
        name = (channel, message["external_id"])
        rows.append(_message_row(session, channel, message, keeps_name=name not in taken))
        if message["external_id"] is not None:
            taken.add(name)
    made = [
        row
        for start in range(0, len(rows), CHUNK)
        for row in run_rows(_ADD_MESSAGES, rows[start : start + CHUNK])
    ]
    archive_attachments.add([(row[0], entries[row[1], row[2]][1]) for row in made])
    found: dict[str, tuple[int, int]] = {}
    for _, session, seq in made:
        count, top = found.get(session, (0, 0))
        found[session] = (count + 1, max(top, seq))
    return found


def _taken_external_ids(wholes: Sequence[Whole]) -> set[Row]:
    """Platform's ids that other messages have already: these come back without theirs."""
    names = [
        (item["session"]["channel"], message["external_id"])
        for item in wholes
        for message in item["messages"]
        if message["external_id"] is not None
    ]
    return set(run_rows(_TAKEN, names))


def _message_row(session: str, channel: str, message: Whole, *, keeps_name: bool) -> Row:
    pending = message["disposition"] == Message.Disposition.PENDING
    return (
        session,
        message["seq"],
        message["role"],
        message["origin"],
        message["text"],
        channel,
        message["external_id"] if keeps_name else None,
        message["sender"],
        dumps(message["target"]),
        Message.Disposition.FAILED if pending else message["disposition"],
        moment(message["created_at"]),
        moment(message["edited_at"]),
        dumps(message["context"]),
        message["generated"],
    )
