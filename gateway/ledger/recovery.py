"""What is put right before any listener opens, and whenever a lease runs out.

A turn whose process died is queued again, a bounded number of times, then
quarantined for a person. A delivery found in the middle of sending is unsure:
it is queued as `repeated`, and the sender settles it with the platform, repeats
it with the mark, or holds it, by its own rule.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from gateway.ledger.ingest import in_flight
from gateway.ledger.records import ClaimedTurn, FinishedTurn, Part
from gateway.ledger.turns import DISPOSE, append_replies
from gateway.ledger.unreadable import build_each, log_unreadable
from sessions_app import clock
from sessions_app.manager import SessionManager
from sessions_app.sql import (
    Row,
    dumps,
    loads_object,
    moment,
    parse_moment,
    run,
    run_each,
    run_rows,
)

logger = logging.getLogger(__name__)

MAX_CRASHES = 5
"""A turn cut off this often is suspected of causing it."""

GATEWAY = "gateway"
"""Name of the gateway's heartbeat: the last moment at which it was surely up."""

WORKER = "worker"
"""Name of the worker's heartbeat, written once a minute."""

_REQUEUE = """
UPDATE gateway_turn
SET crashes = crashes + 1, lease_owner = '', lease_until = NULL,
    state = CASE WHEN crashes + 1 >= %s THEN 'quarantined' ELSE 'queued' END,
    error_code = CASE WHEN crashes + 1 >= %s THEN 'quarantined' ELSE '' END
WHERE state IN ('queued', 'running') AND state = 'running' AND {dead}
RETURNING id, state, session_id, upto_seq
"""

_UNSURE = """
UPDATE gateway_delivery
SET state = 'queued', lease_owner = '', lease_until = NULL,
    repeated = CASE WHEN receipt = '' THEN TRUE ELSE repeated END
WHERE state IN ('queued', 'sending') AND state = 'sending' AND {dead}
RETURNING id
"""

_NOT_TOLD = """
SELECT t.id, t.attempts, t.session_id, t.upto_seq, s.channel, s.chat_id,
       m.sender, m.target, m.origin
FROM gateway_turn t
JOIN sessions_app_session s ON s.id = t.session_id
LEFT JOIN sessions_app_message m ON m.session_id = t.session_id AND m.seq = t.upto_seq
WHERE t.state IN ('failed', 'quarantined') AND t.state = 'quarantined' AND t.ended_at IS NULL
"""

_EXPIRED_LEASE = "lease_until < %s"
_NOT_MINE = "NOT lease_owner = %s AND SUBSTR(lease_owner, 1, %s) = %s"


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much work was found cut off."""

    turns: int
    quarantined: int
    deliveries: int


def take_over(owner: str) -> Recovered:
    """Take back what earlier processes of this instance held. The caller holds its lock,
    so they are dead, whatever their leases say."""
    instance = owner.partition("/")[0] + "/"
    return _release(_NOT_MINE, (owner, len(instance), instance))


def release_expired() -> Recovered:
    """Take back what has not been renewed in time, by whomever."""
    return _release(_EXPIRED_LEASE, (moment(clock.now()),))


def close_quarantined(sessions: SessionManager, notice: str) -> list[str]:
    """Tell the people whose turn was just quarantined, as after any failure. Ids of the turns."""
    now = clock.now()
    found, faulty = build_each(run(_NOT_TOLD), _quarantined)
    log_unreadable("turn", [(row[0], reason) for row, reason in faulty])
    closed = [
        FinishedTurn(turn, "failed", notice=notice, parts=[Part(notice)] if notice else [])
        for turn in found
    ]
    append_replies(sessions, closed, now)
    ids = [turn.id for turn in found] + [row[0] for row, _ in faulty]
    run_each(
        "UPDATE gateway_turn SET ended_at = %s WHERE id = %s", [(moment(now), one) for one in ids]
    )
    return ids


def renew_leases(
    owner: str, until: datetime, turns: Sequence[str], deliveries: Sequence[int]
) -> None:
    """Keep what this process is really working on: a lease without a task runs out."""
    for table, ids in (("gateway_turn", turns), ("gateway_delivery", deliveries)):
        run_rows(
            f"WITH held(id) AS ({{rows}}) UPDATE {table} SET lease_until = %s FROM held "  # noqa: S608  (names from the line above)
            f"WHERE {table}.id = held.id AND lease_owner = %s",
            [(row,) for row in ids],
            (moment(until), owner),
        )


def hand_back(owner: str) -> None:
    """A planned end: turns still running wait for the next start, and it counts as no crash."""
    run(
        "UPDATE gateway_turn SET state = 'queued', lease_owner = '', lease_until = NULL "
        "WHERE state IN ('queued', 'running') AND state = 'running' AND lease_owner = %s",
        (owner,),
    )


def beat(name: str, detail: str = "{}") -> None:
    """A sign of life."""
    run(
        "INSERT INTO gateway_heartbeat (name, at, detail) VALUES (%s, %s, %s) "
        "ON CONFLICT (name) DO UPDATE SET at = excluded.at, detail = excluded.detail",
        (name, moment(clock.now()), detail),
    )


def last_words(name: str) -> dict[str, Any]:
    """What a part said with its last sign of life; empty where it has given none."""
    rows = run("SELECT detail FROM gateway_heartbeat WHERE name = %s", (name,))
    return loads_object(rows[0][0]) if rows else {}


def resume_sessions(sessions: SessionManager, restore: str) -> None:
    """Open sessions after a restart: ended with `never`, else as if no time had passed."""
    now = clock.now()
    if restore == "never":
        open_ids = [
            r[0] for r in run("SELECT id FROM sessions_app_session WHERE NOT state = 'terminated'")
        ]
        sessions.expire(sorted(set(open_ids) - set(in_flight(open_ids))), now)
        return
    rows = run("SELECT at FROM gateway_heartbeat WHERE name = %s", (GATEWAY,))
    last = parse_moment(rows[0][0]) if rows else None
    if last is None or last >= now:
        return
    down = now - last
    rows = run(
        "SELECT id, expires_at FROM sessions_app_session "
        "WHERE NOT state = 'terminated' AND expires_at > %s",
        (moment(last),),
    )
    run_each(
        "UPDATE sessions_app_session SET expires_at = %s WHERE id = %s",
        [(moment(at + down), session) for session, value in rows if (at := parse_moment(value))],
    )


def _quarantined(row: Row) -> ClaimedTurn:
    """A turn given up on, whose people do not know yet."""
    turn, attempts, session, upto_seq, channel, chat_id, sender, frozen, origin = row
    target = loads_object(frozen)
    dumps(target)  # where the notice goes has to be written once more
    return ClaimedTurn(
        id=turn,
        attempt=attempts,
        session=session,
        channel=channel,
        user_id=sender or "",
        chat_id=target.get("chat_id") or chat_id,
        agent=0,
        upto_seq=upto_seq,
        origin=origin or "user",
        target=target,
        context={},
        history=(),
        noticed=True,
    )


def _release(dead: str, params: tuple[object, ...]) -> Recovered:
    turns = run(_REQUEUE.format(dead=dead), (MAX_CRASHES, MAX_CRASHES, *params))
    lost = [row for row in turns if row[1] == "quarantined"]
    run_each(DISPOSE, [("failed", row[2], row[3]) for row in lost])
    deliveries = run(_UNSURE.format(dead=dead), params)
    if turns or deliveries:
        logger.warning(
            "recovered %d turns (%d quarantined) and %d unsure deliveries",
            len(turns),
            len(lost),
            len(deliveries),
        )
    return Recovered(len(turns), len(lost), len(deliveries))


def taken_away(running: Sequence[str]) -> list[str]:
    """Those of the turns running here that, by the database, run no more."""
    held = {
        row[0]
        for row in run_rows(
            "SELECT id FROM gateway_turn WHERE id IN ({rows}) AND state = 'running'",
            [(turn_id,) for turn_id in running],
        )
    }
    return [turn_id for turn_id in running if turn_id not in held]


def sync_to_disk() -> None:
    """One commit with fsync takes everything before it to the disk too."""
    if connection.vendor == "sqlite":
        run("PRAGMA synchronous = FULL")
        try:
            beat(GATEWAY)
        finally:
            run("PRAGMA synchronous = NORMAL")
