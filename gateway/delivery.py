"""The sender: hands claimed parts to their platforms and decides what an error means.

Certain non-sends are tried again. What may have been sent is first settled
where the platform can be asked, plainly repeated where the platform drops
repeats, and only then repeated with the mark, or held for an operator.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from adapters._text import clean
from adapters.base import (
    Adapter,
    ChannelDown,
    Editor,
    File,
    Outbound,
    RateLimited,
    Receipt,
    Refused,
    SendError,
    Settler,
    Transient,
    Unformatted,
    Unsure,
)
from gateway.ledger import Ledger
from gateway.ledger.deliveries import MAX_TRACE, RETRY
from gateway.ledger.records import ClaimedDelivery, FinishedDelivery
from gateway.points import reached
from gateway.ratelimit import RateLimiter
from gateway.turns import backoff, persist
from sessions_app import clock

logger = logging.getLogger(__name__)

MAX_SENDS = 200
"""Sends under way at once on one channel: a platform that hangs holds up no other."""

MAX_ALL = 1000
"""The same on all of them."""

SEND_SECONDS = 60.0
"""After this long without an answer a send is unsure."""

SLOWEST_UPLOAD = 64 * 1024
"""Bytes a second: a file has this much longer."""

MAX_UNSURE_TRIES = 5
"""A part that may have been sent this often is held for an operator."""

SETTLING = "settling"
"""What the wait for a platform's own word is called in a trace."""

ARRIVED = ("sent", "delivered", "read")
"""Statuses by which a part has arrived."""

CERTAIN = ("transient", "unformatted", "edit_refused")
"""Results of counted tries that certainly sent nothing."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What is done with sends that may have arrived."""

    unsure: str = "resend"
    mark: str = ""
    retry_seconds: float = 1.0


Files = Callable[[Mapping[str, Any]], File]
"""A file's entry in a part's `extra` -> the file. Raises `LookupError` where it is gone."""


class Sender:
    """Sends claimed parts, one task each; the ledger sees to it that lanes stay in order."""

    def __init__(
        self,
        ledger: Ledger,
        limiter: RateLimiter,
        adapter: Callable[[str], Adapter],
        on_down: Callable[[str, str], None],
        on_sent: Callable[[str, str], None],
        files: Files,
        settings: SenderSettings,
    ) -> None:
        """`on_sent` hears (turn, receipt) of each first part in which an answer grows."""
        self._ledger, self._limiter = ledger, limiter
        self._adapter, self._on_down, self._on_sent = adapter, on_down, on_sent
        self._files = files
        self._settings = settings
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._under_way: Counter[str] = Counter()
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None

    def wanted(self) -> int:
        """How many more parts may be sent now."""
        return 0 if self._stopping else MAX_ALL - len(self._tasks)

    def room(self, channel: str) -> int:
        """How many more of them on this channel."""
        return MAX_SENDS - self._under_way[channel]

    def take(self, claimed: list[ClaimedDelivery]) -> None:
        """Send these."""
        for delivery in claimed:
            task = asyncio.create_task(self._run(delivery), name=delivery.outbound.key)
            self._tasks[delivery.id] = task
            self._under_way[delivery.channel] += 1
            task.add_done_callback(partial(self._forget, delivery))

    def sending(self) -> list[int]:
        """Ids of the deliveries under way now."""
        return list(self._tasks)

    def schedule(self) -> None:
        """Come back when the next permit is due. Called now and then, and after each send."""
        wait = self._limiter.next_permit()
        if wait is None or self._stopping:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + wait + 0.005
        if self._timer and not self._timer.cancelled():
            if self._timer.when() <= due:
                return
            self._timer.cancel()  # something may go sooner than what was waited for
        self._timer = loop.call_at(due, self._again)

    async def drain(self, seconds: float) -> None:
        """Start nothing more; wait for the sends under way."""
        self._stopping = True
        if self._timer:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)

    def _forget(self, delivery: ClaimedDelivery, task: asyncio.Task[None]) -> None:
        if self._tasks.get(delivery.id) is task:  # its next try may be under way already
            del self._tasks[delivery.id]
        self._under_way[delivery.channel] -= 1
        if self.wanted() == 1 or self.room(delivery.channel) == 1:
            self._ledger.poke()  # there was no room: others may wait for this place

    def _again(self) -> None:
        self._timer = None
        self._ledger.poke()
        self.schedule()  # others may wait for longer than what was waited for

    async def _run(self, delivery: ClaimedDelivery) -> None:
        try:
            finished = await self._deliver(delivery)
        except SendError as error:
            finished = self._judge(delivery, error)
        except Exception as error:  # worker edge: an adapter's fault must not stop the lane
            logger.exception("delivery %s failed on our side", delivery.outbound.key)
            finished = self._judge(delivery, Unsure(type(error).__name__))
        try:
            grows = await persist(self._ledger, "finish_deliveries", finished)
        except Exception as error:  # worker edge: else the lane waits for this part for ever
            logger.exception("the end of delivery %s cannot be written", delivery.outbound.key)
            receipt, detail = clean(finished.receipt or ""), type(error).__name__
            bare = replace(finished, receipt=receipt, moved_to=None, error_detail=detail)
            grows = await persist(self._ledger, "finish_deliveries", bare)
        if grows and finished.receipt:
            self._on_sent(grows, finished.receipt)
        self.schedule()

    async def _deliver(self, delivery: ClaimedDelivery) -> FinishedDelivery:
        adapter = self._adapter(delivery.channel)
        if delivery.turn and delivery.receipt and isinstance(adapter, Editor):
            return await self._edit(delivery, adapter)
        outbound = self._outbound(delivery)
        if delivery.repeated:
            settled = await self._settle(delivery, adapter)
            if isinstance(settled, FinishedDelivery):
                return settled
            outbound = replace(outbound, text=settled.text)
        reached("send:before")
        async with _in_time(outbound):
            receipt = await adapter.send(outbound)
        reached("send:after")
        if delivery.turn and delivery.repeated:
            return _not_yet(delivery, receipt, marked=outbound.text != delivery.outbound.text)
        return _sent(delivery, receipt)

    async def _edit(self, delivery: ClaimedDelivery, editor: Editor) -> FinishedDelivery:
        """The message is there already: it gets the text that it has now. May be done twice."""
        outbound = self._marked(delivery) if delivery.repeated else delivery.outbound
        reached("send:before")
        try:
            async with _in_time(outbound):
                await editor.edit(outbound, delivery.receipt)
        except Unsure as error:
            raise Transient(error.detail) from None
        except Refused as error:  # it is gone, or too old: the answer comes as a message of its own
            return FinishedDelivery(
                delivery, "queued", receipt="", error_code="edit_refused", error_detail=error.detail
            )
        reached("send:after")
        return replace(_sent(delivery, Receipt(delivery.receipt)), moved_to=None)

    def _outbound(self, delivery: ClaimedDelivery) -> Outbound:
        if (entry := delivery.extra.get("file")) is None:
            return delivery.outbound
        try:
            return replace(delivery.outbound, file=self._files(entry))
        except LookupError as error:
            raise Refused(str(error)) from None

    async def _settle(
        self, delivery: ClaimedDelivery, adapter: Adapter
    ) -> FinishedDelivery | Outbound:
        """What to do with a part that may have arrived: its end, or what to send now."""
        if delivery.status in ARRIVED:
            return _sent(delivery, Receipt(delivery.receipt))
        if delivery.status == "failed":
            raise Refused("the platform says that it failed")
        if isinstance(adapter, Settler):
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    receipt = await adapter.settle(delivery.outbound)
            except (Unsure, TimeoutError) as error:
                logger.info("delivery %s cannot be settled: %s", delivery.outbound.key, error)
            else:
                return _sent(delivery, receipt) if receipt else delivery.outbound
        age = (clock.now() - delivery.created_at).total_seconds()
        if age < adapter.capabilities.dedupe_seconds:
            return delivery.outbound
        wait = adapter.capabilities.settle_seconds
        if wait and not (delivery.trace and delivery.trace[-1]["result"] == SETTLING):
            settling = FinishedDelivery(
                delivery, "queued", repeated=True, counts=False, error_code=SETTLING
            )
            return self._later(settling, wait)
        if self._is_held(delivery):
            return FinishedDelivery(
                delivery, "unsure", repeated=True, counts=False, error_code="unsure"
            )
        return self._marked(delivery)

    def _marked(self, delivery: ClaimedDelivery) -> Outbound:
        """The part as it is sent when it may be there already."""
        mark = self._settings.mark
        text = f"{delivery.outbound.text}\n{mark}".lstrip() if mark else delivery.outbound.text
        return replace(delivery.outbound, text=text)

    def _is_held(self, delivery: ClaimedDelivery) -> bool:
        """Whether an operator has to say if it is sent again; a retry is that word, for one try."""
        tries = _may_have_arrived(delivery)
        allowed = tries == 0 and any(entry["result"] == RETRY for entry in delivery.trace)
        return tries >= MAX_UNSURE_TRIES or (self._settings.unsure == "hold" and not allowed)

    def _judge(self, delivery: ClaimedDelivery, error: SendError) -> FinishedDelivery:
        """What an error means for the part, by its type alone."""
        logger.warning(
            "delivery %s on %s, try %d: %s: %s",
            delivery.outbound.key,
            delivery.channel,
            delivery.attempt,
            type(error).__name__,
            error.detail,
        )
        ended = FinishedDelivery(
            delivery,
            "queued",
            repeated=delivery.repeated,
            error_code=type(error).__name__.lower(),
            error_detail=error.detail,
        )
        match error:
            case Refused():
                return replace(ended, state="failed")
            case Unformatted():
                state = "failed" if delivery.outbound.plain else "queued"
                return replace(ended, state=state, plain=True)
            case RateLimited():
                self._hold(delivery, error)
                return self._later(replace(ended, counts=False), error.retry_after)
            case ChannelDown():
                self._on_down(delivery.channel, error.detail)
                return replace(ended, counts=False)
            case Transient():
                return self._later(ended, self._pause(delivery))
            case _:
                return self._later(replace(ended, repeated=True), self._pause(delivery))

    def _hold(self, delivery: ClaimedDelivery, error: RateLimited) -> None:
        """This lane waits, or the whole bot; what was asked for last stays at the head."""
        if error.scope == "bot":
            self._limiter.hold_bot(delivery.channel, error.retry_after)
        self._limiter.hold(delivery.channel, delivery.outbound.chat_id, error.retry_after)

    def _pause(self, delivery: ClaimedDelivery) -> float:
        return backoff(delivery.attempt, self._settings.retry_seconds)

    def _later(self, finished: FinishedDelivery, seconds: float) -> FinishedDelivery:
        asyncio.get_running_loop().call_later(seconds + 0.05, self._ledger.poke)
        return replace(finished, not_before=clock.now() + timedelta(seconds=seconds))


def _may_have_arrived(delivery: ClaimedDelivery) -> int:
    """How many earlier tries may have been sent: the unsure, and those a crash cut off.

    An operator's retry begins the count anew.
    """
    results = [entry["result"] for entry in delivery.trace]
    if RETRY in results:
        results = results[len(results) - results[::-1].index(RETRY) :]
    if len(delivery.trace) < MAX_TRACE:
        return delivery.attempt - 1 - sum(result in CERTAIN for result in results)
    return results.count("unsure")


@asynccontextmanager
async def _in_time(outbound: Outbound) -> AsyncIterator[None]:
    """A call of the platform that gets no answer in time may have done its work."""
    size = outbound.file.size if outbound.file else 0
    seconds = SEND_SECONDS + size / SLOWEST_UPLOAD
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unsure(f"no answer within {seconds:.0f} s") from error


def _not_yet(delivery: ClaimedDelivery, receipt: Receipt, *, marked: bool) -> FinishedDelivery:
    """The platform may have kept an earlier text of this part: it is edited once more."""
    return replace(_sent(delivery, receipt), state="queued", counts=False, repeated=marked)


def _sent(delivery: ClaimedDelivery, receipt: Receipt) -> FinishedDelivery:
    return FinishedDelivery(
        delivery,
        "sent",
        receipt=receipt.message_id,
        moved_to=receipt.chat_id,
        repeated=delivery.repeated,
    )
