"""A deadline around each wait of a call, with one timer for all of them."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Expired(Exception):
    """A guarded wait took too long."""


class Watchdog:
    """Ends a wait that outlasts its deadline: `with watchdog.until(deadline): await …`.

    Raises `Expired` out of the `with`. Setting the next deadline of a stream
    costs an assignment: the timer stays where it is and, when it goes off too
    early, is set anew. A task that is cancelled from outside stays cancelled.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._deadline = 0.0
        self._cancelling = 0
        self._expired = False

    def until(self, deadline: float) -> Watchdog:
        """Guard the next wait; `deadline` in the loop's time."""
        self._deadline = deadline
        return self

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        if self._timer is None or self._deadline < self._timer.when():
            self.close()
            self._timer = self._loop.call_at(self._deadline, self._ring)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self._expired:
            return
        self._expired = False
        assert task is not None
        cancelled_from_outside = task.uncancel() > self._cancelling
        if not cancelled_from_outside and (kind is None or kind is asyncio.CancelledError):
            raise Expired from error

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._ring)
            return
        self._expired = True
        self._task.cancel()
