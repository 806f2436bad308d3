"""Whether each agent answers, for a page that waits for no slow one."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from gateway import health
from gateway.runtime import Runtime
from sessions_app import clock

WAIT_SECONDS = 0.1
"""The page waits this long for the agents' answers; later ones are shown the next time."""

FRESH = timedelta(minutes=1)
"""Answers that are older say nothing about now, and are not shown."""

Answers = tuple[dict[str, Any], datetime | None]
"""(agent's name -> its answer as in `health.agents`, when they came)."""

_asking: asyncio.Task[None] | None = None
_last: Answers = ({}, None)


async def answers(runtime: Runtime) -> Answers:
    """The agents' last answers. A slow agent is asked on while the page goes out."""
    global _asking
    asking = _asking = _asking or asyncio.create_task(_ask(runtime), name="probe")
    done, _ = await asyncio.wait({asking}, timeout=WAIT_SECONDS)
    if done:
        asking.result()
    found, at = _last
    return (found, at) if at and clock.now() - at <= FRESH else ({}, None)


async def _ask(runtime: Runtime) -> None:
    global _asking, _last
    try:
        _last = await health.agents(runtime), clock.now()
    finally:
        _asking = None
