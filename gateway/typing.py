"""The typing sign: shown while a turn runs, on channels that have one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from adapters.base import Adapter, SendError, Typist
from gateway.ledger.records import ClaimedTurn

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.4
"""An answer that is there sooner needs no sign."""


class TypingSigns:
    """Starts and refreshes the sign. `adapter` finds a channel's adapter, None while it is down."""

    def __init__(self, adapter: Callable[[str], Adapter | None]) -> None:
        self._adapter = adapter
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, turn: ClaimedTurn) -> Callable[[], None]:
        """Show the sign for this turn from a moment on; the result ends it."""
        shown: list[asyncio.Task[None]] = []

        def begin() -> None:
            adapter = self._adapter(turn.channel)
            if adapter is None or not adapter.capabilities.typing_seconds:
                return
            pause = adapter.capabilities.typing_seconds * 0.8
            typist: object = adapter
            if isinstance(typist, Typist):
                task = asyncio.create_task(_keep(typist, pause, turn))
                shown.append(task)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        timer = asyncio.get_running_loop().call_later(FIRST_SECONDS, begin)

        def stop() -> None:
            timer.cancel()
            for task in shown:
                task.cancel()

        return stop


async def _keep(typist: Typist, pause: float, turn: ClaimedTurn) -> None:
    while True:
        try:
            await typist.typing(turn.chat_id, turn.target)
        except SendError:
            return  # a sign is not worth a second try
        except Exception:  # worker edge: nobody waits for this task, and the answer goes on
            logger.exception("channel %s: the typing sign failed on our side", turn.channel)
            return
        await asyncio.sleep(pause)
