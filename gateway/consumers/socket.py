"""What both sockets share: let in, read, push, look again whether one may stay.

Three tasks per connection, ended together: reading what the client says, pushing
what is new, and guarding the permission. A subclass says what each means. Close
codes: 4403 not allowed (any more), 4429 too much at once, 4503 try again soon.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import orjson
from channels.db import database_sync_to_async
from django.db import Error

logger = logging.getLogger(__name__)

FORBIDDEN, TOO_MUCH, UNAVAILABLE = 4403, 4429, 4503

RECHECK_SECONDS = 2.0
"""How often a connection's permission is looked up again."""

PIECE = 32_000
"""Code points of text in one frame; a long snapshot goes out in several."""

Frame = dict[str, Any]
T = TypeVar("T")


class Closed(Exception):
    """The connection ends; `code` is None where the client has gone already."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Bucket:
    """A token bucket: `burst` at once, refilled at `per_second`."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._left, self._at = float(burst), time.monotonic()

    def take(self) -> bool:
        """Whether there was one left."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Socket(ABC):
    """One websocket connection."""

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope
        self.cookies: dict[str, str] = scope["cookies"]
        self._receive, self._send = receive, send
        self._frames_in = Bucket(per_second=20, burst=100)

    @classmethod
    async def serve(cls: type[Self], scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        await cls(scope, receive, send)._run()

    @abstractmethod
    async def admit(self) -> bool:
        """Whether this client may connect. Refused ones get HTTP 403."""

    @abstractmethod
    async def hear(self, frame: Frame) -> None:
        """The client said something: any JSON object."""

    @abstractmethod
    async def push(self) -> None:
        """Send what is new, for as long as the connection lasts."""

    @abstractmethod
    async def check(self) -> bool:
        """Whether this client may stay."""

    @abstractmethod
    def gone(self) -> None:
        """The connection was admitted once, and is over."""

    async def say(self, frame: Frame) -> None:
        """Send one frame; returns when the client has room for the next."""
        await self._send({"type": "websocket.send", "text": encode(frame)})

    async def say_all(self, frames: list[Frame]) -> None:
        """Send several frames as one list."""
        await self._send({"type": "websocket.send", "text": encode(frames)})

    async def pause(self) -> None:
        """Between two looks at the permission. A subclass may come back sooner."""
        await asyncio.sleep(RECHECK_SECONDS)

    async def _run(self) -> None:
        await self._receive()  # websocket.connect
        try:
            if not await self.admit():
                raise Closed(FORBIDDEN)
        except Closed as closed:
            await self._send({"type": "websocket.close", "code": closed.code})
            return
        try:
            await self._send({"type": "websocket.accept"})
            await self._live()
        finally:
            self.gone()

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self.push())
                tasks.create_task(self._guard())
        except* Closed as closed:
            code = next(iter(_leaves(closed)))
            if code is not None:
                await self._send({"type": "websocket.close", "code": code})

    async def _read(self) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                raise Closed(None)
            if not self._frames_in.take():
                raise Closed(TOO_MUCH)
            frame = decode(event.get("text"))
            if frame is None:
                await self.say({"type": "error", "reason": "not a JSON object"})
            else:
                await self.hear(frame)

    async def _guard(self) -> None:
        while True:
            await self.pause()
            if not await self.check():
                raise Closed(FORBIDDEN)


async def query(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function that reads the database. Closes with 4503 if it cannot be read."""
    try:
        found: T = await database_sync_to_async(function)(*arguments)
    except Error as error:
        logger.error("the database cannot be read: %s", error)
        raise Closed(UNAVAILABLE) from error
    return found


def encode(frame: Frame | list[Frame]) -> str:
    """JSON. An agent may stream half a surrogate pair, which UTF-8 cannot carry."""
    try:
        return orjson.dumps(frame).decode()
    except TypeError:
        # Each half becomes one "?", so that offsets stay true.
        clean = json.dumps(frame, ensure_ascii=False).encode("utf-8", "replace")
        return clean.decode()


def decode(text: str | None) -> Frame | None:
    """The JSON object in `text`, or None if it is none."""
    try:
        frame = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None


def pieces(frame: Frame) -> Iterator[Frame]:
    """The frame, with a long text cut into several; only the last one carries the end."""
    text, offset, state = frame["text"], frame["offset"], frame["state"]
    while len(text) > PIECE:
        yield {**frame, "offset": offset, "text": text[:PIECE], "state": "running", "trace": []}
        text, offset = text[PIECE:], offset + PIECE
    yield {**frame, "offset": offset, "text": text, "state": state}


def _leaves(group: BaseExceptionGroup[Closed]) -> Iterator[int | None]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error.code
