"""An agent that a test plays itself: it waits for a call, then says token after token."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

SECONDS = 30.0


class Call:
    """One call of the gateway. What is said here streams out at once."""

    def __init__(self, payload: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self.payload = payload
        self.turn: str = payload["turnId"]
        self.session: str = payload["sessionId"]
        self.user: str = payload["userId"]
        self.text = ""
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = loop

    @property
    def asked(self) -> str:
        """What the person wrote last."""
        said = [message["content"] for message in self.payload["messages"]]
        return str(said[-1])

    def say(self, text: str) -> None:
        """One token."""
        self.text += text
        self._put("token", {"text": text})

    def think(self, text: str) -> None:
        """Something for the operator's eyes."""
        self._put("reasoning", {"text": text})

    def finish(self, content: str | None = None, **extra: Any) -> None:
        """The answer is complete."""
        self._put("final", {"content": self.text if content is None else content, **extra})
        self._put(None, None)

    def break_off(self) -> None:
        """End the stream without having finished: a failure."""
        self._put(None, None)

    def _put(self, event: str | None, data: Any) -> None:
        block = f"event: {event}\ndata: {json.dumps(data)}\n\n".encode() if event else None
        self._loop.call_soon_threadsafe(self.events.put_nowait, block)


class PlayedAgent:
    """The server, in a thread of its own."""

    url: str

    def __init__(self) -> None:
        self._calls: queue.Queue[Call] = queue.Queue()
        self._open: list[Call] = []
        self._strangers: set[str] = set()

    def wait_call(self, seconds: float = SECONDS) -> Call:
        """The next call; `queue.Empty` if none comes. Late ones of an earlier test are ended."""
        while True:
            call = self._calls.get(timeout=seconds)
            if call.user not in self._strangers:
                return call
            call.finish("left over")

    def part(self, user: str) -> None:
        """The test is over: what this person still says is for nobody."""
        self._strangers.add(user)

    async def call(self) -> Call:
        """The next call, for tests with a loop."""
        return await asyncio.to_thread(self.wait_call)

    def forget(self) -> None:
        """End what a test left unfinished."""
        while not self._calls.empty():
            self._calls.get().finish("left over")
        for call in self._open:
            call.finish()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = Call(await request.json(), asyncio.get_running_loop())
        self._open.append(call)
        self._calls.put(call)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            while (block := await call.events.get()) is not None:
                await response.write(block)
        finally:
            self._open.remove(call)
        return response

    async def _serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes([web.post("/rpc/message", self._answer)])
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/rpc/message"
        started.set()
        await stop.wait()
        await runner.cleanup()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[PlayedAgent]:
        """Listen as long as the context lasts."""
        agent, started = cls(), threading.Event()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        def work() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(agent._serve(started, stop))

        thread = threading.Thread(target=work, name="played agent")
        thread.start()
        assert started.wait(SECONDS)
        try:
            yield agent
        finally:
            agent.forget()
            loop.call_soon_threadsafe(stop.set)
            thread.join(SECONDS)
