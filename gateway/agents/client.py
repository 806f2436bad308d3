"""Asks agents: one call, its limits and its end, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Protocol

import httpx

from gateway.agents import openai, rpc
from gateway.agents.base import AgentError, Event, Limits, Question, Target
from gateway.agents.http import FOREIGN, refusal, timed_out, translate
from gateway.agents.parse import malformed
from gateway.agents.reader import Batch, Reader
from gateway.agents.watchdog import Expired, Watchdog

PROBE_SECONDS = 3.0
_DRAIN_SECONDS = 1.0
_DRAIN_CHUNKS = 4
_REFUSAL_SECONDS = 2.0
_REFUSAL_BYTES = 8 * 1024
_PIECE_BYTES = 8 * 1024  # parsed at one go, some 0.3 ms: then other sessions have their turn
_EAGER_BYTES = 256 * 1024  # what is longer than any answer meant for a person is read at a
_PACE_SECONDS = 0.005  # walking pace: a flood takes a twentieth of our time, not all of it

logger = logging.getLogger(__name__)


class AgentProtocol(Protocol):
    """What a protocol's module offers."""

    def request(self, target: Target, question: Question) -> httpx.Request:
        """The call. Raises one of `FOREIGN` where it cannot be made."""

    def health(self, target: Target) -> httpx.Request:
        """The question whether the agent is up."""

    def reader(self, content_type: str) -> Reader:
        """What reads an answer of this type. Raises `AgentError` malformed."""


PROTOCOLS: dict[str, AgentProtocol] = {"rpc": rpc, "openai": openai}


class AgentClient:
    """Asks any agent over one transport. Implements `base.Agents`."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, limits: Limits, *, doubts: bool = True
    ) -> None:
        """`doubts`: an agent that answers 5xx is asked for its health at once; where nothing
        or a 5xx comes back too, it is not there: the error is unreachable."""
        self._transport = transport
        self._limits = limits
        self._doubts = doubts
        self._drains: dict[asyncio.Task[None], Call] = {}

    async def ask(self, target: Target, question: Question) -> AsyncGenerator[Event, None]:
        """Events in order, `Final` last and exactly once. Raises `AgentError`.

        Closing the generator or cancelling its task closes the connection.
        """
        call = Call(self._transport, self._limits)
        try:
            await self._open(call, target, question)
            while True:
                batch = await call.next()
                for event in batch.events:
                    yield event
                if batch.failure:
                    raise batch.failure
                if batch.final:
                    return
        finally:
            await self._release(call)

    async def probe(self, target: Target) -> str | None:
        """Why the agent is not healthy, or None if it is. Takes at most 3 seconds."""
        reason, status = await self._health(target)
        return None if 200 <= status < 300 else reason

    async def _health(self, target: Target) -> tuple[str, int]:
        """What it says of its health, and the status; 0 where nothing came."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                response = await self._transport.handle_async_request(
                    _protocol(target).health(target)
                )
                with suppress(*FOREIGN):
                    await response.aclose()
        except TimeoutError:
            return f"no answer within {PROBE_SECONDS:g} seconds", 0
        except AgentError as error:
            return error.detail, 0
        except FOREIGN as error:
            return str(translate(error, heard=False)), 0
        return f"HTTP {response.status_code}", response.status_code

    async def aclose(self) -> None:
        """Cut what still drains. The transport stays open: it belongs to the caller."""
        drains = dict(self._drains)
        for task in drains:
            task.cancel()
        await asyncio.gather(*drains, return_exceptions=True)
        for call in drains.values():  # a task cancelled before its first step closes nothing
            await call.close()

    async def _open(self, call: Call, target: Target, question: Question) -> None:
        try:
            await call.open(target, question)
        except AgentError as error:
            if error.code != "status_5xx" or not self._doubts:
                raise
            reason, status = await self._health(target)
            if 0 < status < 500:  # somebody is there, even one that knows no such page
                raise
            raise AgentError(
                "unreachable",
                f"{error.detail}; health: {reason}",
                retryable=True,
                retry_after=error.retry_after,
            ) from None

    async def _release(self, call: Call) -> None:
        if call.drainable:
            task = asyncio.create_task(call.drain())
            self._drains[task] = call
            task.add_done_callback(self._drained)
        else:
            await call.close()

    def _drained(self, task: asyncio.Task[None]) -> None:
        self._drains.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            logger.error("an agent's connection could not be drained", exc_info=error)


class Call:
    """One call of an agent: open it, take batches until one is final or failed, close it.

    The limits count from here. Silence is measured while we wait, so a slow
    consumer costs the agent nothing.
    """

    _chunks: AsyncIterator[bytes]
    _reader: Reader

    def __init__(self, transport: httpx.AsyncBaseTransport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog()
        now = self._loop.time()
        self._total = now + limits.total_seconds
        self._first = min(self._total, now + limits.first_token_seconds)
        self._response: httpx.Response | None = None
        self._size = 0
        self._rest = b""
        self._heard = False
        self.drainable = False

    async def open(self, target: Target, question: Question) -> None:
        """Send the question and wait for the answer to begin. Raises `AgentError`."""
        protocol = _protocol(target)
        seconds = self._limits.connect_seconds
        try:
            request = protocol.request(target, question)
            request.extensions["timeout"] = {"connect": seconds, "pool": seconds}
            with self._watchdog.until(self._first):
                self._response = await self._transport.handle_async_request(request)
        except Expired:
            raise self._late() from None
        except FOREIGN as error:
            raise translate(error, heard=False) from error
        self._chunks = aiter(self._stream())
        if not self._response.is_success:
            raise refusal(self._response, await self._beginning())
        self._reader = protocol.reader(_content_type(self._response))

    async def next(self) -> Batch:
        """The events of the next piece that brings any."""
        while True:
            chunk = await self._piece()
            if isinstance(chunk, AgentError):
                return self._reader.end(chunk)
            if chunk is None:
                return self._reader.end()
            batch = self._reader.feed(chunk)
            if batch.events or batch.failure:
                self._heard = True
                self.drainable = batch.final
                return batch

    async def close(self) -> None:
        """Close the connection, unless the answer was read to its end: then it is used again."""
        self._watchdog.close()
        if self._response is None:
            return
        with suppress(*FOREIGN):  # whatever closing meets, the connection is gone
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()
            await self._response.aclose()

    async def drain(self) -> None:
        """Read what little follows `final`, so that the connection can be used again."""
        self._watchdog.close()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                for _ in range(_DRAIN_CHUNKS):
                    await anext(self._chunks)
        except StopAsyncIteration:
            pass
        except FOREIGN:
            logger.debug("an agent held its connection after `final`; it is closed")
        finally:
            await self.close()

    async def _piece(self) -> bytes | AgentError | None:
        """The next chunk, or part of it where it is large. Otherwise like `_read`."""
        if self._size > _EAGER_BYTES:
            await asyncio.sleep(_PACE_SECONDS)
        elif self._rest:
            await asyncio.sleep(0)
        chunk: bytes | AgentError | None = self._rest or await self._read()
        if isinstance(chunk, bytes):
            chunk, self._rest = chunk[:_PIECE_BYTES], chunk[_PIECE_BYTES:]
        return chunk

    async def _read(self) -> bytes | AgentError | None:
        """The next chunk, None at a clean end, or why there is none."""
        try:
            with self._watchdog.until(self._deadline()):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return None
        except Expired:
            return self._late()
        except FOREIGN as error:
            return translate(error, heard=self._heard)
        self._size += len(chunk)
        if self._size > self._limits.max_bytes:
            return AgentError("too_large", f"more than {self._limits.max_bytes} bytes")
        return chunk

    def _stream(self) -> AsyncIterator[bytes]:
        assert self._response is not None
        assert isinstance(self._response.stream, httpx.AsyncByteStream)
        return aiter(self._response.stream)

    def _deadline(self) -> float:
        if not self._heard:
            return self._first
        return min(self._total, self._loop.time() + self._limits.between_tokens_seconds)

    def _late(self) -> AgentError:
        if self._loop.time() >= self._total:
            return AgentError("timeout_total", "still talking at the total limit")
        return timed_out(heard=self._heard)

    async def _beginning(self) -> bytes:
        """The first bytes of a refusal's body; it may be late, and then it is nothing."""
        body = bytearray()
        with suppress(StopAsyncIteration, Expired, *FOREIGN):
            deadline = min(self._first, self._loop.time() + _REFUSAL_SECONDS)
            while len(body) < _REFUSAL_BYTES:
                with self._watchdog.until(deadline):
                    body += await anext(self._chunks)
        return bytes(body)


def _protocol(target: Target) -> AgentProtocol:
    try:
        return PROTOCOLS[target.protocol]
    except KeyError:
        raise AgentError("unreachable", f"no such protocol: {target.protocol!r}") from None


def _content_type(response: httpx.Response) -> str:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise malformed(f"content encoding {encoding!r} was not asked for")
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()
