"""Names of people that a platform tells only when it is asked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from adapters._recent import Recent

FRESH_SECONDS = 3600.0
MOST = 5000

now = time.monotonic


class Names:
    """Each person's name as it was last told; asked for once an hour at most."""

    def __init__(self, ask: Callable[[str], Awaitable[str]]) -> None:
        """`ask`: id -> name, empty where there is none. It may raise."""
        self._ask = ask
        self._told: Recent[str, tuple[str, float]] = Recent(MOST)

    def of(self, user_id: str) -> str:
        """The name; empty where it is not known (yet)."""
        name, _ = self._told.get(user_id) or ("", 0.0)
        return name

    async def learn(self, user_id: str) -> None:
        """Ask, unless that was done lately: then also where it went wrong."""
        name, asked_at = self._told.get(user_id) or ("", None)
        if asked_at is not None and now() - asked_at < FRESH_SECONDS:
            return
        self._told.note(user_id, (name, now()))
        self._told.note(user_id, (await self._ask(user_id), now()))
