"""Verbs 4 and 5: `start_deliveries` claims the head of each free lane, `finish_deliveries` ends it.

A lane is one chat on one channel. Its next part is claimed only when the one
before has ended, so parts arrive in order; lanes do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from adapters.base import Outbound
from gateway.ledger.extras import buttons_of, location_of
from gateway.ledger.records import ClaimedDelivery, FinishedDelivery
from gateway.ledger.turns import LEASE_SECONDS
from gateway.ledger.undelivered import note_undelivered
from gateway.ledger.unreadable import UNREADABLE, build_each, log_unreadable
from sessions_app import clock
from sessions_app.sql import (
    Row,
    dumps,
    loads,
    loads_object,
    moment,
    parse_moment,
    rows_source,
    run,
    run_rows,
)

MADE_BY = ("finish_turns", "finish_deliveries", "open_previews", "ingest")
"""The verbs after which there may be a delivery to start."""

_HEADS = """,
heads(id, channel, place) AS (
    SELECT d.id, d.channel, ROW_NUMBER() OVER (PARTITION BY d.channel ORDER BY d.id)
    FROM gateway_delivery d
    WHERE d.state IN ('queued', 'sending') AND d.state = 'queued' AND d.not_before <= %s
      AND NOT EXISTS (
          SELECT 1 FROM gateway_delivery e
          WHERE e.channel = d.channel AND e.chat_id = d.chat_id AND e.id < d.id
            AND e.state IN ('queued', 'sending'))
      AND d.channel IN (SELECT name FROM open_channels)
      AND NOT EXISTS (
          SELECT 1 FROM held h WHERE h.channel = d.channel AND h.chat_id = d.chat_id))
SELECT p.id, p.attempts + 1, p.channel, p.chat_id, p.is_group, p.target, p.text, p.plain,
       p.repeated, p.key, p.trace, p.created_at, p.turn, p.receipt, p.status, p.extra
FROM heads JOIN open_channels o ON o.name = heads.channel
JOIN gateway_delivery p ON p.id = heads.id
WHERE heads.place <= o.room
ORDER BY p.id
LIMIT %s
"""
"""Of each channel as many heads as it has room for: one that hangs holds up no other."""

_CLAIM = """
WITH chosen(id) AS ({rows})
UPDATE gateway_delivery
SET state = 'sending', stale = FALSE, attempts = attempts + 1, lease_owner = %s, lease_until = %s
FROM chosen
WHERE gateway_delivery.id = chosen.id AND gateway_delivery.state = 'queued'
RETURNING gateway_delivery.id
"""

_EXPIRE = """
UPDATE gateway_delivery SET state = 'expired', error_code = 'expired',
       error_detail = 'not sent in time', failed_at = %s
WHERE state IN ('queued', 'sending') AND state = 'queued'
  AND COALESCE(retried_at, created_at) < %s
RETURNING id
"""

_FAIL = """
WITH bad(id, detail) AS ({rows})
UPDATE gateway_delivery SET state = 'failed', error_code = %s, error_detail = bad.detail,
       failed_at = %s
FROM bad WHERE gateway_delivery.id = bad.id AND gateway_delivery.state = 'queued'
RETURNING gateway_delivery.id
"""

_FINISH = """
WITH ended(id, attempt, state, receipt, later, plain, repeated, counts, code, detail, trace, at)
  AS ({rows})
UPDATE gateway_delivery
SET state = CASE WHEN NOT ended.state = 'sent' THEN ended.state
                 WHEN stale THEN 'queued' WHEN status = 'failed' THEN 'failed' ELSE 'sent' END,
    receipt = COALESCE(ended.receipt, gateway_delivery.receipt),
    not_before = COALESCE(ended.later, not_before),
    plain = ended.plain, repeated = ended.repeated, attempts = attempts - 1 + ended.counts,
    error_code = CASE WHEN ended.state = 'sent' AND NOT stale AND status = 'failed'
                      THEN 'refused' ELSE ended.code END,
    error_detail = CASE WHEN ended.state = 'sent' AND NOT stale AND status = 'failed'
                        THEN error_detail ELSE ended.detail END,
    trace = ended.trace, sent_at = CASE WHEN ended.state = 'sent' THEN ended.at END,
    failed_at = CASE WHEN NOT ended.state = 'sent' OR status = 'failed' THEN ended.at END,
    lease_owner = '', lease_until = NULL
FROM ended
WHERE gateway_delivery.id = ended.id AND gateway_delivery.attempts = ended.attempt
  AND gateway_delivery.state = 'sending' AND gateway_delivery.lease_owner = %s
RETURNING gateway_delivery.id, gateway_delivery.turn, gateway_delivery.state
"""

FALLBACK = "fallback"
"""In `extra`: the receipt of a first form that was refused later."""

MAX_TRACE = 20
"""Tries kept in a delivery's trace."""

RETRY = "retry"
"""What an operator's retry is called in a trace."""


class Gate(Protocol):
    """Which lanes may send now: the rate limiter and the state of the channels."""

    def open_channels(self) -> list[str]:
        """Channels that are up and not held back as a whole."""

    def held_lanes(self) -> list[tuple[str, str]]:
        """(channel, chat id) of lanes that have to wait."""

    def admit(self, channel: str, chat_id: str, is_group: bool) -> bool:
        """Take a permit for one send, if there is one."""


MANY = 1_000_000
"""More parts than can be sent at once."""


class StartDeliveries:
    """Claims the heads of free lanes for which the gate has a permit.

    `room` says how many more parts a channel may send at once.
    """

    def __init__(
        self,
        owner: str,
        gate: Gate,
        max_age_seconds: float,
        room: Callable[[str], int] = lambda channel: MANY,
    ) -> None:
        self._owner, self._gate, self._room = owner, gate, room
        self._max_age = timedelta(seconds=max_age_seconds)

    def __call__(self, limit: int) -> list[ClaimedDelivery]:
        channels = [
            (name, room) for name in self._gate.open_channels() if (room := self._room(name)) > 0
        ]
        if not channels:
            return []
        now = clock.now()
        oldest = now - self._max_age
        heads = _heads(channels, self._gate.held_lanes(), now, limit)
        if any(claim.created_at < oldest for claim in heads):
            expire_deliveries(oldest)
            heads = _heads(channels, self._gate.held_lanes(), now, limit)
        permitted = {
            claim.id: claim
            for claim in heads
            if self._gate.admit(claim.channel, claim.outbound.chat_id, claim.is_group)
        }
        until = now + timedelta(seconds=LEASE_SECONDS)
        won = run_rows(_CLAIM, [(claim,) for claim in permitted], (self._owner, moment(until)))
        return [permitted[claim] for (claim,) in sorted(won)]


def expire_deliveries(oldest: datetime) -> int:
    """End what has waited since before `oldest`, also where its channel is not there any more.

    Returns how many parts that were.
    """
    expired = [row[0] for row in run(_EXPIRE, (moment(clock.now()), moment(oldest)))]
    note_undelivered(expired)
    return len(expired)


class FinishDeliveries:
    """Writes receipts and errors, and when the next try is due.

    Returns whose answer grows in each part now: another turn's, where that took it over.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __call__(self, finished: Sequence[FinishedDelivery]) -> list[str]:
        now = clock.now()
        rows = run_rows(_FINISH, [_columns(item, now) for item in finished], [self._owner])
        note_undelivered([row for row, _, state in rows if state in ("failed", "expired")])
        grows: dict[int, str] = {row: turn for row, turn, _ in rows}
        for item in finished:
            if item.moved_to:
                _move_chat(item.delivery.channel, item.delivery.outbound.chat_id, item.moved_to)
        return [grows.get(item.delivery.id, item.delivery.turn) for item in finished]


def _heads(
    channels: list[tuple[str, int]], held: list[tuple[str, str]], now: datetime, limit: int
) -> list[ClaimedDelivery]:
    names, name_params = rows_source(channels, 2)
    lanes, lane_params = rows_source(held, 2)
    sql = (
        f"WITH open_channels(name, room) AS ({names}), held(channel, chat_id) AS ({lanes})" + _HEADS
    )
    while True:
        rows = run(sql, [*name_params, *lane_params, moment(now), limit])
        claims, faulty = build_each(rows, _claimed)
        if not faulty:
            return claims
        _fail([(row[0], reason) for row, reason in faulty])  # and see what stood behind them


def _fail(faulty: Sequence[tuple[int, str]]) -> None:
    """What cannot be read can never be sent."""
    log_unreadable("delivery", faulty)
    run_rows(_FAIL, faulty, (UNREADABLE, moment(clock.now())))
    note_undelivered([row for row, _ in faulty])


def _claimed(row: Row) -> ClaimedDelivery:
    created_at = parse_moment(row[11])
    assert created_at is not None
    extra = loads_object(row[15])
    if not isinstance(extra.get("file", {}), dict):
        raise TypeError("its file is not an object")
    return ClaimedDelivery(
        id=row[0],
        attempt=row[1],
        channel=row[2],
        is_group=bool(row[4]),
        repeated=bool(row[8]),
        created_at=created_at,
        trace=_tries(row[10]),
        outbound=Outbound(
            key=row[9],
            chat_id=row[3],
            text=row[6],
            target=loads_object(row[5]),
            plain=bool(row[7]),
            location=location_of(extra),
            buttons=buttons_of(extra),
            fallback=bool(extra.get(FALLBACK)),
        ),
        turn=row[12],
        receipt=row[13],
        status=row[14],
        extra=extra,
    )


def _tries(value: Any) -> list[dict[str, Any]]:
    """The trace, without what is no try."""
    found = loads(value)
    tries = found if isinstance(found, list) else []
    return [entry for entry in tries if isinstance(entry, dict) and "result" in entry]


def _columns(item: FinishedDelivery, now: datetime) -> tuple[Any, ...]:
    delivery = item.delivery
    entry = {"at": now.isoformat(timespec="milliseconds"), "result": item.error_code or item.state}
    if item.error_detail:
        entry["detail"] = item.error_detail
    return (
        delivery.id,
        delivery.attempt,
        item.state,
        item.receipt,
        moment(item.not_before),
        item.plain or delivery.outbound.plain,
        item.repeated,
        int(item.counts),
        item.error_code,
        item.error_detail,
        dumps([*delivery.trace, entry][-MAX_TRACE:]),
        moment(now),
    )


def _move_chat(channel: str, old: str, new: str) -> None:
    """The platform moved a chat: what waits for the old one goes to the new one.

    A session of the old chat moves along, unless people have begun one in the new chat.
    """
    run(
        "UPDATE gateway_delivery SET chat_id = %s WHERE channel = %s AND chat_id = %s "
        "AND state IN ('queued', 'sending')",
        (new, channel, old),
    )
    renamed = "REPLACE(sessions_app_session.scope_key, %s, %s)"
    run(
        f"UPDATE sessions_app_session SET chat_id = %s, scope_key = {renamed} "  # noqa: S608
        "WHERE channel = %s AND chat_id = %s AND NOT state = 'terminated' "
        "AND NOT EXISTS (SELECT 1 FROM sessions_app_session o "
        "WHERE o.channel = sessions_app_session.channel AND NOT o.state = 'terminated' "
        f"AND NOT o.id = sessions_app_session.id AND o.scope_key = {renamed})",
        (new, f"chat:{old}", f"chat:{new}", channel, old, f"chat:{old}", f"chat:{new}"),
    )
