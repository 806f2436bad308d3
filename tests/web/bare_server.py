"""gateway/server.py around a bare application, as a process of its own.

`python -m tests.web.bare_server PORT [start-error|slow-start|slow-stop]` prints one line
of JSON when it is ready and another when it leaves.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from gateway import server  # noqa: E402

STATE: dict[str, Any] = {"bodies": 0, "cancelled": 0}
SERVER: list[server.Server] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What the tests ask for, by path."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await ANSWERS[scope["path"]](receive, send)
        return
    path = scope["path"]
    await ANSWERS[path](receive, send)


async def read_body(receive: Any, send: Any) -> None:
    """How many bytes came."""
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event.get("body", b""))
        more = event.get("more_body", False)
    STATE["bodies"] += 1
    await answer(send, str(size).encode())


async def stream(receive: Any, send: Any) -> None:
    """200 MB, a megabyte at a time; how far it got is in STATE."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(200):
        STATE["streamed"] = number
        await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})
    await send({"type": "http.response.body"})


async def pour(receive: Any, send: Any) -> None:
    """The same over a websocket."""
    for number in range(200):
        STATE["poured"] = number
        await send({"type": "websocket.send", "bytes": b"x" * 2**20})


async def sleep(receive: Any, send: Any) -> None:
    """Never answers."""
    try:
        await asyncio.sleep(3600)
    finally:
        STATE["cancelled"] += 1


async def fail(receive: Any, send: Any) -> None:
    """An application with a fault."""
    raise LookupError("a fault in the application")


async def twisted_fault(receive: Any, send: Any) -> None:
    """An error that only Twisted's own log hears of."""
    server.reactor.callLater(0, lambda: 1 // 0)
    await answer(send, b"")


async def state(receive: Any, send: Any) -> None:
    """STATE, and what the server holds on to."""
    await answer(send, json.dumps({**STATE, "connections": len(SERVER[0].connections)}).encode())


async def answer(send: Any, body: bytes) -> None:
    """200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


ANSWERS: dict[str, Any] = {
    "/body": read_body, "/stream": stream, "/pour": pour, "/sleep": sleep, "/fail": fail,
    "/twisted": twisted_fault, "/state": state, "/ws/sleep": sleep,
}  # fmt: skip


def main(port: int, mode: str) -> None:
    """Serve until told to stop."""
    real = server.Server.__init__

    def remember(self: server.Server, *arguments: Any) -> None:
        SERVER.append(self)
        real(self, *arguments)

    server.Server.__init__ = remember  # type: ignore[method-assign]

    async def on_ready() -> None:
        if mode == "start-error":
            raise LookupError("cannot start")
        if mode == "slow-start":
            print(json.dumps({"starting": True}), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps({"ready": type(asyncio.get_running_loop()).__module__}), flush=True)

    async def on_stop() -> None:
        if mode == "slow-stop":
            print(json.dumps({"stopping": True}), flush=True)
            await asyncio.sleep(3600)
        print(json.dumps({"stopped": True}), flush=True)

    server.serve(application, "127.0.0.1", port, on_ready, on_stop)
    print(json.dumps({"left": True, **STATE}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
