"""Was it sent? The one question that must not be answered wrongly; asked of real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import httpx
import httpx_aiohttp
import pytest

from adapters._http import certainly_not_sent, failed_send, redact
from adapters.base import SendError, Transient, Unsure

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LIMITS = {"connect": 30.0, "read": 0.2, "write": 30.0, "pool": 30.0}
SECRET = "123:FAKE-token"


@asynccontextmanager
async def server(behaviour: Behaviour) -> AsyncIterator[str]:
    """A TCP server that does what it likes with a connection. Yields its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listening.close()


async def ask(transport: httpx.AsyncBaseTransport, url: str, **limits: float) -> SendError:
    """What a POST that must fail ends with. `limits` in seconds; most are long."""
    request = httpx.Request(
        "POST", f"{url}/bot{SECRET}/send", content=b"text=hello",
        extensions={"timeout": LIMITS | limits},
    )  # fmt: skip
    with pytest.raises((httpx.HTTPError, aiohttp.ClientError)) as caught:
        response = await transport.handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
    error = failed_send(caught.value, SECRET)
    assert SECRET not in error.detail
    return error


@pytest.fixture(params=["aiohttp", "httpx"])
async def either(
    request: pytest.FixtureRequest, transport: httpx.AsyncBaseTransport
) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """The gateway's transport, and httpx's own, which some tests and proxies use."""
    if request.param == "aiohttp":
        yield transport
        return
    async with httpx.AsyncHTTPTransport(verify=False) as own:
        yield own


async def test_refused_connection_was_not_sent(either: httpx.AsyncBaseTransport) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening
        error = await ask(either, f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert type(error) is Transient


async def test_unknown_host_was_not_sent(transport: httpx.AsyncBaseTransport) -> None:
    assert type(await ask(transport, "http://nowhere.invalid")) is Transient


async def test_connection_that_is_never_accepted_was_not_sent(
    either: httpx.AsyncBaseTransport,
) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queue = [socket.socket() for _ in range(4)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        error = await ask(either, url, connect=0.2)
        for waiting in queue:
            waiting.close()
    assert type(error) is Transient


async def test_no_free_connection_was_not_sent() -> None:
    taken = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await reader.read(-1)

    connector = aiohttp.TCPConnector(limit=1)
    async with server(hold) as url, aiohttp.ClientSession(connector=connector) as session:
        transport = httpx_aiohttp.AiohttpTransport(client=session, verify=False)
        first = asyncio.create_task(session.get(url))
        await taken.wait()
        error = await ask(transport, url, pool=0.2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert type(error) is Transient


async def test_tls_not_agreed_was_not_sent(either: httpx.AsyncBaseTransport) -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with server(no_tls) as url:
        error = await ask(either, url.replace("http:", "https:"))
    assert type(error) is Transient


async def test_server_that_accepts_and_closes_is_unsure(
    either: httpx.AsyncBaseTransport,
) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)

    async with server(close) as url:
        assert type(await ask(either, url)) is Unsure


async def test_server_that_never_answers_is_unsure(either: httpx.AsyncBaseTransport) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with server(hang) as url:
        assert type(await ask(either, url)) is Unsure


async def test_half_an_answer_is_unsure(either: httpx.AsyncBaseTransport) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        await writer.drain()

    async with server(half) as url:
        assert type(await ask(either, url)) is Unsure


async def test_answer_that_is_not_http_is_unsure(either: httpx.AsyncBaseTransport) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x00\x01 nonsense\r\n\r\n")
        await writer.drain()

    async with server(garbage) as url:
        assert type(await ask(either, url)) is Unsure


async def test_reset_connection_is_unsure(either: httpx.AsyncBaseTransport) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with server(reset) as url:
        assert type(await ask(either, url)) is Unsure


def test_what_is_unknown_is_not_called_unsent() -> None:
    assert not certainly_not_sent(RuntimeError("anything"))
    assert not certainly_not_sent(httpx.ReadTimeout("late"))
    assert certainly_not_sent(httpx.ConnectTimeout("httpx's own"))
    assert certainly_not_sent(httpx.PoolTimeout("httpx's own"))


def test_redacts_every_secret_and_bounds_the_text() -> None:
    assert redact("a TOKEN b TOKEN c", "TOKEN", "") == "a [secret] b [secret] c"
    assert len(redact("x" * 10_000)) == 500
