"""The batcher: one thread writes, and each commit holds whatever has gathered.

While one commit runs, the next round gathers. A round does all its verbs in
one transaction, the ends before the beginnings, and claims new work last, so
that what a message set free is claimed in the very commit that freed it. The
only wake-up is "run another round": nothing decides outside the transaction
that there is nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection, transaction

from gateway import points
from gateway.vital import vital

logger = logging.getLogger(__name__)

MAX_ITEMS = 500
"""Items of one verb in one round: keeps a commit short when a flood comes in."""

AGAIN_SECONDS = 0.1
"""After a round that the database refused, work is looked for again this soon,"""

LATEST_SECONDS = 5.0
"""and ever later, up to this, as long as it goes on refusing."""

SAY_SECONDS = 30.0
"""How often it is said that the database still refuses."""

Verb = Callable[[Sequence[Any]], list[Any]]
Batch = dict[str, list["_Item"]]
Claim = Callable[[int], list[Any]]


class Unavailable(Exception):
    """The database could not take it: locked, full, gone. Nothing of it was written."""


class Claimer:
    """A standing order for work: how much is wanted now, and who takes what was claimed.

    `after` names the verbs that can make or free such work (None: any can); a
    round without one of them looks only when it was poked.
    """

    def __init__(
        self,
        name: str,
        claim: Claim,
        wanted: Callable[[], int],
        take: Callable[[list[Any]], None],
        after: Collection[str] | None = None,
    ) -> None:
        self.name, self.claim, self.wanted, self.take = name, claim, wanted, take
        self._after = after

    def concerns(self, batch: Batch) -> bool:
        """Whether this round's verbs can have made or freed work."""
        return self._after is None or any(verb in batch for verb in self._after)


class _Refusal:
    """A database that cannot take it: how often in a row, and whether that was said."""

    def __init__(self) -> None:
        self._rounds, self._new, self._said_at = 0, False, float("-inf")

    def note(self, error: Exception) -> None:
        """One more round was refused."""
        self._rounds, self._new = self._rounds + 1, True
        now = time.monotonic()
        if self._rounds == 1 or now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            logger.error("the database cannot be written: %s", error)

    def pause(self) -> float:
        """After a round: seconds to the next try, 0 where it was not refused."""
        if not self._new:
            self._rounds = 0
            return 0.0
        self._new = False
        return min(AGAIN_SECONDS * 2.0 ** min(self._rounds - 1, 10), LATEST_SECONDS)


class _Item:
    __slots__ = ("future", "value")

    def __init__(self, value: Any, future: asyncio.Future[Any]) -> None:
        self.value = value
        self.future = future


Outcome = list[tuple[_Item, Any]]


class Ledger:
    """Runs verbs in rounds. `verbs` maps a name to a function over a list of items."""

    def __init__(self, verbs: Mapping[str, Verb], on_rollback: Callable[[], None]) -> None:
        self._verbs = verbs
        self._on_rollback = on_rollback
        self._claimers: list[Claimer] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._batch: Batch = {}
        self._wake = asyncio.Event()
        self._poked = False
        self._refusal = _Refusal()
        self._round_lock = asyncio.Lock()
        self._ended_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def claim_for(self, *claimers: Claimer) -> None:
        """From now on every round also claims work for these."""
        self._claimers.extend(claimers)
        self.poke()

    def stop_claiming(self, *names: str) -> None:
        """Claim no more work (of these kinds); what is running can still be finished."""
        self._claimers = [one for one in self._claimers if names and one.name not in names]

    async def settled(self) -> None:
        """When this returns, what was handed over is written, and what was claimed is taken."""
        while True:
            async with self._round_lock:
                if not self._batch or self._task is None or self._task.done():
                    return
            await asyncio.sleep(0)

    def quiet_seconds(self) -> float:
        """How long ago the last round ended: rounds run all the time, so long is dead."""
        return time.monotonic() - self._ended_at

    def start(self) -> None:
        """Begin to run rounds in the running loop."""
        self._task = vital(asyncio.create_task(self._run(), name="ledger"))

    async def stop(self) -> None:
        """Finish what was handed over, then stop."""
        self._stopping = True
        self._wake.set()
        if self._task:
            await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, _disconnect)
        self._thread.shutdown()

    def do(self, verb: str, value: Any) -> asyncio.Future[Any]:
        """Hand one item to a verb. The future holds its result after the commit.

        Raises `Unavailable` through the future when the database cannot take it.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._batch.setdefault(verb, []).append(_Item(value, future))
        self._wake.set()
        return future

    def poke(self) -> None:
        """Run a round even if nothing was handed over, and look for all kinds of work."""
        self._poked = True
        self._wake.set()

    async def call(self, function: Callable[[], Any], *, atomic: bool = True) -> Any:
        """Run a function in the ledger's thread, in a transaction of its own.

        Raises `Unavailable` when the database cannot take it.
        """

        def in_thread() -> Any:
            try:
                with transaction.atomic() if atomic else nullcontext():
                    return function()
            except Error as error:
                self._recover()
                raise Unavailable(str(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, in_thread)

    async def _run(self) -> None:
        while self._batch or not self._stopping:
            await self._wake.wait()
            async with self._round_lock:
                self._wake.clear()  # before the batch is taken: a later poke is not lost
                await self._next_round()
            self._ended_at = time.monotonic()

    async def _next_round(self) -> None:
        loop = asyncio.get_running_loop()
        batch = self._take()
        poked, self._poked = self._poked, False
        wanted = [
            (claimer, claimer.wanted())
            for claimer in self._claimers
            if poked or claimer.concerns(batch)
        ]
        try:
            outcome, claimed = await loop.run_in_executor(self._thread, self._round, batch, wanted)
        except Exception as error:  # worker edge: one bad round must not end the ledger
            logger.exception("a round of the ledger failed")
            self._fail(batch, error)
            loop.call_later(AGAIN_SECONDS, self.poke)
            return
        if pause := self._refusal.pause():  # what this round should have claimed still waits
            loop.call_later(pause, self.poke)
        for item, result in outcome:
            _settle(item.future, result)
        for claimer, work, limit in claimed:
            if len(work) >= limit:
                self.poke()
            if work:
                claimer.take(work)

    def _take(self) -> Batch:
        batch: Batch = {}
        for verb, items in list(self._batch.items()):
            batch[verb] = items[:MAX_ITEMS]
            if rest := items[MAX_ITEMS:]:
                self._batch[verb] = rest
                self._wake.set()
            else:
                del self._batch[verb]
        return batch

    def _round(
        self, batch: Batch, wanted: list[tuple[Claimer, int]]
    ) -> tuple[Outcome, list[tuple[Claimer, list[Any], int]]]:
        try:
            return self._commit(batch, wanted)
        except (OperationalError, InterfaceError) as error:
            self._recover()
            self._refusal.note(error)
            failure = Unavailable(str(error))
            return [(item, failure) for items in batch.values() for item in items], []
        except Exception as error:  # noqa: BLE001  (worker edge: `_apart` logs whose fault it is)
            fault = error
        self._recover()
        return self._apart(batch, wanted, fault)

    def _commit(
        self, batch: Batch, wanted: list[tuple[Claimer, int]]
    ) -> tuple[Outcome, list[tuple[Claimer, list[Any], int]]]:
        outcome: Outcome = []
        claimed: list[tuple[Claimer, list[Any], int]] = []
        done: list[str] = []
        with transaction.atomic():
            for verb, function in self._verbs.items():
                if items := batch.get(verb):
                    results = function([item.value for item in items])
                    outcome.extend(zip(items, results, strict=True))
                    done.append(verb)
            for claimer, limit in wanted:
                if limit > 0 and (work := claimer.claim(limit)):
                    claimed.append((claimer, work, limit))
                    done.append(claimer.name)
            for verb in done:
                points.reached(f"{verb}:before_commit")
        for verb in done:
            points.reached(f"{verb}:after_commit")
        return outcome, claimed

    def _apart(
        self, batch: Batch, wanted: list[tuple[Claimer, int]], error: Exception
    ) -> tuple[Outcome, list[tuple[Claimer, list[Any], int]]]:
        """A round failed on its contents: find what is at fault, so that it fails alone."""
        items = [(verb, item) for verb in self._verbs for item in batch.get(verb, ())]
        parts = [*(({verb: [item]}, []) for verb, item in items), *(({}, [one]) for one in wanted)]
        if len(parts) == 1:
            logger.error("the ledger refused an item", exc_info=error)
            return [(item, error) for _, item in items], []
        if items and wanted:  # the items together, in the hope that a claim was at fault
            parts = [(batch, []), *(({}, [one]) for one in wanted)]
        rounds = [self._round(*part) for part in parts]
        return (
            [pair for outcome, _ in rounds for pair in outcome],
            [claim for _, claimed in rounds for claim in claimed],
        )

    def _recover(self) -> None:
        """After a rollback: forget what was only read in it, and a connection that broke."""
        self._on_rollback()
        connection.close_if_unusable_or_obsolete()

    def _fail(self, batch: Batch, error: Exception) -> None:
        for items in batch.values():
            for item in items:
                _settle(item.future, error)


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # whoever asked is gone; the commit stands
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _disconnect() -> None:
    connection.close()  # this thread's own: looked up here, not where the call was made
