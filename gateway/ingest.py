"""The way in: what an adapter read is cleaned, sifted by the mention rule, and kept.

Returning means committed, except with durability `batched` for what platforms
push to us: there the answer comes first and the commit right after. A listener
always waits for the commit: its position must not move before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from adapters._text import clean
from adapters.base import (
    Acknowledger,
    Arriving,
    Cursor,
    Inbound,
    Media,
    MediaSource,
    Quote,
    Rejected,
    SamePerson,
    SendError,
    Status,
)
from gateway.backlog import FLUSH_SECONDS, Backlog
from gateway.ledger import Ledger, Unavailable
from gateway.ledger.records import Arrival, Ingested
from gateway.lines import Line
from gateway.stream import Stream
from gateway.turns import persist
from sessions_app import clock
from sessions_app.sql import moment, parse_moment, run

logger = logging.getLogger(__name__)

RECENT = timedelta(days=30)
MAX_CHATS = 1000
"""How long ago a chat was used, and how many of them, when a listener asks where to look."""

ACKNOWLEDGE_SECONDS = 10.0
"""After this long the platform does without."""

SPARE_SECONDS = 0.02
"""Seconds on top of a turn's pause, so that its time has surely come when we look."""

MAX_ID = 255
"""Characters of an id that a column holds."""

Write = Callable[[Arrival], Awaitable[Ingested]]
"""Hands an arrival to the ledger; returns after the commit."""


class Ingress:
    """Takes arrivals of every channel to the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        stream: Stream,
        answer_first: bool,
        on_cancelled: Callable[[str], object] = lambda turn: None,
    ) -> None:
        """`on_cancelled` hears the ids of turns that a person's command or message took away."""
        self._ledger, self._stream = ledger, stream
        self._answer_first, self._on_cancelled = answer_first, on_cancelled
        self._backlog = Backlog()
        self._telling: set[asyncio.Task[None]] = set()

    async def accept(
        self, line: Line, arrivals: Sequence[Arriving], cursor: str | None = None
    ) -> None:
        """Keep what a listener read. Returns after the commit.

        Raises `Unavailable`; then nothing was kept.
        """
        arrival = sift(line, arrivals, cursor)
        line.heard(len(arrival.inbounds))
        if not arrival.is_empty:
            await self._keep(line, arrival, self._write)

    async def take(self, line: Line, arrivals: Sequence[Arriving]) -> frozenset[str]:
        """Keep what was pushed to us: as `accept`, or with `batched` before the commit.

        Returns the external ids of what was not taken, as far as that is known.
        """
        arrival = sift(line, arrivals, None)
        line.heard(len(arrival.inbounds))
        if arrival.is_empty:
            return frozenset()
        if self._answer_first and self._backlog.has_room():
            characters = sum(len(inbound.text) for inbound in arrival.inbounds)
            self._backlog.add(self._keep(line, arrival, self._persist), characters)
            return frozenset()
        return await self._keep(line, arrival, self._write)

    async def flush(self) -> None:
        """Wait until what was answered first is committed, or the database stays out."""
        await self._backlog.flush()
        if self._telling:
            await asyncio.wait(list(self._telling), timeout=FLUSH_SECONDS)

    async def _keep(self, line: Line, arrival: Arrival, write: Write) -> frozenset[str]:
        """Returns the external ids of what was not taken."""
        try:
            ingested = await write(arrival)
            self._note(line, arrival, ingested)
            self._acknowledge(line, arrival, ingested)
        except Unavailable:
            raise
        except Exception as error:  # worker edge: what cannot be kept must not block what can
            if not arrival.inbounds:
                raise
            fault = error
        else:
            return ingested.refused
        return await self._keep_apart(line, arrival, write, fault)

    async def _keep_apart(
        self, line: Line, arrival: Arrival, write: Write, error: Exception
    ) -> frozenset[str]:
        """Each message by itself, what cannot be written as a row of its own; the cursor last."""
        rest, refused = replace(arrival, inbounds=()), frozenset[str]()
        if len(arrival.inbounds) == 1:
            (item,) = arrival.inbounds
            aside = _readable(Rejected(item.external_id, type(error).__name__, repr(item)))
            logger.warning("%s: set aside %s: %s", line.name, aside.external_id, aside.reason)
            rest = replace(rest, rejected=[*arrival.rejected, aside])
            refused = frozenset([item.external_id])
        else:
            for item in arrival.inbounds:
                refused |= await self._keep(line, arrival.alone(item), write)
        self._note(line, rest, await write(rest))
        return refused

    async def _write(self, arrival: Arrival) -> Ingested:
        kept: Ingested = await self._ledger.do("ingest", arrival)
        return kept

    async def _persist(self, arrival: Arrival) -> Ingested:
        with contextlib.suppress(Unavailable):
            return await self._write(arrival)
        self._backlog.refused()
        try:
            kept: Ingested = await persist(self._ledger, "ingest", arrival)
        finally:
            self._backlog.taken()
        return kept

    def _note(self, line: Line, arrival: Arrival, ingested: Ingested) -> None:
        for remark in arrival.overheard:
            line.remarks.note((remark.external_id, remark.text), None)
        if ingested.denied:
            line.deny(ingested.denied)
        for why in ingested.kept_out:
            line.keep_out(why)
        for turn in ingested.cancelled:
            self._on_cancelled(turn)
        if ingested.pause:
            loop = asyncio.get_running_loop()
            loop.call_later(ingested.pause + SPARE_SECONDS, self._ledger.poke)
        for session, message in ingested.messages:
            self._stream.grew(session, message)

    def _acknowledge(self, line: Line, arrival: Arrival, ingested: Ingested) -> None:
        """Tell the platform that its messages are safe, where it wants to hear that.

        Whose messages are not taken is told nothing: a read mark would show that somebody reads.
        """
        adapter: object = line.adapter
        if isinstance(adapter, Acknowledger):
            for inbound in arrival.inbounds:
                if not inbound.is_edit and inbound.external_id not in ingested.refused:
                    task = asyncio.create_task(_tell(adapter, inbound))
                    self._telling.add(task)
                    task.add_done_callback(self._telling.discard)


async def _tell(adapter: Acknowledger, inbound: Inbound) -> None:
    try:
        async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
            await adapter.acknowledge(inbound)
    except (SendError, TimeoutError) as error:
        logger.debug("%s was not acknowledged: %s", inbound.external_id, type(error).__name__)


def sift(line: Line, arrivals: Sequence[Arriving], cursor: str | None) -> Arrival:
    """What is for us, cleaned of characters that no database takes."""
    inbounds = [
        _cleaned(item)
        for item in arrivals
        if isinstance(item, Inbound) and (item.text.strip() or item.media)
    ]
    inbounds = line.albums.gather(inbounds)
    rejected = [_readable(item) for item in arrivals if isinstance(item, Rejected)]
    for item in rejected:
        logger.warning("%s: set aside %s: %s", line.name, item.external_id, item.reason)
    adapter: object = line.adapter
    return Arrival(
        channel=line.name,
        inbounds=[item for item in inbounds if line.rules.hears(item)],
        overheard=[
            item
            for item in inbounds
            if not line.rules.hears(item)
            and line.rules.overhears(item)
            and item.text.strip()
            and (item.external_id, item.text) not in line.remarks
        ],
        rejected=rejected,
        statuses=[item for item in arrivals if isinstance(item, Status)],
        same_people=[item for item in arrivals if isinstance(item, SamePerson)],
        cursor=cursor,
        group_per_member=line.rules.group_sessions == "member",
        fetches_media=isinstance(adapter, MediaSource),
    )


def _cleaned(inbound: Inbound) -> Inbound:
    return replace(
        inbound,
        text=clean(inbound.text),
        sender_name=clean(inbound.sender_name)[:MAX_ID],
        external_id=clean(inbound.external_id)[:MAX_ID],
        user_id=clean(inbound.user_id)[:MAX_ID],
        chat_id=clean(inbound.chat_id)[:MAX_ID],
        forwarded=clean(inbound.forwarded)[:MAX_ID],
        quote=_clean_quote(inbound.quote),
        aliases=None if (ids := inbound.aliases) is None else [clean(one)[:MAX_ID] for one in ids],
        media=[
            Media(clean(m.kind), clean(m.handle), clean(m.mime), clean(m.name), m.size)
            for m in inbound.media
        ],
    )


def _clean_quote(quote: Quote | None) -> Quote | None:
    return quote and Quote(clean(quote.text), clean(quote.sender_name), clean(quote.external_id))


def _readable(rejected: Rejected) -> Rejected:
    return Rejected(
        clean(rejected.external_id)[:MAX_ID], clean(rejected.reason), clean(rejected.payload)
    )


class Inlet:
    """A listener's door to the core: see `adapters.base.Inlet`."""

    def __init__(self, line: Line, ingress: Ingress, ledger: Ledger) -> None:
        self._line, self._ingress, self._ledger = line, ingress, ledger

    async def cursor(self) -> Cursor | None:
        """The durable position, or None at the very first start."""
        read: Callable[[], Cursor | None] = lambda: _read_cursor(self._line.name)  # noqa: E731
        found: Awaitable[Cursor | None] = self._ledger.call(read, atomic=False)
        return await found

    async def chats(self) -> list[str]:
        """Chats that were used in the last 30 days, newest first."""
        read: Callable[[], list[str]] = lambda: _read_chats(self._line.name)  # noqa: E731
        found: Awaitable[list[str]] = self._ledger.call(read, atomic=False)
        return await found

    async def accept(self, arrivals: Sequence[Arriving], cursor: str | None = None) -> None:
        """Keep arrivals and move the cursor in one commit."""
        await self._ingress.accept(self._line, arrivals, cursor)

    def alive(self) -> None:
        """The inbound side works."""
        self._line.alive()

    def failing(self, detail: str) -> None:
        """The inbound side does not work."""
        self._line.fail(detail)


def _read_chats(channel: str) -> list[str]:
    since = moment(clock.now() - RECENT)
    rows = run(
        "SELECT chat_id FROM sessions_app_session WHERE channel = %s AND last_activity > %s "
        "GROUP BY chat_id ORDER BY MAX(last_activity) DESC LIMIT %s",
        (channel, since, MAX_CHATS),
    )
    return [row[0] for row in rows]


def _read_cursor(channel: str) -> Cursor | None:
    rows = run("SELECT value, saved_at FROM gateway_cursor WHERE channel = %s", (channel,))
    for value, saved in rows:
        saved_at = parse_moment(saved)
        assert saved_at is not None
        return Cursor(value, (clock.now() - saved_at).total_seconds())
    return None
