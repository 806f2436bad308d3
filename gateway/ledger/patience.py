"""One word to each person whose turn waits for an agent that does not answer."""

from __future__ import annotations

from datetime import datetime

from gateway.ledger.circuit import Circuit
from gateway.ledger.claims import Route
from gateway.ledger.turns import ADD_DELIVERIES, note_row
from sessions_app.manager import NewMessage, SessionManager
from sessions_app.sql import loads_object, moment, run, run_rows

MAX_NOTICES = 500
"""Notices in one transaction; the next second brings more."""

_WAITING = """
SELECT t.id, t.session_id, t.upto_seq, s.channel, s.chat_id, m.sender, m.target
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


def tell_waiting(
    circuit: Circuit, route: Route, sessions: SessionManager, text: str, now: datetime
) -> list[tuple[str, int]]:
    """Say `text`, once for each turn that an open circuit keeps waiting, behind its question.

    Returns where it stands: (session, message id), one for each.
    """
    if not text or not circuit.anything_open():
        return []
    told = []
    for turn, session, seq, channel, chat, sender, target in run(_WAITING, (moment(now),)):
        agent = route(channel, sender or "", chat)
        if agent is not None and circuit.is_open(agent):
            told.append((turn, session, seq, channel, chat, loads_object(target)))
    told = told[:MAX_NOTICES]
    rows = sessions.append_message(
        [
            NewMessage(session, channel, "system", "system", text, seq=seq + 1)
            for _, session, seq, channel, _, _ in told
        ],
        now,
    )
    run_rows(
        ADD_DELIVERIES,
        [
            note_row(channel, where.get("chat_id") or chat, where, text, now, session, row)
            for (_, session, _, channel, chat, where), row in zip(told, rows, strict=True)
        ],
    )
    run_rows(_NOTICED, [(row[0],) for row in told], (moment(now),))
    return [(one[1], row) for one, row in zip(told, rows, strict=True) if row is not None]
