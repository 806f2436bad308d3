"""A fake agent: a real HTTP server that speaks every form of the agent protocol, well or badly.

By hand: `python -m tests.fakes.agent --port 9000`, then set the gateway's agent
to http://127.0.0.1:9000/rpc/message (or, for the openai protocol,
http://127.0.0.1:9000/v1). It answers "ack" and the texts of all messages
that wait for an answer, so that loss and doubling can be counted.

Its behaviour is set per session, for all, or by words in the message itself
(`#fault=hang_middle #form=ndjson #tokens=50 #delay=0.01`); over HTTP too:

    POST /_ctl/behaviour  {"session": "sess_…" or null, "fault": "hang", …}
    GET  /_ctl/calls      what was asked      POST /_ctl/reset
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.fakes.agent_answers import Behaviour, compose, give
from tests.process import free_port

T = TypeVar("T")


@dataclass(eq=False)
class Call:
    """One call, as it arrived. `closed_early`: the client went away before our answer ended."""

    protocol: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]
    path: str
    at: float = field(default_factory=time.monotonic)
    closed_early: bool = False
    finished: bool = False

    @property
    def payload(self) -> dict[str, Any]:
        """The request's JSON."""
        payload: dict[str, Any] = json.loads(self.body)
        return payload

    @property
    def session(self) -> str:
        """`sessionId`; empty for openai."""
        return str(self.payload.get("sessionId", ""))

    @property
    def turn(self) -> str:
        """`turnId`; empty for openai."""
        return str(self.payload.get("turnId", ""))

    @property
    def key(self) -> str:
        """The Idempotency-Key header."""
        return self.headers.get("idempotency-key", "")

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The history that came with it."""
        messages: list[dict[str, Any]] = self.payload["messages"]
        return messages

    @property
    def asked(self) -> list[str]:
        """The texts of what is to be answered: of the last `waiting` messages, in our own
        protocol; else of the user messages after the last assistant message."""
        waiting = self.payload.get("waiting")
        texts: list[str] = []
        for message in reversed(self.messages[-waiting:] if waiting else self.messages):
            if message["role"] == "assistant":
                break
            if message["role"] == "user":
                texts.insert(0, message["content"])
        return texts


class FakeAgent:
    """The server. `async with FakeAgent() as fake:`, or `with FakeAgent.in_thread() as fake:`."""

    _runner: web.AppRunner
    _site: web.TCPSite
    _loop: asyncio.AbstractEventLoop
    _done: asyncio.Event

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()  # to come back to after `refuse`
        self.calls: list[Call] = []
        self.default = Behaviour()
        self.behaviours: dict[str, Behaviour] = {}
        self.healthy = True
        self.health_seconds = 0.0
        self._held = self._stopping = False

    @property
    def url(self) -> str:
        """Where the agent protocol is spoken."""
        return f"http://127.0.0.1:{self.port}/rpc/message"

    @property
    def openai_url(self) -> str:
        """The base of the OpenAI-compatible server."""
        return f"http://127.0.0.1:{self.port}/v1"

    def behave(self, session: str | None = None, **behaviour: Any) -> None:
        """From now on answer like this: one session, or all that have no behaviour of their own."""
        if session is None:
            self.default = Behaviour(**behaviour)
        else:
            self.behaviours[session] = Behaviour(**behaviour)

    def reset(self) -> None:
        """Behave well, and forget every call."""
        self.default = Behaviour()
        self.behaviours.clear()
        self.calls.clear()
        self.healthy = True
        self.health_seconds = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block during which calls arrive and no answer begins."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    async def until(self, holds: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until `holds()`; an AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "what was waited for did not happen"
            await asyncio.sleep(0.005)

    async def refuse(self) -> None:
        """Stop listening and drop every connection, as if the process were gone."""
        await self._site.stop()
        assert self._runner.server is not None
        for handler in list(self._runner.server.connections):
            if handler.transport is not None:
                handler.transport.abort()

    async def listen(self) -> None:
        """Listen, on the same port as before."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, backlog=1024)
        await self._site.start()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/rpc/message", self._rpc),
                web.get("/health", self._health),
                web.post("/v1/chat/completions", self._completions),
                web.get("/v1/models", self._models),
                web.post("/_ctl/behaviour", self._set_behaviour),
                web.get("/_ctl/calls", self._list_calls),
                web.post("/_ctl/reset", self._reset),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await self._runner.cleanup()

    @classmethod
    @contextmanager
    def in_thread(cls, port: int = 0) -> Iterator[FakeAgent]:
        """The same in a thread of its own, for tests without a loop. See `do`."""
        fake, ready = cls(port), threading.Event()

        async def serve() -> None:
            async with fake:
                fake._loop, fake._done = asyncio.get_running_loop(), asyncio.Event()
                ready.set()
                await fake._done.wait()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        assert ready.wait(10), "the fake agent did not start"
        try:
            yield fake
        finally:
            fake._loop.call_soon_threadsafe(fake._done.set)
            thread.join(10)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `fake.refuse()`, `fake.until(…)` and the like in the thread's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _rpc(self, request: web.Request) -> web.StreamResponse:
        call = await self._record("rpc", request)
        behaviour = self._behaviour(call)
        return await self._answer(request, call, behaviour, self._form(call, behaviour, "sse"))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        call = await self._record("openai", request)
        form = "openai" if call.payload.get("stream") else "completion"
        return await self._answer(request, call, self._behaviour(call), form)

    async def _record(self, protocol: str, request: web.Request) -> Call:
        headers = {name.lower(): value for name, value in request.headers.items()}
        peer = request.get_extra_info("peername")
        call = Call(protocol, headers, await request.read(), peer, request.path_qs)
        _require_question(call.body)
        self.calls.append(call)
        return call

    def _behaviour(self, call: Call) -> Behaviour:
        behaviour = self.behaviours.get(call.session, self.default)
        return behaviour.with_directives(" ".join(call.asked))

    def _form(self, call: Call, behaviour: Behaviour, streamed: str) -> str:
        return behaviour.form or (streamed if call.payload.get("stream") else "json")

    async def _answer(
        self, request: web.Request, call: Call, behaviour: Behaviour, form: str
    ) -> web.StreamResponse:
        reply = behaviour.reply
        text = " ".join(["ack", *call.asked]) if reply is None else reply
        try:
            while self._held:
                await asyncio.sleep(0.005)
            response = await give(compose(request, behaviour, form, text))
        except (asyncio.CancelledError, ConnectionError):
            call.closed_early = not self._stopping
            raise
        call.finished = True
        return response

    async def _health(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.health_seconds)
        return web.json_response({"status": "ok"}, status=200 if self.healthy else 503)

    async def _models(self, _: web.Request) -> web.Response:
        models = {"object": "list", "data": [{"id": "fake-1", "object": "model"}]}
        return web.json_response(models, status=200 if self.healthy else 503)

    async def _set_behaviour(self, request: web.Request) -> web.Response:
        fields = await request.json()
        self.behave(fields.pop("session", None), **fields)
        return web.json_response({"ok": True})

    async def _list_calls(self, _: web.Request) -> web.Response:
        calls = [
            {
                "protocol": call.protocol,
                "key": call.key,
                "closedEarly": call.closed_early,
                "finished": call.finished,
                **call.payload,
            }
            for call in self.calls
        ]
        return web.json_response(calls)

    async def _reset(self, _: web.Request) -> web.Response:
        self.reset()
        return web.json_response({"ok": True})


def _require_question(body: bytes) -> None:
    try:
        messages = json.loads(body)["messages"]
    except (ValueError, TypeError, KeyError):
        raise web.HTTPBadRequest(text="not a question") from None
    if not isinstance(messages, list):
        raise web.HTTPBadRequest(text="messages must be a list")


async def _serve(port: int) -> None:
    async with FakeAgent(port) as fake:
        print(f"rpc     {fake.url}\nopenai  {fake.openai_url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A fake agent.")
    parser.add_argument("--port", type=int, default=9000, help="0 for any free port")
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
