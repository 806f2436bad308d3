"""One word to each person whose turn waits for an agent that does not answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.ledger.circuit import Circuit
from gateway.ledger.claims import Route
from gateway.ledger.turns import ADD_DELIVERIES, last_replies, note_row
from sessions_app.manager import NewMessage, SessionManager
from sessions_app.sql import loads_object, moment, run, run_rows

MAX_NOTICES = 500
"""Notices in one transaction; the next second brings more."""

_WAITING = """
SELECT t.session_id, t.upto_seq, s.channel, s.chat_id, m.sender, m.target
FROM gateway_turn t
JOIN sessions_app_session s ON s.id = t.session_id
JOIN sessions_app_message m ON m.session_id = t.session_id AND m.seq = t.upto_seq
WHERE t.state IN ('queued', 'running') AND t.state = 'queued'
  AND t.not_before <= %s AND s.handler = 'agent' AND m.origin = 'user'
  AND NOT EXISTS (
      SELECT 1 FROM gateway_turn e
      WHERE e.session_id = t.session_id AND e.state IN ('queued', 'running')
        AND e.noticed_at IS NOT NULL)
ORDER BY t.upto_seq, t.id
"""

_NOTICED = """
WITH told(session_id) AS ({rows}) UPDATE gateway_turn SET noticed_at = %s
FROM told WHERE gateway_turn.session_id = told.session_id
  AND state IN ('queued', 'running') AND state = 'queued'
"""


def tell_waiting(
    circuit: Circuit, route: Route, sessions: SessionManager, text: str, now: datetime
) -> list[tuple[str, int]]:
    """Say `text`, once in each session that an open circuit keeps waiting, however many turns
    of it wait, behind the first one's question.

    Returns where it stands: (session, message id), one for each.
    """
    if not text or not circuit.anything_open():
        return []
    told: dict[str, tuple[int, str, str, dict[str, Any]]] = {}
    for session, seq, channel, chat, sender, target in run(_WAITING, (moment(now),)):
        agent = route(channel, sender or "", chat)
        if agent is not None and circuit.is_open(agent):
            told.setdefault(session, (seq, channel, chat, loads_object(target)))
        if len(told) == MAX_NOTICES:
            break
    # where a turn is asked again, the notice of its failure stands behind its question
    behind = last_replies([(session, seq) for session, (seq, *_) in told.items()])
    rows = sessions.append_message(
        [
            NewMessage(
                *(session, channel, "system", "system", text), seq=behind.get(session, seq) + 1
            )
            for session, (seq, channel, _, _) in told.items()
        ],
        now,
    )
    run_rows(
        ADD_DELIVERIES,
        [
            note_row(channel, where.get("chat_id") or chat, where, text, now, session, row)
            for (session, (_, channel, chat, where)), row in zip(told.items(), rows, strict=True)
        ],
    )
    run_rows(_NOTICED, [(session,) for session in told], (moment(now),))
    return [(session, row) for session, row in zip(told, rows, strict=True) if row is not None]
