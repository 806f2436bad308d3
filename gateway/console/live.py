"""The live page: every running turn of every channel, as it is being written.

Its text comes over /ws/live/. What a stream cannot tell comes from here as JSON:
what waits and why, which turns run by the database, and how those ended that the
page lost sight of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from gateway.console import waiting
from gateway.console.frame import render
from gateway.console.transcript import ANSWERS
from gateway.models import Agent, Turn
from gateway.traces import merged
from sessions_app import clock
from sessions_app.sql import run_rows

MAX_ENDED = 100
"""Turns whose end may be asked for at once."""

MAX_BEHIND = 20
"""Places behind a question where its answer may stand, after notices of failure."""


_REPLIES = """
WITH wanted(turn, session_id, after, upto) AS ({rows})
SELECT w.turn, m.text FROM wanted w
JOIN sessions_app_message m
  ON m.session_id = w.session_id AND m.seq > w.after AND m.seq <= w.upto
WHERE m.role = 'assistant' AND m.origin IN (%s, %s)
ORDER BY w.turn, m.seq
"""


def page(request: HttpRequest) -> HttpResponse:
    """The page itself. `channel`, `agent`, `state` and `q` in the address choose what is shown."""
    _check(request)
    context = {
        "channels": settings.OPENCLAW_CHANNELS,
        "agents": Agent.objects.order_by("name").values_list("name", flat=True),
        "session_url": reverse("admin:sessions_app_session_change", args=["SESSION"]),
    }
    return render(request, "console/live.html", "Live", context)


def waiting_turns(request: HttpRequest) -> HttpResponse:
    """{"now", "waiting": [...], "more", "running": [turn ids]}; rows as in `waiting.rows`."""
    _check(request)
    rows, more = waiting.rows()
    found = {"now": clock.now(), "waiting": rows, "more": more, "running": waiting.running()}
    return JsonResponse(found)


def ended_turns(request: HttpRequest) -> HttpResponse:
    """{"frames": […]}: for each `turn` asked for that runs no more, one frame with all of it."""
    _check(request)
    asked = request.GET.getlist("turn")[:MAX_ENDED]
    turns = Turn.objects.filter(pk__in=asked).exclude(state=Turn.State.RUNNING)
    turns = turns.select_related("session__contact", "agent")
    found = list(turns)
    replies = _replies(found)
    return JsonResponse({"frames": [_frame(turn, replies) for turn in found]})


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm("gateway.view_turn"):
        raise PermissionDenied


def _frame(turn: Turn, replies: Mapping[str, str]) -> dict[str, Any]:
    """As the stream would tell it (gateway/stream.py), plus "ended" and "error".

    The text is the reply, or as far as it got.
    """
    session, done = turn.session, turn.state == Turn.State.DONE
    return {
        "turn": turn.pk,
        "attempt": turn.attempts,
        "session": session.pk,
        "channel": session.channel,
        "offset": 0,
        "text": replies.get(turn.pk, "") if done else turn.partial_text,
        "state": turn.state,
        "agent": turn.agent.name if turn.agent else "",
        "started": turn.started_at or turn.queued_at,
        "ended": turn.ended_at,
        "user": session.contact.user_id,
        "name": session.contact.name,
        "chat": session.chat_id,
        "trace": merged(turn.events),
        "error": turn.error_code,
    }


def _replies(turns: Sequence[Turn]) -> dict[str, str]:
    """Turn -> the reply that stands behind what it answered. One query for all."""
    done = [turn for turn in turns if turn.state == Turn.State.DONE]
    rows = [(turn.pk, turn.session_id, turn.upto_seq, turn.upto_seq + MAX_BEHIND) for turn in done]
    found: dict[str, str] = {}
    for turn, text in run_rows(_REPLIES, rows, ANSWERS):
        found.setdefault(turn, text)
    return found
