"""One word to each person whose turn waits for an agent that does not answer."""

from __future__ import annotations

from datetime import datetime

from gateway.ledger.circuit import Circuit
from gateway.ledger.claims import Route
from gateway.ledger.turns import ADD_DELIVERIES, note_row
from sessions_app.sql import loads_object, moment, run, run_rows

MAX_NOTICES = 500
"""Notices in one transaction; the next second brings more."""

_WAITING = """
SELECT t.id, t.session_id, s.channel, s.chat_id, m.sender, m.target
FROM gateway_turn t
JOIN sessions_app_session s ON s.id = t.session_id
JOIN sessions_app_message m ON m.session_id = t.session_id AND m.seq = t.upto_seq
WHERE t.state IN ('queued', 'running') AND t.state = 'queued' AND t.noticed_at IS NULL
  AND t.not_before <= %s AND s.handler = 'agent' AND m.origin = 'user'
ORDER BY t.not_before, t.id
"""

_NOTICED = """
WITH told(id) AS ({rows}) UPDATE gateway_turn SET noticed_at = %s
FROM told WHERE gateway_turn.id = told.id
"""


def tell_waiting(circuit: Circuit, route: Route, text: str, now: datetime) -> int:
    """Say `text`, once for each turn that an open circuit keeps waiting. Returns how many."""
    if not text or not circuit.anything_open():
        return 0
    told = []
    for turn, session, channel, chat, sender, target in run(_WAITING, (moment(now),)):
        agent = route(channel, sender or "", chat)
        if agent is not None and circuit.is_open(agent):
            told.append((turn, session, channel, chat, loads_object(target)))
    told = told[:MAX_NOTICES]
    run_rows(
        ADD_DELIVERIES,
        [
            note_row(channel, where.get("chat_id") or chat, where, text, now, session)
            for _, session, channel, chat, where in told
        ],
    )
    run_rows(_NOTICED, [(row[0],) for row in told], (moment(now),))
    return len(told)
