"""What every fake platform on HTTP shares: a server, faults, weather, and webhooks that insist.

In a test::

    async with FakeSomething() as fake:        # or: with FakeSomething.in_thread() as fake:
        fake.fail("send", status=500)          # the next call of this kind goes wrong
        await fake.until(lambda: fake.sent)

Methods that change something may be called from any thread.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.fakes._weather import Weather

RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 1.0

Act = Callable[[], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Call:
    """One call of ours, as it came. `at` is `time.monotonic()`."""

    name: str
    data: Any
    at: float
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Fault:
    """Something that goes wrong `times` times with calls of `name` whose data holds `match`."""

    name: str
    times: int
    match: str = ""
    status: int = 500
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: int | None = None
    drop: str = ""
    half: bool = False
    hang: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """A webhook call: made anew for every try, so that signatures carry the time."""

    headers: dict[str, str]
    body: bytes
    path: str = ""


RECIPIENTS = ("to", "channel", "chatGuid")


def _recipient(data: Any) -> str:
    fields = data if isinstance(data, dict) else {}
    return next((str(fields[name]) for name in RECIPIENTS if fields.get(name)), "")


def json_reply(data: Any, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer."""
    body = json.dumps(data).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


class FakePlatform(ABC):
    """The server. `url` is what goes into the adapter's `api_url`."""

    def __init__(self, *, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.weather: Weather | None = None
        self.hook = ""
        self.statuses: list[int] = []
        self.url = ""
        self._port = port
        self._faults: list[Fault] = []
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None
        self._lanes: defaultdict[Any, deque[Callable[[], Post]]] = defaultdict(deque)
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._http: aiohttp.ClientSession | None = None

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """The addresses it answers."""

    @abstractmethod
    def busy(self, seconds: int) -> web.Response:
        """Too many requests, in the platform's own form."""

    def broken(self, status: int) -> web.Response:
        """An error of the platform's own."""
        return web.Response(status=status, body=b"<html>internal error</html>")

    # --- life ---------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        assert self._http is not None
        assert self._runner is not None
        await self._http.close()
        await self._runner.cleanup()

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Any) -> Iterator[Self]:
        """The same in a thread with a loop of its own, for tests that are not async."""
        ready: list[Self] = []
        started, loops = threading.Event(), []
        stop = asyncio.Event()

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            async with cls(**options) as fake:
                ready.append(fake)
                started.set()
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        assert started.wait(10), "the fake server did not start"
        try:
            yield ready[0]
        finally:
            loops[0].call_soon_threadsafe(stop.set)
            thread.join(10)

    def on_loop(self, act: Callable[[], Any]) -> Any:
        """Run `act` where the server runs; from any thread."""
        assert self._loop is not None, "not started"
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            return act()

        async def run() -> Any:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def changed(self) -> None:
        """Something happened: whoever waits looks again."""
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def until(self, holds: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Returns what `holds()` returns as soon as that is true."""
        async with asyncio.timeout(seconds):
            while not (found := holds()):
                await self._changed.wait()
        return found

    # --- calls of ours ------------------------------------------------------

    def fail(self, name: str, *, times: int = 1, **what: Any) -> None:
        """The next `times` calls of this kind go wrong (see `Fault`).

        `status=…` with `body=b"…"`; `retry_after=7`; `drop="before"` or
        `"after"` it is done; `half=True` an answer; `hang=True` for ever.
        """
        self.on_loop(lambda: self._faults.append(Fault(name, times, **what)))

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self.on_loop(self._faults.clear)

    def called(self, name: str) -> list[Call]:
        """Calls of one kind."""
        return [call for call in self.calls if call.name == name]

    async def answer(
        self, name: str, request: web.Request, data: Any, act: Act
    ) -> web.StreamResponse:
        """Do what a call asks for, unless something goes wrong."""
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.calls.append(Call(name, data, time.monotonic(), headers))
        self.changed()
        if (fault := self._fault(name, data)) is not None:
            return await self._go_wrong(fault, request, act)
        what = f"{name} {_recipient(data)}"
        match self.weather.on_call(what) if self.weather else "fine":
            case "lost":
                return self._cut(request)
            case "cut":
                await act()
                return self._cut(request)
            case "slow":
                assert self.weather is not None
                await asyncio.sleep(self.weather.pause())
            case "busy":
                return self.busy(Weather.retry_after)
            case "broken":
                return self.broken(500)
        return await act()

    def _fault(self, name: str, data: Any) -> Fault | None:
        for fault in self._faults:
            if fault.name == name and fault.times > 0 and fault.match in str(data):
                fault.times -= 1
                return fault
        return None

    async def _go_wrong(self, fault: Fault, request: web.Request, act: Act) -> web.StreamResponse:
        if fault.hang:
            await self._closing.wait()
        if fault.half:
            await self._send_half(request, await act())
        if fault.drop == "after":
            await act()
        if fault.drop or fault.half or fault.hang:
            return self._cut(request)
        if fault.retry_after is not None:
            return self.busy(fault.retry_after)
        if fault.body is None:
            return self.broken(fault.status)
        return web.Response(body=fault.body, status=fault.status, headers=fault.headers)

    @staticmethod
    async def _send_half(request: web.Request, whole: web.StreamResponse) -> None:
        assert isinstance(whole, web.Response)
        assert isinstance(whole.body, bytes)
        half = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
        half.content_length = len(whole.body)
        await half.prepare(request)
        await half.write(whole.body[: len(whole.body) // 2])

    @staticmethod
    def _cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    # --- calls of the platform's --------------------------------------------

    def push(self, make: Callable[[], Post], lane: Any = None) -> None:
        """Hand an event to the gateway, again and again until a 2xx; in order within a lane."""
        self.on_loop(lambda: self._enqueue(make, lane))

    def follow(self, url: str) -> None:
        """Where webhooks go; what waited is delivered."""

        def set_hook() -> None:
            self.hook = url
            for lane in list(self._lanes):
                self._work(lane)

        self.on_loop(set_hook)

    def _enqueue(self, make: Callable[[], Post], lane: Any) -> None:
        self._lanes[lane].append(make)
        self._work(lane)

    def _work(self, lane: Any) -> None:
        if self.hook and self._lanes[lane] and (
            lane not in self._tasks or self._tasks[lane].done()
        ):  # fmt: skip
            self._tasks[lane] = asyncio.create_task(self._deliver(lane))

    async def _deliver(self, lane: Any) -> None:
        queue = self._lanes[lane]
        while queue:
            way = self.weather.on_push() if self.weather else None
            await asyncio.sleep(way.delay if way else 0.0)
            for _ in range(way.times if way else 1):
                await self._insist(queue[0])
            queue.popleft()
            self.changed()

    async def _insist(self, make: Callable[[], Post]) -> None:
        pause = 0.0
        while not await self.post(make()):
            await asyncio.sleep(pause)
            pause = min(max(pause * 2, RETRY_SECONDS), LONGEST_RETRY_SECONDS)

    async def post(self, post: Post) -> bool:
        """One webhook call; whether it was taken."""
        assert self._http is not None
        try:
            async with self._http.post(
                self.hook + post.path,
                data=post.body,
                headers=post.headers,
                timeout=aiohttp.ClientTimeout(30),
            ) as answer:
                await answer.read()
                self.statuses.append(answer.status)
                self.changed()
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
