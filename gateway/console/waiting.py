"""Turns that wait, and why: behind another, until a time, for an agent, for an operator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings

from gateway.models import AgentHealth
from gateway.router import Router
from sessions_app import clock
from sessions_app.sql import Row, loads_object, parse_moment, run

MAX_ROWS = 100
"""Waiting turns shown; of more, only the number is told."""

COUNTED = 10_000
"""Counting stops here."""

# The states stand in the text so that SQLite can use the small index of open turns.
_QUEUED = """
SELECT t.id, t.session_id, s.channel, s.chat_id, s.handler, c.user_id, c.name, m.sender, p.name,
       m.target, t.attempts, t.queued_at, t.not_before, t.error_code, r.id,
       EXISTS (SELECT 1 FROM gateway_turn e
               WHERE e.session_id = t.session_id AND e.state IN ('queued', 'running')
                 AND e.state = 'queued' AND e.upto_seq < t.upto_seq)
FROM gateway_turn t
JOIN sessions_app_session s ON s.id = t.session_id
JOIN sessions_app_contact c ON c.id = s.contact_id
LEFT JOIN sessions_app_message m ON m.session_id = t.session_id AND m.seq = t.upto_seq
LEFT JOIN sessions_app_contact p ON p.channel = s.channel AND p.user_id = m.sender
LEFT JOIN gateway_turn r ON r.session_id = t.session_id AND r.state IN ('queued', 'running')
  AND r.state = 'running'
WHERE t.state IN ('queued', 'running') AND t.state = 'queued'
ORDER BY t.queued_at, t.id
LIMIT %s
"""

_COUNT = """
SELECT COUNT(*) FROM (
    SELECT 1 FROM gateway_turn t
    WHERE t.state IN ('queued', 'running') AND t.state = 'queued' LIMIT %s) counted
"""

_RUNNING = """
SELECT t.id FROM gateway_turn t
WHERE t.state IN ('queued', 'running') AND t.state = 'running'
"""


def running() -> list[str]:
    """Ids of the turns that run, by the database."""
    return [row[0] for row in run(_RUNNING)]


def rows() -> tuple[list[dict[str, Any]], int]:
    """(the turns that wait longest, how many more there are).

    Each is {"turn", "session", "channel", "chat", "user", "name", "agent", "since",
    "kind", "until", "attempts", "error", "behind"}; `kind` is operator, running,
    earlier, backoff, more, no_agent, away, full or soon, `behind` the running turn's id.
    """
    found = run(_QUEUED, [MAX_ROWS + 1])
    if not found:
        return [], 0
    router = Router()
    router.load()
    now = clock.now()
    full = len(running()) >= settings.OPENCLAW_AGENT_MAX_TURNS
    away = set(AgentHealth.objects.exclude(state="closed").values_list("agent", flat=True))
    shown = list(_told(found[:MAX_ROWS], router, now, full, away))
    return shown, run(_COUNT, [COUNTED])[0][0] - len(shown) if len(found) > MAX_ROWS else 0


def _told(
    found: list[Row], router: Router, now: datetime, full: bool, away: set[int]
) -> Iterator[dict[str, Any]]:
    for row in found:
        (turn, session, channel, chat, handler, user, name, sender, sender_name) = row[:9]
        (target, attempts, since, not_before, error, ahead, earlier) = row[9:]
        user, name = (sender, sender_name or "") if sender else (user, name)
        chat = loads_object(target).get("chat_id") or chat
        until = parse_moment(not_before)
        agent = router.route(channel, user, chat)
        later = until is not None and until > now
        kind = _kind(handler, ahead, earlier, later, agent, full)
        if kind == "backoff" and not attempts:
            kind = "more"
        elif kind in ("full", "soon") and agent in away:
            kind = "away"
        yield {
            "turn": turn,
            "session": session,
            "channel": channel,
            "chat": chat,
            "user": user,
            "name": name,
            "agent": router.target(agent).name if agent is not None else "",
            "since": parse_moment(since),
            "kind": kind,
            "until": until,
            "attempts": attempts,
            "error": error,
            "behind": ahead,
        }


def _kind(
    handler: str, ahead: str | None, earlier: bool, later: bool, agent: Any, full: bool
) -> str:
    """The first thing that has to change before the turn can run."""
    if handler == "operator":
        return "operator"
    if ahead:
        return "running"
    if earlier:
        return "earlier"
    if agent is None:
        return "no_agent"
    if later:
        return "backoff"
    return "full" if full else "soon"
