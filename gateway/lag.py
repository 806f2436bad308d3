"""How late the event loop is: whatever blocks it shows here, whoever did it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
KEPT_SECONDS = 60.0
"""For how long a late moment is remembered."""

WORST_SECONDS = 2.0
"""Later than this, and people notice: not ready, and a line in the log."""


class LoopLag:
    """Sleeps for a moment, again and again, and notes by how much it overslept."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque([0.0], maxlen=int(KEPT_SECONDS / LOOK_SECONDS))

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            self.note(max(0.0, loop.time() - due))

    def note(self, seconds: float) -> None:
        """The loop was late by so much."""
        self._seen.append(seconds)
        if seconds > WORST_SECONDS:
            logger.warning("the event loop stood still for %.1f s", seconds)

    def report(self) -> dict[str, Any]:
        """For /readyz: now, and at worst within the last minute."""
        worst = max(self._seen)
        return {
            "ok": worst <= WORST_SECONDS,
            "lag_ms": round(self._seen[-1] * 1000, 1),
            "worst_lag_ms": round(worst * 1000, 1),
        }
