"""The agent under test: asked through the gateway's own client, or below it, byte by byte."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import httpx

from gateway.agents.base import AgentError, Final, Limits, Question, Target, Token
from gateway.agents.client import PROTOCOLS, AgentClient, AgentProtocol
from gateway.agents.http import FOREIGN, translate
from gateway.agents.rpc import encode, post
from gateway.conformance.base import Failed

HINTS = {
    "unreachable": "Is it running, and is this its address?",
    "timeout_first": "Begin to answer within the time limit; a stream may say a word early.",
    "timeout_between": "Send a token, a comment or a blank line while you work.",
    "timeout_total": "End the answer within the time limit.",
    "status_4xx": "A question made as docs/agent-protocol.md says must not be refused.",
    "status_5xx": "Its own log should say what broke.",
    "interrupted": "End a stream with `final`, and only then close the connection.",
    "malformed": "See the four forms of an answer in docs/agent-protocol.md.",
    "too_large": "Keep answers below OPENCLAW_AGENT_MAX_BYTES.",
    "reported": "It says itself that it cannot answer.",
}
"""What to do about each `AgentError.code`."""

AFTER_END_SECONDS = 2.0
"""How long a response may stay open after its last event."""

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer that came: its end, its tokens joined, and when the first event was there."""

    final: Final
    tokens: str
    first_seconds: float
    seconds: float


@dataclass(slots=True)
class Exchange:
    """A response as bytes. `ended`: it came to a clean end; `cut` says why it did not."""

    status: int
    headers: httpx.Headers
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    cut: str = ""

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        kind: str = self.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()


class Subject:
    """One agent under test. `patience` is how many seconds one answer may take."""

    def __init__(
        self, target: Target, transport: httpx.AsyncBaseTransport, patience: float
    ) -> None:
        self.target = target
        self.patience = patience
        self._transport = transport
        self._client = AgentClient(
            transport,
            Limits(
                connect_seconds=min(5.0, patience),
                first_token_seconds=patience,
                between_tokens_seconds=patience,
                total_seconds=patience * 2,
                max_bytes=MAX_BYTES,
            ),
            doubts=False,
        )

    @property
    def protocol(self) -> AgentProtocol:
        """The gateway's module for what it speaks."""
        return PROTOCOLS[self.target.protocol]

    @property
    def is_rpc(self) -> bool:
        """Whether it speaks our own protocol."""
        return self.target.protocol == "rpc"

    async def probe(self) -> str | None:
        """Why it is not healthy, or None."""
        return await self._client.probe(self.target)

    async def ask(self, question: Question, *, stream: bool = True) -> Heard:
        """The answer to a question. Raises `Failed`."""
        started, first, texts = time.monotonic(), 0.0, []
        final: Final | None = None
        try:
            async with aclosing(self._client.ask(self._target(stream), question)) as events:
                async for event in events:
                    first = first or time.monotonic() - started
                    if isinstance(event, Token):
                        texts.append(event.text)
                    elif isinstance(event, Final):
                        final = event
        except AgentError as error:
            raise failure(error) from None
        assert final is not None, "the client ends an answer with `Final` or an error"
        return Heard(final, "".join(texts), first, time.monotonic() - started)

    def request(self, question: Question, *, stream: bool) -> httpx.Request:
        """The gateway's own call, to be sent by hand."""
        request = self.protocol.request(self._target(stream), question)
        request.extensions["timeout"] = {"connect": min(5.0, self.patience)}
        return request

    def altered(self, question: Question, body: bytes, *, stream: bool = False) -> httpx.Request:
        """The same call with another body."""
        request = self.request(question, stream=stream)
        kept = ("accept", "authorization", "idempotency-key")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        return post(request.url, body, headers)

    async def exchange(
        self,
        request: httpx.Request,
        complete: Callable[[bytes], bool] | None = None,
        patience: float | None = None,
    ) -> Exchange:
        """The response, byte by byte. Once `complete` says so, its end must be near.

        Raises `Failed` where there is no response at all.
        """
        async with self.opened(request, patience) as (response, chunks):
            got = Exchange(response.status_code, response.headers)
            await self._read(got, chunks, complete)
        return got

    @asynccontextmanager
    async def opened(
        self, request: httpx.Request, patience: float | None = None
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
        """The response, not read yet; its connection is closed at the end."""
        seconds = patience or self.patience
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            raise Failed(f"no answer in {seconds:g} s", HINTS["timeout_first"]) from None
        except FOREIGN as error:
            raise failure(translate(error, heard=False)) from None
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            yield response, aiter(response.stream)
        finally:
            with suppress(*FOREIGN):
                await response.aclose()

    async def aclose(self) -> None:
        """Let go of what still drains."""
        await self._client.aclose()

    def _target(self, stream: bool) -> Target:
        return replace(self.target, stream=stream)

    async def _read(
        self,
        got: Exchange,
        chunks: AsyncIterator[bytes],
        complete: Callable[[bytes], bool] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        seconds, whole = self.patience, False
        try:
            async with asyncio.timeout(seconds) as limit:
                async for chunk in chunks:
                    got.body += chunk
                    if len(got.body) > MAX_BYTES:
                        got.cut = f"more than {MAX_BYTES} bytes"
                        return
                    if complete and not whole and complete(bytes(got.body)):
                        whole = True
                        limit.reschedule(loop.time() + min(AFTER_END_SECONDS, seconds))
            got.ended = True
        except TimeoutError:
            got.cut = "the response did not end"
        except FOREIGN as error:
            got.cut = translate(error, heard=True).detail


class WithHeaders(httpx.AsyncBaseTransport):
    """A transport that adds headers to every request."""

    def __init__(self, inner: httpx.AsyncBaseTransport, headers: Mapping[str, str]) -> None:
        self._inner = inner
        self._headers = dict(headers)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The same request, with them."""
        request.headers.update(self._headers)
        return await self._inner.handle_async_request(request)


def question(*texts: str, session: str = "", turn: str = "", person: str = "u1") -> Question:
    """A question of somebody who wrote `texts`, one message each."""
    messages: list[dict[str, object]] = [{"role": "user", "content": text} for text in texts]
    return ask_with(messages, session, turn, person, waiting=len(messages))


def ask_with(
    messages: list[dict[str, object]],
    session: str = "",
    turn: str = "",
    person: str = "u1",
    waiting: int = 1,
) -> Question:
    """A question with this history, of which the last `waiting` messages are to be answered."""
    return Question(
        turn=turn or f"turn_{mark()}",
        session=session or f"sess_{mark()}",
        channel="conformance",
        user_id=person,
        chat_id=person,
        history=[encode(message) for message in messages],
        waiting=waiting,
    )


def mark() -> str:
    """A word that nobody says by accident."""
    return f"kiwi{secrets.token_hex(4)}"


def failure(error: AgentError) -> Failed:
    """What the client could not make an answer of."""
    return Failed(f"{error.code}: {error.detail}", HINTS[error.code])


def shown(text: str, length: int = 60) -> str:
    """A piece of an answer, in one line of a table."""
    line = " ".join(text.split())
    return f"“{line if len(line) <= length else line[: length - 1] + '…'}”"
