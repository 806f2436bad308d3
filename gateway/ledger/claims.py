"""Verb 2, `start_turns`: claims what an agent may answer now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from gateway.ledger.circuit import Circuit
from gateway.ledger.people import whom
from gateway.ledger.records import ClaimedTurn
from gateway.ledger.turns import DISPOSE, LEASE_SECONDS
from gateway.ledger.unreadable import FAULTS, UNREADABLE, explain, log_unreadable
from sessions_app import clock
from sessions_app.history import Conversation, History, Wanted
from sessions_app.sql import Row, loads_object, moment, run, run_each, run_rows

Route = Callable[[str, str, str], int | None]
"""(channel, user id, chat id) -> the agent's row id, or None while there is none."""

MANY = 1_000_000
"""More turns than can wait."""

CROWD = 100
"""So many turns that nobody answers now are passed over for a while: reading them costs a
commit some 15 µs each."""

PASS_SECONDS = 1.0
"""After this long they are looked at again."""

_AFTER = "(t.not_before > %s OR (t.not_before = %s AND t.id > %s))"

_CANDIDATES = f"""
SELECT t.id, t.attempts + 1, t.session_id, t.upto_seq, s.channel, s.chat_id, s.context, s.revision,
       m.sender, m.target, m.origin, c.name,
       CASE WHEN s.scope_key LIKE 'user:%%' THEN p.name END, p.preferences, p.notes, s.fence,
       EXISTS (SELECT 1 FROM gateway_delivery d WHERE d.turn = t.id AND NOT d.turn = ''),
       t.not_before, t.noticed_at IS NOT NULL
FROM gateway_turn t
JOIN sessions_app_session s ON s.id = t.session_id
JOIN sessions_app_contact p ON p.id = s.contact_id
LEFT JOIN sessions_app_message m ON m.session_id = t.session_id AND m.seq = t.upto_seq
LEFT JOIN sessions_app_contact c ON c.channel = s.channel AND c.user_id = m.sender
WHERE t.state IN ('queued', 'running') AND t.state = 'queued' AND t.not_before <= %s
  AND {_AFTER}
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
"""  # noqa: S608  (a constant of ours)

_OF_FREED = f"""
WITH freed(session_id) AS ({{rows}})
{_CANDIDATES.replace(_AFTER, "t.session_id IN (SELECT session_id FROM freed)")}
"""  # noqa: S608  (the same)

_CLAIM = """
WITH chosen(id, agent_id) AS ({rows})
UPDATE gateway_turn
SET state = 'running', attempts = attempts + 1, agent_id = chosen.agent_id,
    lease_owner = %s, lease_until = %s, started_at = %s, error_code = '', error_detail = ''
FROM chosen
WHERE gateway_turn.id = chosen.id AND gateway_turn.state = 'queued'
RETURNING gateway_turn.id
"""

_QUARANTINE = """
WITH bad(id, detail) AS ({rows})
UPDATE gateway_turn
SET state = 'quarantined', error_code = %s, error_detail = bad.detail,
    lease_owner = '', lease_until = NULL
FROM bad WHERE gateway_turn.id = bad.id AND gateway_turn.state = 'running'
RETURNING gateway_turn.id
"""

_Mark = tuple[Any, str]
"""A place in the order of candidates: (not_before, turn id)."""


class StartTurns:
    """Claims up to `limit` turns whose session is free and whose time has come."""

    def __init__(
        self,
        owner: str,
        route: Route,
        history: History,
        circuit: Circuit | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._owner, self._route, self._history = owner, route, history
        self._circuit, self._monotonic = circuit, monotonic
        self._start: _Mark = (moment(datetime(1970, 1, 1, tzinfo=UTC)), "")
        self._mark, self._until = self._start, 0.0
        self._away: frozenset[int] = frozenset()
        self._freed: set[str] = set()

    def __call__(self, limit: int) -> list[ClaimedTurn]:
        now = clock.now()
        chosen = self._choose(now, limit)
        until = now + timedelta(seconds=LEASE_SECONDS)
        won = run_rows(
            _CLAIM,
            [(turn, agent) for turn, (_, agent) in chosen.items()],
            (self._owner, moment(until), moment(now)),
        )
        claimed = self._read([chosen[turn] for (turn,) in won])
        if self._circuit is not None:
            self._circuit.begin_trials({turn.agent for turn in claimed}, now)
        return claimed

    def look_again(self) -> None:
        """Others may be answered now than a moment ago: pass nobody over."""
        self._until = 0.0

    def freed(self, sessions: Iterable[str]) -> None:
        """What they waited for is over: an old turn of theirs may have its time now."""
        self._freed.update(sessions)

    def _choose(self, now: datetime, limit: int) -> dict[str, tuple[Row, int]]:
        """The first `limit` turns that an agent can be found for, by id.

        Those nobody answers must not hide the others. Where they are a crowd, what follows
        them is looked at alone for a moment: new turns come last in the order. Only those
        of sessions freed since then do not, so these are looked at by themselves, once.
        """
        if not (passing := self._passing()):
            self._freed.clear()
        after = self._mark if passing else self._start
        freed = self._of_freed(now, limit)
        rows = self._candidates(now, after, limit)
        chosen = self._routed([*freed, *rows], now)
        if len(chosen) < limit == len(rows):
            rows = self._candidates(now, after, MANY)
            chosen = self._routed([*freed, *rows], now)
        if not passing and len(chosen) <= limit and len(rows) - len(chosen) >= CROWD:
            self._mark, self._until = (rows[-1][17], rows[-1][0]), self._monotonic() + PASS_SECONDS
            self._away = self._open()
        return dict(islice(chosen.items(), limit))

    def _passing(self) -> bool:
        """Whether the crowd is passed over: for a moment, and while no circuit closes."""
        return self._monotonic() < self._until and self._away <= self._open()

    def _open(self) -> frozenset[int]:
        return frozenset() if self._circuit is None else self._circuit.away()

    def _of_freed(self, now: datetime, limit: int) -> list[Row]:
        """The turns of sessions that were freed; what is too much for now comes next time."""
        rows = run_rows(_OF_FREED, [(session,) for session in self._freed], (moment(now), MANY))
        self._freed = {row[2] for row in rows[limit:]}
        return rows[:limit]

    def _candidates(self, now: datetime, after: _Mark, limit: int) -> list[Row]:
        return run(_CANDIDATES, (moment(now), after[0], *after, limit))

    def _read(self, taken: list[tuple[Row, int]]) -> list[ClaimedTurn]:
        """As they are run. One that cannot be read waits for a person, and holds up nobody."""
        try:
            return self._loaded(taken)
        except FAULTS:
            self._history.clear()  # it may hold half of what was read
        turns: list[ClaimedTurn] = []
        faulty: list[tuple[Row, str]] = []
        for row, agent in taken:
            try:
                turns += self._loaded([(row, agent)])
            except FAULTS as error:
                self._history.clear()
                faulty.append((row, explain(error)))
        _quarantine(faulty)
        return turns

    def _loaded(self, taken: list[tuple[Row, int]]) -> list[ClaimedTurn]:
        histories = self._history.load([Wanted(row[2], row[7], row[3]) for row, _ in taken])
        return [_claimed(row, agent, histories[row[2]]) for row, agent in taken]

    def _routed(self, rows: Sequence[Row], now: datetime) -> dict[str, tuple[Row, int]]:
        trials: set[int] = set()
        return {
            row[0]: (row, agent)
            for row in rows
            if (agent := self._route(row[4], row[8] or "", row[5])) is not None
            if self._circuit is None or self._circuit.admits(agent, trials, now)
        }


def _claimed(row: Row, agent: int, said: Conversation) -> ClaimedTurn:
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
        history=said.messages,
        waiting=said.waiting,
        name=row[11] or "",
        person=whom(*row[12:15]),
        fence=row[15],
        shown=bool(row[16]),
        noticed=bool(row[18]),
    )


def _quarantine(faulty: Sequence[tuple[Row, str]]) -> None:
    """Their people are told with the next sign of life, as of any turn that is given up."""
    turns = [(row[0], reason) for row, reason in faulty]
    log_unreadable("turn", turns)
    run_rows(_QUARANTINE, turns, (UNREADABLE,))
    run_each(DISPOSE, [("failed", row[2], row[3]) for row, _ in faulty])
