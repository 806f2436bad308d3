"""What an arrival leaves besides messages: notes to people, payloads set aside, cursors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.ledger.records import Arrival
from gateway.ledger.turns import ADD_DELIVERIES, note_row
from sessions_app.sql import moment, run_each, run_rows

Note = tuple[str, str, Mapping[str, object], str]
"""Channel, chat, target, text."""


def say(notes: Sequence[Note], now: datetime) -> None:
    """Queue what the gateway itself has to tell people."""
    run_rows(ADD_DELIVERIES, [note_row(*note, now) for note in notes])


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
