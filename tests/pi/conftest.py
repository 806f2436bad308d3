"""Pi in this process on a real socket, a model server beside it, and a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from aiohttp import web

from pi.app import make_runner
from pi.brain import Brain
from pi.config import Config
from pi.gateway import Gateway, Http
from pi.protocol import Ask, Message
from pi.rules import Rules
from pi.toolbox import make_toolbox
from tests.pi.gateway_api import GatewayApi
from tests.pi.model_server import ModelServer

NOON = datetime(2026, 11, 22, 12, 5, tzinfo=UTC)
KEY = "sk-test-not-a-real-key"


async def no_sleep(seconds: float) -> None:
    """In place of the pace."""


def rules() -> Rules:
    return Rules(clock=lambda: NOON, sleep=no_sleep)


def ask(*contents: str, **fields: Any) -> dict[str, Any]:
    """A request with these messages of the person."""
    messages = [{"role": "user", "content": content} for content in contents]
    return {"sessionId": "sess_1", "turnId": "turn_1", "messages": messages, **fields}


def reply(text: str, using: Rules | None = None) -> str:
    """What the rules answer, without a gateway."""

    async def said() -> str:
        used = using or rules()
        question = Ask([Message("user", text)])
        toolbox = make_toolbox(question, Config(), Gateway(question, Http()), used.clock)
        heard = [event async for event in used.answer(text, toolbox)]
        return "".join(event.data["text"] for event in heard if event.name == "token")

    return asyncio.run(said())


def events(body: str) -> list[tuple[str, Any]]:
    """(name, data) of each event of a whole stream."""
    assert body.endswith("\n\n")
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in (block.split("\n") for block in body.strip().split("\n\n"))
    ]


Start = Callable[..., Awaitable[httpx.AsyncClient]]


@asynccontextmanager
async def serving(brain: Brain) -> AsyncIterator[httpx.AsyncClient]:
    runner = make_runner(brain)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts Pi; gives a client for it."""
    async with AsyncExitStack() as stack:

        async def start(config: Config | None = None, using: Rules | None = None) -> Any:
            brain = Brain(config or Config(), using or rules())
            return await stack.enter_async_context(serving(brain))

        yield start


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def api() -> AsyncIterator[GatewayApi]:
    """A gateway's API with two people, Ann and Bob."""
    server = GatewayApi()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def with_model(start: Start, models: ModelServer) -> httpx.AsyncClient:
    """A client of a Pi that uses `models`."""
    return await start(Config(model="fake", base_url=models.url, api_key=KEY))
