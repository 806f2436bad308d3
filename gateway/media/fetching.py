"""Fetches what people sent, from their platforms, while it is still there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from adapters.base import Adapter, MediaSource, RateLimited, Refused, SendError
from gateway.ledger import Ledger
from gateway.ledger.files import ClaimedFile, FinishedFile
from gateway.media.store import Store, TooLarge
from gateway.points import reached
from gateway.turns import backoff, persist
from sessions_app import clock

logger = logging.getLogger(__name__)

MAX_FETCHES = 8
"""Files fetched at once: their pieces share the loop with everything else."""

ONE_FETCH_SECONDS = 600.0
"""A file that comes more slowly than this is tried again."""

RETRY_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 20.0


class Fetching:
    """Takes claimed files; each ends as a stored file, a failure with its reason, or a retry."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        adapter: Callable[[str], Adapter | None],
        give_up_seconds: float,
    ) -> None:
        """A file is tried at least once, and given up `give_up_seconds` after it came."""
        self._ledger, self._store, self._adapter = ledger, store, adapter
        self._give_up = timedelta(seconds=give_up_seconds)
        self._tasks: set[asyncio.Task[None]] = set()

    def wanted(self) -> int:
        """How many more files may be fetched now."""
        return MAX_FETCHES - len(self._tasks)

    def serves(self, channel: str) -> bool:
        """Whether files of this channel can be fetched now."""
        return isinstance(self._adapter(channel), MediaSource)

    def take(self, claimed: list[ClaimedFile]) -> None:
        """Fetch these."""
        for file in claimed:
            task = asyncio.create_task(self._run(file), name=f"file {file.id}")
            self._tasks.add(task)
            task.add_done_callback(self._forget)

    async def stop(self) -> None:
        """Leave the rest for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self.wanted() == 1:  # there was no room: others may wait for this place
            self._ledger.poke()

    async def _run(self, file: ClaimedFile) -> None:
        finished = await self._fetched(file)
        reached("fetch:kept")
        ours = await persist(self._ledger, "finish_fetches", finished)
        if finished.path and not ours:
            await asyncio.to_thread(self._store.remove, finished.path)

    async def _fetched(self, file: ClaimedFile) -> FinishedFile:
        adapter: object = self._adapter(file.channel)
        if not isinstance(adapter, MediaSource):
            return self._later(file, "the channel is not up", 1.0)
        media = file.media
        if media.size is not None and media.size > self._store.max_bytes:
            return FinishedFile(file, "failed", error="larger than this gateway keeps")
        try:
            async with asyncio.timeout(ONE_FETCH_SECONDS):
                stored = await self._store.keep(adapter.fetch(media), media.kind, media.mime)
        except (Refused, TooLarge) as error:
            logger.warning("channel %s: a file was not fetched: %s", file.channel, error)
            return FinishedFile(file, "failed", error=str(error))
        except SendError as error:
            wait = error.retry_after if isinstance(error, RateLimited) else 0.0
            return self._later(file, error.detail, wait)
        except TimeoutError:
            return self._later(file, "it came too slowly")
        except Exception as error:  # worker edge: one file's fault must reach no other
            logger.exception("channel %s: a file could not be kept", file.channel)
            return self._later(file, f"not kept: {type(error).__name__}")
        return FinishedFile(
            file,
            "stored",
            kind=stored.kind,
            mime=stored.mime,
            size=stored.size,
            path=stored.path,
        )

    def _later(self, file: ClaimedFile, why: str, wait: float = 0.0) -> FinishedFile:
        now = clock.now()
        pause = max(min(backoff(file.attempt, RETRY_SECONDS), LONGEST_PAUSE_SECONDS), wait)
        if now + timedelta(seconds=pause) > file.came_at + self._give_up:
            logger.warning("channel %s: a file was given up: %s", file.channel, why)
            return FinishedFile(file, "failed", error=why)
        asyncio.get_running_loop().call_later(pause + 0.05, self._ledger.poke)
        later = now + timedelta(seconds=pause)
        return FinishedFile(file, "waiting", error=why, not_before=later)
