"""A media folder of the test's own, and a small web server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.media.store import Store
from tests.core.conftest import agent, verbs

__all__ = ["agent", "verbs"]

MEGABYTE = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "media", MEGABYTE)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


class Web:
    """Serves `pages`: path -> body, or (status, headers, body). `asked` are the requests."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[web.Request] = []
        self.origin = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        page = self.pages.get(request.path)
        if page is None:
            return web.Response(status=404)
        if isinstance(page, bytes):
            return web.Response(body=page)
        status, headers, body = page
        return web.Response(status=status, headers=headers, body=body)


@pytest.fixture
async def site() -> AsyncIterator[Web]:
    """On 127.0.0.1: a private address, as an agent's is."""
    found = Web()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()
