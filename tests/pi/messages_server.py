"""A server that speaks Anthropic's Messages API, streaming: a tool call first where tools are."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

Wire = dict[str, Any]


class MessagesServer:
    """`calls` keeps (headers, body) of each call; `failing` is a status to refuse with."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], Wire]] = []
        self.failing = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/messages", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append(({key.lower(): one for key, one in request.headers.items()}, body))
        if self.failing:
            error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
            return web.json_response(error, status=self.failing)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in self._events(body):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            await response.write(data.encode())
        return response

    def _events(self, body: Wire) -> list[Wire]:
        used = any(isinstance(one["content"], list) and _results(one) for one in body["messages"])
        start = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
        start |= {"model": body["model"], "stop_reason": None, "stop_sequence": None}
        start["usage"] = {"input_tokens": 20, "output_tokens": 1}
        blocks = _words("It is ", "40.8.") if used else _call("calculate", "17% of 240")
        reason = "end_turn" if used else "tool_use"
        delta = {"stop_reason": reason, "stop_sequence": None}
        return [
            {"type": "message_start", "message": start},
            *blocks,
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ]


def _results(message: Wire) -> list[Wire]:
    return [part for part in message["content"] if part["type"] == "tool_result"]


def _words(*words: str) -> list[Wire]:
    block = {"type": "text", "text": ""}
    pieces = [{"type": "text_delta", "text": word} for word in words]
    return _block(block, pieces)


def _call(name: str, expression: str) -> list[Wire]:
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    arguments = json.dumps({"expression": expression})
    halves = (arguments[:8], arguments[8:])
    return _block(block, [{"type": "input_json_delta", "partial_json": half} for half in halves])


def _block(block: Wire, pieces: list[Wire]) -> list[Wire]:
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    deltas = [{"type": "content_block_delta", "index": 0, "delta": piece} for piece in pieces]
    return [start, *deltas]
