"""Named places on the way of a message.

Tests put a hook here, to kill the process at each of them. The verbs' commits
and the calls to agents and platforms are the only places where a crash can
tell the difference; `NAMES` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable

VERBS = ("finish_deliveries", "finish_turns", "ingest", "start_turns", "start_deliveries")
"""The five verbs in the order in which one commit holds them: ends before beginnings."""

BESIDE = ("open_previews", "finish_fetches", "start_fetches")
"""What else is written and claimed in the same commits; killed there by tests of their own."""

NAMES = (
    *(f"{verb}:{place}" for verb in VERBS for place in ("before_commit", "after_commit")),
    "agent:asked",
    "agent:heard",
    "agent:answered",
    "send:before",
    "send:after",
    "webhook:before_answer",
)

SCHEDULES = ("fire:before_claim", "fire:before_commit", "fire:after_commit")
"""Around the firing of a planned send, which happens in the worker."""

hook: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """The process is at `name` now."""
    if hook is not None:
        hook(name)
