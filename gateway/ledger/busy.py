"""What a message does that comes while its session is busy, as the agent's row says.

queue      it waits; the next turn answers all that waits. Nothing is done here.
interrupt  a running turn that a person's words began ends unanswered: its messages stay
           pending, and the session's queued turn, which reaches up to the new message,
           answers them too. What it had shown on the platform grows on in that turn,
           and what was planned and put to it is that turn's.
debounce   the session's queued turn waits a moment for more, and moves on with each
           message, up to five moments in all. Where a turn runs, it has to wait anyway.

All of it is in the commit that keeps the message, so the hand-over rule of
`gateway.ledger.ingest` holds at every moment: a crash finds either both or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.ledger.turns import DROP_PREVIEW
from sessions_app.ids import new_id
from sessions_app.sql import moment, parse_moment, run_each, run_rows

MOMENTS = 5
"""A turn is put off for this many moments at most, however often somebody writes."""

SUPERSEDED = "superseded"
"""Error code of a turn that a further message took the place of."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What an agent's row says: queue, interrupt or debounce, and how long a moment is."""

    busy: str = "queue"
    seconds: float = 0.0


Busy = Callable[[str, str, str], Manners]
"""(channel, user id, chat id) -> how their agent wants it."""

QUEUE = Manners()

_QUEUE_TURNS = """
INSERT INTO gateway_turn
    (id, session_id, upto_seq, state, attempts, crashes, not_before, lease_owner,
     partial_text, events, usage, error_code, error_detail, queued_at)
{rows}
ON CONFLICT (session_id) WHERE attempts = 0 AND state = 'queued'
DO UPDATE SET upto_seq = excluded.upto_seq
"""

_PUT_OFF = _QUEUE_TURNS.rstrip() + ", not_before = excluded.not_before\n"

_SUPERSEDE = """
WITH wanted(session_id) AS ({rows})
UPDATE gateway_turn
SET state = 'cancelled', ended_at = %s, lease_owner = '', lease_until = NULL, error_code = %s
FROM wanted
WHERE gateway_turn.session_id = wanted.session_id
  AND state IN ('queued', 'running') AND state = 'running'
  AND EXISTS (SELECT 1 FROM sessions_app_message m
              WHERE m.session_id = gateway_turn.session_id AND m.seq = gateway_turn.upto_seq
                AND m.origin = 'user')
RETURNING gateway_turn.session_id, gateway_turn.id
"""

_FRESH = """
SELECT t.session_id, t.id FROM gateway_turn t
WHERE t.session_id IN ({rows}) AND t.state IN ('queued', 'running')
  AND t.state = 'queued' AND t.attempts = 0
"""

_INHERIT = """
UPDATE gateway_delivery SET turn = %s
WHERE turn = %s AND NOT turn = '' AND state IN ('queued', 'sending', 'sent')
  AND NOT EXISTS (SELECT 1 FROM gateway_delivery d WHERE d.turn = %s AND NOT d.turn = '')
"""

_INHERIT_PLANNED = """
UPDATE gateway_occurrence SET turn = %s WHERE state = 'claimed' AND turn = %s
"""

_OPEN = """
SELECT t.session_id, t.state, t.queued_at FROM gateway_turn t
WHERE t.session_id IN ({rows}) AND t.state IN ('queued', 'running')
  AND (t.state = 'running' OR t.attempts = 0)
"""


def queue_turns(waiting: Mapping[str, int], now: datetime) -> None:
    """Each session's queued turn reaches up to the given place; made where there is none."""
    run_rows(_QUEUE_TURNS, [_turn(session, seq, now, now) for session, seq in waiting.items()])


def queue_later(waiting: Mapping[str, int], seconds: Mapping[str, float], now: datetime) -> float:
    """The same with `debounce`: `seconds` is each session's moment. Returns the longest pause."""
    open_turns = run_rows(_OPEN, [(session,) for session in waiting])
    running = {session for session, state, _ in open_turns if state == "running"}
    since = {session: parse_moment(at) for session, state, at in open_turns if state == "queued"}
    until = {}
    for session in waiting.keys() - running:
        one = timedelta(seconds=seconds[session])
        until[session] = min(now + one, (since.get(session) or now) + MOMENTS * one)
    queue_turns({session: waiting[session] for session in waiting.keys() & running}, now)
    run_rows(_PUT_OFF, [_turn(session, waiting[session], at, now) for session, at in until.items()])
    return max(((at - now).total_seconds() for at in until.values()), default=0.0)


def supersede(sessions: list[str], now: datetime) -> dict[str, str]:
    """End what runs in these sessions; their queued turn answers it too. Turn by session."""
    taken: dict[str, str] = dict(
        run_rows(_SUPERSEDE, [(session,) for session in sessions], (moment(now), SUPERSEDED))
    )
    run_each(DROP_PREVIEW, [(turn,) for turn in taken.values()])
    heirs: dict[str, str] = dict(run_rows(_FRESH, [(session,) for session in taken]))
    run_each(_INHERIT, [(heirs[session], turn, heirs[session]) for session, turn in taken.items()])
    run_each(_INHERIT_PLANNED, [(heirs[session], turn) for session, turn in taken.items()])
    return taken


def _turn(session: str, seq: int, at: datetime, now: datetime) -> tuple[object, ...]:
    begin, queued = moment(at), moment(now)
    return (new_id("turn"), session, seq, "queued", 0, 0, begin, "", "", "[]", "{}", "", "", queued)
