"""Verb 2, `start_turns`: claims what an agent may answer now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice

from gateway.ledger.circuit import Circuit
from gateway.ledger.people import whom
from gateway.ledger.records import ClaimedTurn
from gateway.ledger.turns import LEASE_SECONDS
from sessions_app import clock
from sessions_app.history import History, Wanted
from sessions_app.sql import Row, loads_object, moment, run, run_rows

Route = Callable[[str, str, str], int | None]
"""(channel, user id, chat id) -> the agent's row id, or None while there is none."""

MANY = 1_000_000
"""More turns than can wait."""

_CANDIDATES = """
SELECT t.id, t.attempts + 1, t.session_id, t.upto_seq, s.channel, s.chat_id, s.context, s.revision,
       m.sender, m.target, m.origin, c.name,
       CASE WHEN s.scope_key LIKE 'user:%%' THEN p.name END, p.preferences, p.notes, s.fence,
       EXISTS (SELECT 1 FROM gateway_delivery d WHERE d.turn = t.id AND NOT d.turn = '')
FROM gateway_turn t
JOIN sessions_app_session s ON s.id = t.session_id
JOIN sessions_app_contact p ON p.id = s.contact_id
LEFT JOIN sessions_app_message m ON m.session_id = t.session_id AND m.seq = t.upto_seq
LEFT JOIN sessions_app_contact c ON c.channel = s.channel AND c.user_id = m.sender
WHERE t.state IN ('queued', 'running') AND t.state = 'queued' AND t.not_before <= %s
  AND s.handler = 'agent'
  AND NOT EXISTS (
      SELECT 1 FROM gateway_turn e
      WHERE e.session_id = t.session_id AND e.state IN ('queued', 'running')
        AND (e.state = 'running' OR e.upto_seq < t.upto_seq))
  AND t.session_id NOT IN (
      SELECT w.session_id FROM sessions_app_attachment a
      JOIN sessions_app_message w ON w.id = a.message_id WHERE a.state = 'waiting')
ORDER BY t.not_before, t.id
LIMIT %s
"""

_CLAIM = """
WITH chosen(id, agent_id) AS ({rows})
UPDATE gateway_turn
SET state = 'running', attempts = attempts + 1, agent_id = chosen.agent_id,
    lease_owner = %s, lease_until = %s, started_at = %s, error_code = '', error_detail = ''
FROM chosen
WHERE gateway_turn.id = chosen.id AND gateway_turn.state = 'queued'
RETURNING gateway_turn.id
"""


class StartTurns:
    """Claims up to `limit` turns whose session is free and whose time has come."""

    def __init__(
        self, owner: str, route: Route, history: History, circuit: Circuit | None = None
    ) -> None:
        self._owner, self._route, self._history = owner, route, history
        self._circuit = circuit

    def __call__(self, limit: int) -> list[ClaimedTurn]:
        now = clock.now()
        chosen = self._choose(now, limit)
        until = now + timedelta(seconds=LEASE_SECONDS)
        won = run_rows(
            _CLAIM,
            [(turn, agent) for turn, (_, agent) in chosen.items()],
            (self._owner, moment(until), moment(now)),
        )
        taken = [chosen[turn] for (turn,) in won]
        if self._circuit is not None:
            self._circuit.begin_trials({agent for _, agent in taken}, now)
        histories = self._history.load([Wanted(row[2], row[7], row[3]) for row, _ in taken])
        return [_claimed(row, agent, histories[row[2]]) for row, agent in taken]

    def _choose(self, now: datetime, limit: int) -> dict[str, tuple[Row, int]]:
        """The first `limit` turns that an agent can be found for, by id."""
        rows = run(_CANDIDATES, (moment(now), limit))
        chosen = self._routed(rows, now)
        if len(chosen) < len(rows) == limit:  # those nobody answers must not hide the others
            chosen = self._routed(run(_CANDIDATES, (moment(now), MANY)), now)
        return dict(islice(chosen.items(), limit))

    def _routed(self, rows: Sequence[Row], now: datetime) -> dict[str, tuple[Row, int]]:
        trials: set[int] = set()
        return {
            row[0]: (row, agent)
            for row in rows
            if (agent := self._route(row[4], row[8] or "", row[5])) is not None
            if self._circuit is None or self._circuit.admits(agent, trials, now)
        }


def _claimed(row: Row, agent: int, history: Sequence[bytes]) -> ClaimedTurn:
    target = loads_object(row[9])
    return ClaimedTurn(
        id=row[0],
        attempt=row[1],
        session=row[2],
        upto_seq=row[3],
        channel=row[4],
        chat_id=target.get("chat_id") or row[5],
        user_id=row[8] or "",
        agent=agent,
        origin=row[10] or "user",
        target=target,
        context=loads_object(row[6]),
        history=history,
        name=row[11] or "",
        person=whom(*row[12:15]),
        fence=row[15],
        shown=bool(row[16]),
    )
