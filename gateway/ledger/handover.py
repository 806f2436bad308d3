"""A session that changes hands: whoever held it before is not heard any more.

The session's fence is raised at each change. A turn carries the fence under
which it was claimed; an answer that comes under an older one is kept with its
turn, for people to see, and what it was to answer is *handed over*.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.ledger.records import FinishedTurn
from sessions_app.sql import moment, run_each, run_rows

HANDED_OVER = "handed_over"
"""Error code of such a turn, and the disposition of what it was to answer."""

SAME_HANDS = """EXISTS (SELECT 1 FROM sessions_app_session s
    WHERE s.id = gateway_turn.session_id AND s.fence = ended.fence)"""
"""Condition on a turn that ends, where `ended` holds the fence it was claimed under."""

_DROP = """
WITH lost(id, attempt, fence) AS ({rows})
UPDATE gateway_turn
SET state = 'cancelled', error_code = %s, ended_at = %s, lease_owner = '', lease_until = NULL
FROM lost
WHERE gateway_turn.id = lost.id AND gateway_turn.attempts = lost.attempt
  AND gateway_turn.state = 'running' AND gateway_turn.lease_owner = %s
  AND EXISTS (SELECT 1 FROM sessions_app_session s
              WHERE s.id = gateway_turn.session_id AND NOT s.fence = lost.fence)
RETURNING gateway_turn.session_id, gateway_turn.upto_seq
"""


def drop_unheard(lost: Sequence[FinishedTurn], owner: str, now: datetime) -> None:
    """Of ends that were not taken: close the turns whose session changed hands meanwhile."""
    rows = [(item.turn.id, item.turn.attempt, item.turn.fence) for item in lost]
    dropped = run_rows(_DROP, rows, (HANDED_OVER, moment(now), owner))
    run_each(
        "UPDATE sessions_app_message SET disposition = %s "
        "WHERE session_id = %s AND disposition = 'pending' AND seq <= %s",
        [(HANDED_OVER, session, upto_seq) for session, upto_seq in dropped],
    )
