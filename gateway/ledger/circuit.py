"""The circuit of each agent: while one does not answer, its turns wait. Waiting is no failure.

closed     calls go through
open       none does, until `retry_at`; the pause doubles each time, up to a bound
half_open  one turn is trying it; its end decides. Should that never come, another
           tries after the same pause

Evidence, all of it in a row: calls that found nobody and failed checks of /health
(*hard*), or a status of 5xx, silence up to the first-token limit and a connection
closed before a word was heard, from at least three different sessions (*soft*): so one
poisonous message does not close an agent for everybody. Where each session has a
program of its own, all evidence is soft. Any sign of life ends the row. All of it are
rows, so it outlives a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.ledger.records import FinishedTurn
from gateway.models import Agent, AgentHealth
from sessions_app.sql import run_each

logger = logging.getLogger(__name__)

HARD = ("unreachable",)
SOFT = ("status_5xx", "timeout_first")
CUT = "interrupted"
"""Soft as long as nothing was heard; else a sign of life."""

ALIVE = ("status_4xx", "reported", "malformed", "too_large", "timeout_between", "timeout_total")
SESSIONS = 3
"""So many different sessions have to fail before soft evidence counts."""

MAX_DETAIL = 500

_WAIVE = """
UPDATE gateway_turn SET attempts = attempts - 1
WHERE id = %s AND attempts > 1 AND state = 'queued'
"""


@dataclass(frozen=True, slots=True)
class CircuitLimits:
    """After how many failures it opens, and for how many seconds. 0 failures: never."""

    failures: int = 5
    seconds: float = 30.0
    longest: float = 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What a claim has to know of an agent."""

    state: str
    retry_at: datetime | None
    pause: float


class Circuit:
    """The circuits as the rows have them, kept at hand. Used in the ledger's thread."""

    def __init__(
        self, limits: CircuitLimits, apart: Callable[[int], bool] = lambda agent: False
    ) -> None:
        """`apart`: whether each session of an agent has a program of its own."""
        self.limits, self._apart = limits, apart
        self._known: dict[int, Standing] | None = None

    def clear(self) -> None:
        """Read the rows again: they may have changed, or a change was taken back."""
        self._known = None

    def is_open(self, agent: int) -> bool:
        """Whether this agent's turns wait."""
        return agent in self._standings()

    def away(self) -> frozenset[int]:
        """The agents whose turns wait."""
        return frozenset(self._standings())

    def anything_open(self) -> bool:
        """Whether any agent's turns wait."""
        return bool(self._standings())

    @property
    def quiet(self) -> bool:
        """Known to be closed everywhere. For any thread: it asks nothing."""
        return self._known == {}

    def admits(self, agent: int, trials: set[int], now: datetime) -> bool:
        """Whether a turn may ask this agent; one that does not answer gets one trial at a time."""
        standing = self._standings().get(agent)
        if standing is None:
            return True
        if agent in trials or (standing.retry_at is not None and standing.retry_at > now):
            return False
        trials.add(agent)
        return True

    def begin_trials(self, agents: set[int], now: datetime) -> None:
        """Turns of these agents are claimed: where a circuit is open, they try it."""
        for agent in agents & self._standings().keys():
            pause = self._standings()[agent].pause
            AgentHealth.objects.filter(agent=agent).update(
                state=AgentHealth.State.HALF_OPEN, retry_at=now + timedelta(seconds=pause)
            )
            self.clear()

    def judge(self, finished: Sequence[FinishedTurn], now: datetime) -> list[FinishedTurn]:
        """Take the ends of calls as evidence; those that got nothing while it is open wait."""
        judged = []
        for item in finished:
            self._weigh(item, now)
            if self._waits(item):
                item = replace(item, state="queued", not_before=now, parts=(), notice="", text="")
            judged.append(item)
        return judged

    def waive(self, finished: Sequence[FinishedTurn]) -> None:
        """Calls that got nothing while the circuit is open do not count as tries."""
        run_each(_WAIVE, [(item.turn.id,) for item in finished if self._waits(item)])

    def _waits(self, item: FinishedTurn) -> bool:
        """Whether its agent is away: then that it got no answer is no failure of its own."""
        unended = item.state in ("failed", "queued")
        return unended and _unheard(item) and self.is_open(item.turn.agent)

    def _weigh(self, item: FinishedTurn, now: datetime) -> None:
        agent, code = item.turn.agent, item.error_code
        if _unheard(item):
            hard = code in HARD and not self._apart(agent)
            self._failed(agent, f"{code}: {item.error_detail}", item.turn.session, hard, now)
        elif item.state == "done" or code in (*ALIVE, CUT):
            self._succeeded(agent, now)

    def _succeeded(self, agent: int, now: datetime) -> None:
        troubled = AgentHealth.objects.filter(agent=agent, failures__gt=0).exists()
        if troubled and (row := health_of(agent)):
            note_success(row, now)
            self.clear()

    def _failed(self, agent: int, detail: str, session: str, hard: bool, now: datetime) -> None:
        if row := health_of(agent):
            note_failure(row, detail, "" if hard else session, self.limits, now)
            self.clear()

    def _standings(self) -> dict[int, Standing]:
        """Those that are not closed."""
        if self._known is None:
            rows = AgentHealth.objects.exclude(state=AgentHealth.State.CLOSED)
            self._known = {
                row.agent_id: Standing(row.state, row.retry_at, _pause(row, self.limits))
                for row in rows
            }
        return self._known


def _unheard(item: FinishedTurn) -> bool:
    """Whether the call got nothing at all: nobody was there, or nothing came."""
    if item.error_code == CUT:
        return not (item.partial or item.events or item.first_token_at)
    return item.error_code in HARD or item.error_code in SOFT


def note_success(row: AgentHealth, now: datetime) -> None:
    """A sign of life: the circuit is closed."""
    if row.state != AgentHealth.State.CLOSED:
        logger.warning("agent %s answers again", row.agent.name)
    row.state, row.failures, row.evidence = AgentHealth.State.CLOSED, 0, {}
    row.detail, row.opened_at, row.retry_at, row.ok_at = "", None, None, now
    row.save()


def note_failure(
    row: AgentHealth, detail: str, session: str, limits: CircuitLimits, now: datetime
) -> None:
    """One more failure in a row; with a `session` it is soft evidence."""
    row.failures += 1
    row.detail = detail[:MAX_DETAIL]
    seen = dict(row.evidence)
    if session:
        seen["sessions"] = sorted({*seen.get("sessions", []), session})[:SESSIONS]
    else:
        seen["hard"] = seen.get("hard", 0) + 1
    row.evidence = seen
    enough = seen.get("hard", 0) >= limits.failures or (
        row.failures >= limits.failures and len(seen.get("sessions", [])) >= SESSIONS
    )
    if row.state == AgentHealth.State.HALF_OPEN:
        _open(row, min(2 * _pause(row, limits), limits.longest), now)
    elif row.state == AgentHealth.State.CLOSED and limits.failures and enough:
        logger.error("agent %s does not answer, its turns wait: %s", row.agent.name, row.detail)
        row.opened_at = now
        _open(row, limits.seconds, now)
    row.save()


def note_check(row: AgentHealth, reason: str | None, limits: CircuitLimits, now: datetime) -> None:
    """What /health said. Good news close a circuit that nobody answering had opened; where it
    was silence in mid-turn that opened it, they let one turn try."""
    row.checked_at = now
    if reason is not None:
        note_failure(row, f"/health: {reason}", "", limits, now)
    elif row.evidence.get("hard") or not row.evidence.get("sessions"):
        note_success(row, now)
    else:
        row.retry_at = now if row.state == AgentHealth.State.OPEN else row.retry_at
        row.save()


def _open(row: AgentHealth, pause: float, now: datetime) -> None:
    row.state = AgentHealth.State.OPEN
    row.retry_at = now + timedelta(seconds=pause)
    row.evidence = {**row.evidence, "pause": pause}


def _pause(row: AgentHealth, limits: CircuitLimits) -> float:
    return float(row.evidence.get("pause", limits.seconds))


def health_of(agent: int) -> AgentHealth | None:
    """The agent's row, made where there is none; None where the agent was removed."""
    if not Agent.objects.filter(pk=agent).exists():
        return None
    row, _ = AgentHealth.objects.select_related("agent").get_or_create(agent_id=agent)
    return row
