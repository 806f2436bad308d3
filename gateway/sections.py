"""Turns and deliveries as they stand in the files of sessions (see `sessions_app.archive`).

What was under way when the file was written comes back as history: a turn that
waited or ran has failed, a part that waited or was being sent is unsure and
held for an operator. Nothing that comes out of a file is run or sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.ledger.extras import check_extra
from gateway.ledger.unreadable import FAULTS
from gateway.models import Agent, Delivery, Turn
from sessions_app import archive
from sessions_app.archive import Entry, Wanted
from sessions_app.archive_fields import (
    Fields,
    Unreadable,
    flag,
    identifier,
    json_list,
    json_object,
    one_of,
    optional,
    required,
    text,
    time,
    whole,
)
from sessions_app.sql import dumps, loads, moment, run_rows, written_moment

FILED = "filed"
"""Error code of what was still under way in the file that it came from."""

_TURNS = """
WITH wanted(session_id, from_seq) AS ({rows})
SELECT t.session_id, t.id, t.upto_seq, a.name, t.state, t.attempts, t.partial_text, t.events,
       t.usage, t.error_code, t.error_detail, t.queued_at, t.started_at, t.first_token_at,
       t.ended_at
FROM wanted w
JOIN gateway_turn t ON t.session_id = w.session_id AND t.upto_seq >= w.from_seq
LEFT JOIN gateway_agent a ON a.id = t.agent_id
ORDER BY t.session_id, t.upto_seq, t.id
"""

_ADD_TURNS = """
INSERT INTO gateway_turn
    (id, session_id, upto_seq, agent_id, state, attempts, crashes, not_before, lease_owner,
     partial_text, events, usage, error_code, error_detail, queued_at, started_at,
     first_token_at, ended_at)
{rows}
ON CONFLICT DO NOTHING
RETURNING id
"""

_DELIVERIES = """
WITH wanted(session_id, from_seq) AS ({rows})
SELECT d.session_id, d.key, m.seq, d.part, d.channel, d.chat_id, d.is_group, d.target, d.text,
       d.plain, d.repeated, d.state, d.attempts, d.receipt, d.error_code, d.error_detail, d.trace,
       d.created_at, d.sent_at, d.failed_at, d.status, d.extra
FROM wanted w
JOIN gateway_delivery d ON d.session_id = w.session_id
LEFT JOIN sessions_app_message m ON m.id = d.message_id
WHERE m.seq IS NULL OR m.seq >= w.from_seq
ORDER BY d.session_id, d.id
"""

_ADD_DELIVERIES = """
INSERT INTO gateway_delivery
    (key, session_id, message_id, part, channel, chat_id, is_group, target, text, plain,
     repeated, state, not_before, attempts, lease_owner, receipt, error_code, error_detail,
     trace, created_at, sent_at, failed_at, status, extra)
{rows}
ON CONFLICT DO NOTHING
RETURNING id
"""

_MESSAGES = """
WITH wanted(session_id, seq) AS ({rows})
SELECT m.session_id, m.seq, m.id FROM wanted w
JOIN sessions_app_message m ON m.session_id = w.session_id AND m.seq = w.seq
"""


_FILES = """
WITH wanted(session_id) AS ({rows})
SELECT w.session_id, a.path FROM wanted w
JOIN sessions_app_message m ON m.session_id = w.session_id
JOIN sessions_app_attachment a ON a.message_id = m.id AND a.state = 'stored'
"""


def _extra(value: Any) -> dict[str, Any]:
    """What goes with a part, in the shape in which it can be sent again."""
    extra = json_object(value)
    try:
        check_extra(extra)
    except FAULTS:
        raise Unreadable("not a place or buttons") from None
    return extra


class Turns:
    """Which agent was asked, when, and how it ended."""

    name = "turns"
    key = "id"
    fields: Fields = {
        "id": identifier,
        "upto_seq": whole,
        "agent": text(64),
        "state": one_of(*Turn.State.values),
        "attempts": whole,
        "partial_text": text(),
        "events": json_list,
        "usage": json_object,
        "error_code": text(32),
        "error_detail": text(),
        "queued_at": time,
        "started_at": optional(time),
        "first_token_at": optional(time),
        "ended_at": optional(time),
    }

    def read(self, wanted: Sequence[Wanted]) -> dict[str, list[Entry]]:
        """session id -> its turns in the order of the conversation."""
        found: dict[str, list[Entry]] = {}
        for row in run_rows(_TURNS, [(want.session, want.from_seq) for want in wanted]):
            found.setdefault(row[0], []).append(
                {
                    "id": row[1],
                    "upto_seq": row[2],
                    "agent": row[3] or "",
                    "state": row[4],
                    "attempts": row[5],
                    "partial_text": row[6],
                    "events": loads(row[7]),
                    "usage": loads(row[8]),
                    "error_code": row[9],
                    "error_detail": row[10],
                    "queued_at": written_moment(row[11]),
                    "started_at": written_moment(row[12]),
                    "first_token_at": written_moment(row[13]),
                    "ended_at": written_moment(row[14]),
                }
            )
        return found

    def write(self, entries: Sequence[tuple[str, Entry]]) -> int:
        """Add turns that are not there; an agent that is not there either is left empty."""
        agents = dict(Agent.objects.values_list("name", "pk")) if entries else {}
        rows = [self._row(session, entry, agents) for session, entry in entries]
        return len(run_rows(_ADD_TURNS, rows))

    def _row(self, session: str, turn: Entry, agents: dict[str, int]) -> tuple[Any, ...]:
        cut_off = turn["state"] in (Turn.State.QUEUED, Turn.State.RUNNING)
        return (
            turn["id"],
            session,
            turn["upto_seq"],
            agents.get(turn["agent"]),
            Turn.State.FAILED if cut_off else turn["state"],
            turn["attempts"],
            0,
            moment(turn["queued_at"]),
            "",
            turn["partial_text"],
            dumps(turn["events"]),
            dumps(turn["usage"]),
            FILED if cut_off else turn["error_code"],
            turn["error_detail"],
            moment(turn["queued_at"]),
            moment(turn["started_at"]),
            moment(turn["first_token_at"]),
            moment(turn["ended_at"] or (turn["queued_at"] if cut_off else None)),
        )


class Deliveries:
    """Which parts went out, and what became of each."""

    name = "deliveries"
    key = "key"
    fields: Fields = {
        "key": required(text(25)),
        "seq": optional(whole),
        "part": whole,
        "channel": required(text(32)),
        "chat_id": text(255),
        "is_group": flag,
        "target": json_object,
        "text": text(),
        "plain": flag,
        "repeated": flag,
        "state": one_of(*Delivery.State.values),
        "attempts": whole,
        "receipt": text(255),
        "status": text(16),
        "extra": _extra,
        "error_code": text(32),
        "error_detail": text(),
        "trace": json_list,
        "created_at": time,
        "sent_at": optional(time),
        "failed_at": optional(time),
    }

    def read(self, wanted: Sequence[Wanted]) -> dict[str, list[Entry]]:
        """session id -> its parts in the order in which they were queued."""
        found: dict[str, list[Entry]] = {}
        for row in run_rows(_DELIVERIES, [(want.session, want.from_seq) for want in wanted]):
            found.setdefault(row[0], []).append(
                {
                    "key": row[1],
                    "seq": row[2],
                    "part": row[3],
                    "channel": row[4],
                    "chat_id": row[5],
                    "is_group": bool(row[6]),
                    "target": loads(row[7]),
                    "text": row[8],
                    "plain": bool(row[9]),
                    "repeated": bool(row[10]),
                    "state": row[11],
                    "attempts": row[12],
                    "receipt": row[13],
                    "error_code": row[14],
                    "error_detail": row[15],
                    "trace": loads(row[16]),
                    "created_at": written_moment(row[17]),
                    "sent_at": written_moment(row[18]),
                    "failed_at": written_moment(row[19]),
                    "status": row[20],
                    "extra": loads(row[21]),
                }
            )
        return found

    def write(self, entries: Sequence[tuple[str, Entry]]) -> int:
        """Add parts that are not there. None of them is ever queued."""
        places = [(session, d["seq"]) for session, d in entries if d["seq"] is not None]
        messages = {(row[0], row[1]): row[2] for row in run_rows(_MESSAGES, places)}
        entries = _with_own_files(entries)
        rows = [self._row(session, d, messages.get((session, d["seq"]))) for session, d in entries]
        return len(run_rows(_ADD_DELIVERIES, rows))

    def _row(self, session: str, d: Entry, message: int | None) -> tuple[Any, ...]:
        cut_off = d["state"] in (Delivery.State.QUEUED, Delivery.State.SENDING)
        return (
            d["key"],
            session,
            message,
            d["part"],
            d["channel"],
            d["chat_id"],
            d["is_group"],
            dumps(d["target"]),
            d["text"],
            d["plain"],
            d["repeated"],
            Delivery.State.UNSURE if cut_off else d["state"],
            moment(d["created_at"]),
            d["attempts"],
            "",
            d["receipt"],
            FILED if cut_off else d["error_code"],
            d["error_detail"],
            dumps(d["trace"]),
            moment(d["created_at"]),
            moment(d["sent_at"]),
            moment(d["failed_at"]),
            d["status"],
            dumps(d["extra"]),
        )


def _with_own_files(entries: Sequence[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """A part may carry a file of its own session only: sent again, it leads to nobody else's."""
    carriers = {session for session, d in entries if "file" in d["extra"]}
    own = set(run_rows(_FILES, [(session,) for session in sorted(carriers)]))
    return [
        (session, d if _owns(own, session, d["extra"].get("file")) else _without_file(d))
        for session, d in entries
    ]


def _owns(own: set[tuple[Any, ...]], session: str, file: Any) -> bool:
    return file is None or (isinstance(file, dict) and (session, file.get("path")) in own)


def _without_file(d: Entry) -> Entry:
    return d | {"extra": {name: value for name, value in d["extra"].items() if name != "file"}}


def register() -> None:
    """From now on the files of sessions hold turns and deliveries too. Once per process."""
    archive.sections[:] = [Turns(), Deliveries()]
