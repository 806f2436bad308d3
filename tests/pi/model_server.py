"""A server that speaks OpenAI's chat completions, streaming, as a test tells it to.

By hand: `python -m tests.pi.model_server 11434`, then start Pi with
OPENCLAW_LLM_MODEL=fake and OPENCLAW_LLM_BASE_URL=http://127.0.0.1:11434/v1.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class ModelServer:
    """`behaviour` answers each call; `calls` keeps (headers, body) of each."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = say("Hello ", "from ", "the ", "model.")
        self.calls: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.left = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append((dict(request.headers), body))
        try:
            return await self.behaviour(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise


def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **extra,
    }
    return b"data: " + json.dumps(data).encode() + b"\n\n"


USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
END = chunk({}, "stop") + chunk({}, choices=[], usage=USAGE) + b"data: [DONE]\n\n"


async def open_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


def say(*words: str, gate: asyncio.Event | None = None, end: bytes = END) -> Behaviour:
    """Streams `words`; with a gate, only the first until the gate opens."""

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not body.get("stream"):
            return whole("".join(words))
        response = await open_stream(request)
        for number, word in enumerate(words):
            if number == 1 and gate is not None:
                await gate.wait()
            await response.write(chunk({"role": "assistant", "content": word}))
        await response.write(end)
        return response

    return behave


def whole(text: str) -> web.Response:
    """An answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    data = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000}
    data |= {"model": "fake", "choices": [{**choice, "finish_reason": "stop"}], "usage": USAGE}
    return web.json_response(data)


def use(*calls: tuple[str, str], text: str = "") -> Behaviour:
    """Asks for tools: (name, arguments as JSON) each, the arguments in two pieces. `text` first."""

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await open_stream(request)
        if text:
            await response.write(chunk({"role": "assistant", "content": text}))
        for index, (name, arguments) in enumerate(calls):
            half = len(arguments) // 2
            first = {"name": name, "arguments": arguments[:half]}
            call = {"index": index, "id": f"call_{index}", "type": "function", "function": first}
            await response.write(chunk({"role": "assistant", "tool_calls": [call]}))
            rest = {"index": index, "function": {"arguments": arguments[half:]}}
            await response.write(chunk({"tool_calls": [rest]}))
        done = chunk({}, "tool_calls") + chunk({}, choices=[], usage=USAGE)
        await response.write(done + b"data: [DONE]\n\n")
        return response

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One behaviour for each call; the last one for all further ones."""
    left = list(behaviours)

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request, body)

    return behave


def raw(*pieces: bytes) -> Behaviour:
    """Streams these bytes as they are, then ends."""

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await open_stream(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return behave


def refuse(status: int, message: str = "no", code: str | None = None) -> Behaviour:
    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": message, "code": code}}, status=status)

    return behave


def break_off(*pieces: bytes) -> Behaviour:
    """Streams `pieces`, then drops the connection."""

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = await open_stream(request)
        for piece in pieces:
            await response.write(piece)
        assert request.transport is not None
        request.transport.abort()
        return response

    return behave


async def _main(port: int) -> None:
    server = ModelServer()
    await server.start(port)
    print(server.url)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
