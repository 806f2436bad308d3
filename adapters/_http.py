"""What every adapter on HTTP shares: was it sent, and what may be said about a failure."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp
import httpx

from adapters.base import File, SendError, Transient, Unsure

PIECE = 256 * 1024
"""Bytes of a file that are in memory at a time."""

_BEFORE_SENDING = (
    aiohttp.ClientConnectorError,  # refused, no such host, TLS not agreed
    aiohttp.ConnectionTimeoutError,  # no connection in time, or none free in the pool
    httpx.ConnectError,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


def certainly_not_sent(failure: BaseException) -> bool:
    """Whether the request never left us.

    httpx-aiohttp reports a server that hung up (after it may have read the
    request) as `httpx.ConnectTimeout`, like a failed connection; only aiohttp's
    own exception, found along `__cause__`, tells the two apart. Where there is
    none, httpx's class is to be trusted.
    """
    causes = list(_causes(failure))
    if any(isinstance(cause, _BEFORE_SENDING) for cause in causes):
        return True
    if any(isinstance(cause, aiohttp.ClientError) for cause in causes):
        return False
    return any(isinstance(cause, httpx.ConnectTimeout) for cause in causes)


def failed_send(failure: BaseException, *secrets: str) -> SendError:
    """`Transient` or `Unsure` for a request that got no answer. Says nothing of `secrets`."""
    root = list(_causes(failure))[-1]
    detail = redact(f"{type(root).__name__}: {root}", *secrets)
    return Transient(detail) if certainly_not_sent(failure) else Unsure(detail)


def redact(text: str, *secrets: str) -> str:
    """The text with every secret in it replaced, at most 500 characters long."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    return text[:500]


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """The file's bytes, read beside the event loop."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


class Multipart:
    """A multipart/form-data body that is never whole in memory: text fields, then one file.

    Give `headers` and `content()` to a request.
    """

    def __init__(self, fields: Mapping[str, str], field: str, file: File) -> None:
        boundary = secrets.token_hex(16)
        head = "".join(
            f"--{boundary}\r\nContent-Disposition: form-data; "
            f'name="{_quoted(name)}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += (
            f"--{boundary}\r\nContent-Disposition: form-data; "
            f'name="{_quoted(field)}"; filename="{_quoted(file.name)}"\r\n'
            f"Content-Type: {file.mime}\r\n\r\n"
        )
        self._head = head.encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._path = file.path
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + file.size + len(self._tail)),
        }

    async def content(self) -> AsyncIterator[bytes]:
        """The body in pieces."""
        yield self._head
        async for piece in pieces(self._path):
            yield piece
        yield self._tail


def _quoted(name: str) -> str:
    """A name inside quotes, as browsers write it: nothing in it can end the header."""
    return quote(name, safe=" !#$&'()+,-./:;<=>?@[]^_`{|}~")


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from, outermost first."""
    cause: BaseException | None = failure
    while cause is not None:
        yield cause
        cause = cause.__cause__
