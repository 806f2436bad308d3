"""What was acknowledged before it was written: the price of durability `batched`, and its bound.

Only so much may stand here as the documentation says can be lost. When it is
full, or the database refuses, arrivals wait for their commit as in any other
durability, and the platform hears of a database that is out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from gateway.ledger import Unavailable

logger = logging.getLogger(__name__)

AT_RISK_SECONDS = 1.0
"""What was acknowledged within this time may be lost, and nothing else."""

MAX_ARRIVALS = 500
MAX_CHARACTERS = 8 * 1024 * 1024
"""Bounds of the memory that waits for a commit."""

FLUSH_SECONDS = 5.0
"""At the end, a database that does not come back is waited for as long as this."""


class Backlog:
    """Writes under way for which somebody has been answered already."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[object], tuple[float, int]] = {}
        self._characters = 0
        self._refused = 0

    def has_room(self) -> bool:
        """Whether one more may be answered first. Raises `Unavailable` while the database
        refuses: what comes now must not be written before what came earlier."""
        if self._refused:
            raise Unavailable("what was acknowledged earlier still waits for the database")
        if len(self._tasks) >= MAX_ARRIVALS or self._characters >= MAX_CHARACTERS:
            return False
        oldest = next(iter(self._tasks.values()), None)
        return oldest is None or asyncio.get_running_loop().time() - oldest[0] < AT_RISK_SECONDS

    def add(self, work: Coroutine[Any, Any, object], characters: int) -> None:
        """Write this in the background."""
        task = asyncio.create_task(work)
        self._tasks[task] = (asyncio.get_running_loop().time(), characters)
        self._characters += characters
        task.add_done_callback(self._forget)

    def refused(self) -> None:
        """The database did not take one of them; `taken` follows when it has."""
        self._refused += 1

    def taken(self) -> None:
        """What was refused is written, or given up."""
        self._refused -= 1

    async def flush(self, seconds: float = FLUSH_SECONDS) -> int:
        """Wait until everything is committed. Returns how many were given up after `seconds`."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        left = [task for task in self._tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            logger.error("%d acknowledged arrivals could not be written", len(left))
        return len(left)

    def _forget(self, task: asyncio.Task[object]) -> None:
        _, characters = self._tasks.pop(task)
        self._characters -= characters
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an acknowledged arrival could not be written", exc_info=error)
