"""Loops: what the gateway does again and again, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.ledger import Unavailable
from gateway.vital import vital

logger = logging.getLogger(__name__)


class Loops:
    """The tasks that live as long as the gateway."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run this until `stop`."""
        self._tasks.append(vital(asyncio.create_task(work, name=name)))

    def every(self, seconds: float, act: Callable[[], Awaitable[None]], name: str) -> None:
        """Do it again and again; a failure is logged and leaves the next time alone."""
        self.spawn(_again(seconds, act, name), name)

    async def stop(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _again(seconds: float, act: Callable[[], Awaitable[None]], name: str) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await act()
        except Unavailable as error:
            logger.warning("%s: the database cannot be written: %s", name, error)
        except Exception:  # worker edge: without these loops leases run out and work sleeps
            logger.exception("%s failed", name)
