"""What an arrival leaves besides messages: notes to people, payloads set aside, cursors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.ledger.records import Arrival
from gateway.ledger.turns import ADD_DELIVERIES, note_row
from sessions_app.manager import NewMessage, Scope, SessionManager, number
from sessions_app.sql import moment, run_each, run_rows


@dataclass(frozen=True, slots=True)
class Note:
    """What the gateway itself has to tell somebody who wrote."""

    scope: Scope
    target: Mapping[str, object]
    text: str


def say(
    sessions: SessionManager, notes: Sequence[Note], now: datetime
) -> list[tuple[str, int] | None]:
    """Queue notes, at the end of the conversation too where there is one.

    Returns where each stands there: (session, message id).
    """
    found = sessions.find([note.scope for note in notes])
    kept = [_message(found[note.scope].session, note) for note in notes]
    said = [message for message in kept if message is not None]
    last = {str(item.session): item.last_seq for item in found.values()}
    number(said, last)
    ids = iter(sessions.append_message(said, now))
    sessions.touch({one.session: (one.channel, last[one.session]) for one in said}, now)
    rows = [next(ids) if message else None for message in kept]
    run_rows(
        ADD_DELIVERIES,
        [
            note_row(
                note.scope.channel,
                note.scope.chat_id,
                note.target,
                note.text,
                now,
                found[note.scope].session,
                row,
            )
            for note, row in zip(notes, rows, strict=True)
        ],
    )
    return [
        (message.session, row) if message and row is not None else None
        for message, row in zip(kept, rows, strict=True)
    ]


def _message(session: str | None, note: Note) -> NewMessage | None:
    if session is None:
        return None
    return NewMessage(session, note.scope.channel, "system", "system", note.text)


def set_aside(arrivals: Sequence[Arrival], now: datetime) -> None:
    """Keep what could not be read, each once, for an operator to look at."""
    run_each(
        "INSERT INTO gateway_setaside (channel, external_id, reason, payload, created_at) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [
            (arrival.channel, item.external_id[:255], item.reason, item.payload, moment(now))
            for arrival in arrivals
            for item in arrival.rejected
        ],
    )


def move_cursors(arrivals: Sequence[Arrival], now: datetime) -> None:
    """Where each listener has got to, in the commit that holds what it read."""
    run_each(
        "INSERT INTO gateway_cursor (channel, value, saved_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (channel) DO UPDATE SET value = excluded.value, saved_at = excluded.saved_at",
        [
            (arrival.channel, arrival.cursor, moment(now))
            for arrival in arrivals
            if arrival.cursor is not None
        ],
    )
