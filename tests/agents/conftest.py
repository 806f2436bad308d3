"""A fake agent on a real socket, and a real client to ask it with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from gateway.agents.base import AgentError, Event, Final, Limits, Question, Target, Token
from gateway.agents.client import AgentClient
from gateway.http import make_transport
from tests.fakes.agent import FakeAgent

LIMITS = Limits(
    connect_seconds=2.0,
    first_token_seconds=5.0,
    between_tokens_seconds=5.0,
    total_seconds=10.0,
    max_bytes=1024 * 1024,
)


def question(*texts: str, session: str = "sess_1", **changes: Any) -> Question:
    """A question of a person who wrote `texts`."""
    history = [orjson.dumps({"role": "user", "content": text}) for text in texts or ("hello",)]
    fields: dict[str, Any] = {
        "turn": "turn_1",
        "session": session,
        "channel": "telegram",
        "user_id": "u1",
        "chat_id": "c1",
        "history": history,
        "waiting": len(changes.get("history", history)),
        "context": {"mood": "good"},
    }
    return Question(**(fields | changes))


@dataclass
class Heard:
    """What came of a call: the events, and the error if it ended with one."""

    events: list[Event] = field(default_factory=list)
    error: AgentError | None = None

    @property
    def text(self) -> str:
        """The tokens, joined."""
        return "".join(event.text for event in self.events if isinstance(event, Token))

    @property
    def final(self) -> Final:
        """The answer, which must be the last event and the only one of its kind."""
        assert self.error is None, self.error
        finals = [event for event in self.events if isinstance(event, Final)]
        assert finals == [self.events[-1]]
        return finals[0]

    @property
    def code(self) -> str:
        """The code of the error."""
        assert self.error is not None, self.events
        return self.error.code


async def hear(client: AgentClient, target: Target, asked: Question | None = None) -> Heard:
    """Ask, and keep all of it."""
    heard = Heard()
    async with aclosing(client.ask(target, asked or question())) as events:
        try:
            async for event in events:
                heard.events.append(event)
        except AgentError as error:
            heard.error = error
    return heard


class Bytes(httpx.AsyncByteStream):
    """An answer's body, in exactly these chunks."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self.chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk

    async def aclose(self) -> None:
        """Remember it."""
        self.closed = True


async def hear_bytes(body: bytes, content_type: str, size: int = 0, protocol: str = "rpc") -> Heard:
    """What the client makes of `body`, cut into chunks of `size` bytes (0: one chunk)."""
    step = size or len(body) or 1
    stream = Bytes([body[start : start + step] for start in range(0, len(body), step)])
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": content_type}, stream=stream)
    )
    client = AgentClient(transport, LIMITS)
    heard = await hear(client, Target("a", "http://127.0.0.1/rpc/message", protocol))
    await client.aclose()
    assert stream.closed
    return heard


@pytest.fixture
async def fake() -> AsyncIterator[FakeAgent]:
    """The agent."""
    async with FakeAgent() as agent:
        yield agent


@pytest.fixture
async def transport() -> AsyncIterator[httpx.AsyncBaseTransport]:
    """The process's transport, as in production."""
    made = make_transport()
    yield made
    await made.aclose()


@pytest.fixture
async def client(transport: httpx.AsyncBaseTransport) -> AsyncIterator[AgentClient]:
    """The client."""
    made = AgentClient(transport, LIMITS)
    yield made
    await made.aclose()


@pytest.fixture
def target(fake: FakeAgent) -> Target:
    """The fake agent, as the agent protocol reaches it."""
    return Target("fake", fake.url)
