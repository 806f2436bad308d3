"""Listening to Discord: its frames in order, and what was missed.

discord.py connects, beats, resumes and reconnects by itself; nothing here
interferes with that. Every frame reaches `Listening.frame` before the library
parses it, so that not even an event that breaks its parsing is lost.

A new session (READY: one that could not be resumed) has missed something. Then
the history of every chat is read from the cursor on, before newer messages are
handed over; the cursor moves when all of it is kept. Discord does not tell a
bot which direct chats it has: those are known from `inlet.chats()`, so the very
first message of a person who writes while nothing listens is seen only when
the session can be resumed, or when that person writes again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson

from adapters._discord_client import Place, place_of
from adapters._discord_event import (
    Json,
    Me,
    external_id,
    id_of,
    objects_of,
    read_event,
    snowflake_at,
    str_of,
)
from adapters._discord_rest import Rest
from adapters._text import clean
from adapters.base import (
    Inbound,
    Inlet,
    Refused,
    Rejected,
    SendError,
    Transient,
    Unreadable,
    Unsupported,
)

OVERLAP = 60_000 << 22  # a minute of ids: messages of two chats may come in another order
GUILDS_SECONDS = 10.0  # how long after READY the guilds are waited for
PAGE = 100  # messages; Discord's own limit
READERS = 5
DRAIN_SECONDS = 5.0
MAX_EDITS = 1000
MAX_PAYLOAD_CHARS = 64 * 1024
CHATS_OF_A_GUILD = {0, 2, 5, 10, 11, 12, 13}  # channel types that hold messages
DIRECT = 1  # type of a direct chat's channel

_SPOKEN = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_REACTION_ADD", "INTERACTION_CREATE")
_STRUCTURE = ("READY", "GUILD_CREATE", "GUILD_DELETE")
_DISPATCH, _HEARTBEAT_ACK = 0, 11
_log = logging.getLogger("adapters.discord")

Event = tuple[str, Any, int]
"""Its kind, its data, its number in the session."""


class Listening:
    """One client's life. `frame` takes what comes, `consume` hands it over in order."""

    def __init__(self, rest: Rest, me: Me, inlet: Inlet, direct_chats: dict[str, None]) -> None:
        self._rest, self._me, self._inlet = rest, me, inlet
        self._direct = direct_chats
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._waiting: list[Event] = []
        self._awaited: set[str] | None = set()  # guilds; None once all was caught up with
        self._deadline = float("inf")  # nothing was missed before READY
        self._channels: dict[str, tuple[str, int]] = {}  # id: (guild, last message)
        self._place = Place()
        self._fresh = Place()  # what the place becomes when all that was missed is kept
        self._edits: OrderedDict[str, str] = OrderedDict()
        self._acknowledgements: set[asyncio.Task[None]] = set()
        self.connected = asyncio.Event()

    @property
    def session(self) -> str:
        """The gateway's session; empty before there is one."""
        return self._place.session

    def go_on(self, place: Place) -> None:
        """A session is resumed: what comes follows directly on what is kept."""
        self._place = place
        self._me.roles.update(place.roles)
        self._awaited = None

    # --- what comes ---------------------------------------------------------

    def frame(self, text: str) -> None:
        """A frame of the gateway, before discord.py reads it."""
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:  # lone surrogates pass only the slower parser
            try:
                frame = json.loads(text)
            except (ValueError, RecursionError):
                return
        if not isinstance(frame, dict):
            return
        op, kind, data = frame.get("op"), frame.get("t"), frame.get("d")
        if op in (_DISPATCH, _HEARTBEAT_ACK):
            self._inlet.alive()
        if kind in ("READY", "RESUMED"):
            self.connected.set()
        if op == _DISPATCH and kind in (*_SPOKEN, *_STRUCTURE):
            sequence = frame.get("s")
            self._queue.put_nowait((kind, data, sequence if type(sequence) is int else 0))
            if kind == "INTERACTION_CREATE" and isinstance(data, dict):
                self._acknowledge(data)

    def lost(self) -> None:
        """The connection is gone; the library takes care of it."""
        if self.connected.is_set():
            self._inlet.failing("the connection to Discord was lost; reconnecting")

    def _acknowledge(self, data: Json) -> None:
        """Within three seconds, or the person reads that the interaction failed."""
        if data.get("type") == 3:
            task = asyncio.create_task(self._defer(data))
            self._acknowledgements.add(task)
            task.add_done_callback(self._acknowledgements.discard)

    async def _defer(self, data: Json) -> None:
        try:
            await self._rest.call(
                "POST",
                "/interactions/{interaction_id}/{token}/callback",
                body={"type": 6},
                interaction_id=id_of(data, "id"),
                token=str_of(data, "token"),
            )
        except (SendError, Unreadable) as failure:
            _log.info("a button's press was not acknowledged: %s", type(failure).__name__)

    # --- handing over -------------------------------------------------------

    async def consume(self) -> None:
        """Runs until cancelled. Raises what `inlet.accept` raises, and `SendError`s."""
        while True:
            taken = await self._take()
            for kind, data, sequence in taken:
                if kind in _STRUCTURE:
                    await self._hand_over()
                    self._learn(kind, data, sequence)
                else:
                    self._waiting.append((kind, data, sequence))
            if self._awaited is not None and self._is_complete():
                await self._catch_up()
                self._awaited = None
            await self._hand_over()
            for _ in taken:
                self._queue.task_done()

    async def finish(self, consuming: asyncio.Task[None]) -> None:
        """Let `consume` hand over what has come, for a bounded time."""
        rest = asyncio.create_task(self._queue.join())
        await asyncio.wait(
            {consuming, rest}, timeout=DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        rest.cancel()

    async def close(self) -> None:
        """End what is still under way."""
        for task in self._acknowledgements:
            task.cancel()
        await asyncio.gather(*self._acknowledgements, return_exceptions=True)

    async def _take(self) -> list[Event]:
        """What is there; nothing when the guilds were waited for long enough."""
        left = self._deadline - time.monotonic()
        try:
            async with asyncio.timeout(max(left, 0.0) if self._deadline < float("inf") else None):
                taken = [await self._queue.get()]
        except TimeoutError:
            return []
        while len(taken) < PAGE and not self._queue.empty():
            taken.append(self._queue.get_nowait())
        return taken

    async def _hand_over(self) -> None:
        """Keep what waits, unless something older must come first."""
        if self._awaited is not None or not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for kind, data, sequence in waiting:
            self._place.sequence = max(self._place.sequence, sequence)
            if kind == "MESSAGE_CREATE":
                self._place.after = max(self._place.after, _number(data))
                self._remember(data)
        arrivals = self._read([(kind, data) for kind, data, _ in waiting])
        await self._inlet.accept(arrivals, cursor=self._place.text())

    def _remember(self, data: Any) -> None:
        if isinstance(data, dict) and "guild_id" not in data:
            chat = data.get("channel_id")
            if isinstance(chat, str) and chat.isdecimal():
                self._direct[chat] = None

    def _read(self, events: Sequence[tuple[str, Any]]) -> list[Inbound | Rejected]:
        """Each event read by itself: one that cannot be read does not block the others."""
        found: list[Inbound | Rejected] = []
        for kind, data in events:
            try:
                if not isinstance(data, dict):
                    raise Unreadable("the event is not an object")
                inbound = read_event(kind, data, self._me)
                if not inbound.is_edit or self._is_new_edit(data):
                    found.append(inbound)
            except Unsupported:
                continue
            except Unreadable as error:
                found.append(Rejected(external_id(kind, data), error.reason, _payload(data)))
        return found

    def _is_new_edit(self, data: Json) -> bool:
        """An update with the time of an edit that is known already only shows a preview."""
        number, edited = data["id"], data["edited_timestamp"]
        known = self._edits.get(number) == edited
        self._edits[number] = edited
        self._edits.move_to_end(number)
        if len(self._edits) > MAX_EDITS:
            self._edits.popitem(last=False)
        return not known

    # --- guilds -------------------------------------------------------------

    def _learn(self, kind: str, data: Any, sequence: int) -> None:
        try:
            if kind == "READY":
                self._me.id = id_of(data["user"], "id")
                self._fresh = Place(
                    session=str_of(data, "session_id"),
                    sequence=sequence,
                    url=str_of(data, "resume_gateway_url"),
                    roles=self._me.roles,
                )
                self._awaited = {id_of(guild, "id") for guild in objects_of(data, "guilds")}
                self._channels = {}
                self._deadline = time.monotonic() + GUILDS_SECONDS
            elif kind == "GUILD_CREATE":
                self._learn_guild(data)
        except (Unreadable, LookupError, TypeError, AttributeError) as failure:
            _log.warning("%s was not understood: %s", kind, type(failure).__name__)
        if kind != "READY" and self._awaited and isinstance(data, dict):
            self._awaited.discard(str(data.get("id")))

    def _learn_guild(self, guild: Json) -> None:
        number = id_of(guild, "id")
        for role in objects_of(guild, "roles"):
            if (role.get("tags") or {}).get("bot_id") == self._me.id:
                self._me.roles[number] = id_of(role, "id")
        for key in ("channels", "threads"):
            for channel in objects_of(guild, key):
                if channel.get("type") in CHATS_OF_A_GUILD:
                    last = _number({"id": channel.get("last_message_id")})
                    self._channels[id_of(channel, "id")] = (number, last)

    def _is_complete(self) -> bool:
        seen_ready = self._deadline < float("inf")
        return seen_ready and (not self._awaited or time.monotonic() >= self._deadline)

    # --- what was missed ----------------------------------------------------

    async def _catch_up(self) -> None:
        """Keep what came since the cursor; at the very first start there is none."""
        self._deadline = float("inf")
        kept = place_of(await self._inlet.cursor())
        if kept is None:
            after = snowflake_at(time.time())
        else:
            after = max(kept.after, await self._read_histories(max(kept.after - OVERLAP, 0)))
        self._fresh.after = max(self._fresh.after, self._place.after, after)
        self._place = self._fresh
        await self._inlet.accept([], cursor=self._place.text())

    async def _read_histories(self, after: int) -> int:
        """The newest message of all chats that have something newer than `after`."""
        chats = dict.fromkeys([*self._direct, *await self._inlet.chats()])
        slots = asyncio.Semaphore(READERS)
        known = [
            self._history(slots, chat, guild, after)
            for chat, (guild, last) in self._channels.items()
            if last > after
        ]
        unknown = [
            self._direct_history(slots, chat, after)
            for chat in chats
            if chat not in self._channels and chat.isdecimal()
        ]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in (*known, *unknown)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return max((task.result() for task in tasks), default=0)

    async def _direct_history(self, slots: asyncio.Semaphore, chat: str, after: int) -> int:
        try:
            async with slots:
                channel = await self._rest.call("GET", "/channels/{channel_id}", channel_id=chat)
        except Refused:
            return 0  # it is gone
        if not isinstance(channel, dict):
            raise Transient("a channel that is no object")
        if _number({"id": channel.get("last_message_id")}) <= after:
            return 0
        guild = "" if channel.get("type") == DIRECT else str(channel.get("guild_id") or "")
        return await self._history(slots, chat, guild, after)

    async def _history(self, slots: asyncio.Semaphore, chat: str, guild: str, after: int) -> int:
        """All messages of one chat after an id, oldest first, a page at a time."""
        async with slots:
            while True:
                try:
                    page = await self._rest.call(
                        "GET",
                        "/channels/{channel_id}/messages",
                        query={"after": after, "limit": PAGE},
                        channel_id=chat,
                    )
                except Refused:
                    return after  # gone, or not ours to read
                if not isinstance(page, list):
                    raise Transient("a history that is no list")
                page.sort(key=_number)
                await self._inlet.accept(self._read([_from_history(m, guild) for m in page]))
                newest = max((_number(message) for message in page), default=after)
                if len(page) < PAGE or newest <= after:
                    return max(newest, after)
                after = newest


def _from_history(message: Any, guild: str) -> tuple[str, Any]:
    """As the gateway shows it: the history leaves out the guild."""
    if guild and isinstance(message, dict):
        message = {**message, "guild_id": guild}
    return "MESSAGE_CREATE", message


def _number(message: Any) -> int:
    """The id of a message as a number; 0 where it is none."""
    try:
        return int(id_of(message, "id"))
    except (Unreadable, AttributeError):
        return 0


def _payload(data: Any) -> str:
    """As JSON, bounded, without what would let a reader answer an interaction."""
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key != "token"}
    try:
        return clean(json.dumps(data)[:MAX_PAYLOAD_CHARS])
    except (ValueError, RecursionError):
        return "not shown"
