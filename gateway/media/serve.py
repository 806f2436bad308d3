"""/media/…: stored files for whoever holds a link. A bare ASGI application, in pieces."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adapters.base import Reply
from gateway.media.content import HEAD_BYTES, OCTETS, content_of
from gateway.media.links import read
from gateway.media.store import Store
from gateway.runtime import current
from gateway.webhooks import answer

PIECE_BYTES = 64 * 1024
SHOWN = ("image/", "video/", "audio/", "text/plain")
"""What a browser may show by itself; the rest is saved."""

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_WORDS = {403: b"This link is not valid.", 410: b"This link has ended."}
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"private, max-age=3600"),
    (b"referrer-policy", b"no-referrer"),
    (b"accept-ranges", b"bytes"),
)

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def media(scope: dict[str, Any], receive: Any, send: Send) -> None:
    """The ASGI application."""
    await serve(current().media.store, scope, send)


async def serve(store: Store, scope: dict[str, Any], send: Send) -> None:
    """Answer one request for a file."""
    if scope["method"] not in ("GET", "HEAD"):
        await answer(send, Reply(405))
        return
    found = read(scope["path"], scope["query_string"].decode("latin-1"))
    if isinstance(found, int):
        await answer(send, Reply(found, _WORDS.get(found, b"")))
        return
    try:
        path = store.find(found)
        size = path.stat().st_size
    except (LookupError, OSError):
        await answer(send, Reply(404, b"The file is gone."))
        return
    start, end, status = _span(_header(scope, b"range"), size)
    headers = [*_SAFE, *await asyncio.to_thread(_describe, path, scope["path"])]
    if status == 416:
        headers.append((b"content-range", f"bytes */{size}".encode()))
        start = end = 0
    elif status == 206:
        headers.append((b"content-range", f"bytes {start}-{end - 1}/{size}".encode()))
    headers.append((b"content-length", str(end - start).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if scope["method"] == "GET":
        await _pieces(path, start, end, send)
    await send({"type": "http.response.body", "body": b""})


async def _pieces(path: Path, start: int, end: int, send: Send) -> None:
    with await asyncio.to_thread(path.open, "rb") as file:
        file.seek(start)
        left = end - start
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(left, PIECE_BYTES))):
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def _describe(path: Path, url_path: str) -> list[tuple[bytes, bytes]]:
    """Type and name. The type is told from the content again: nothing else can be believed."""
    with path.open("rb") as file:
        mime = content_of(file.read(HEAD_BYTES), "", "").mime
    shown = "inline" if mime.startswith(SHOWN) else "attachment"
    mime = mime if shown == "inline" else OCTETS
    if mime.startswith("text/"):
        mime += "; charset=utf-8"
    name = quote(url_path.rpartition("/")[2], safe="")
    return [
        (b"content-type", mime.encode()),
        (b"content-disposition", f"{shown}; filename*=UTF-8''{name}".encode()),
    ]


def _span(asked: str, size: int) -> tuple[int, int, int]:
    """First byte, one behind the last, and the status. Only a single range is heard."""
    match = _RANGE.fullmatch(asked)
    if match is None or match[0] == "bytes=-":
        return 0, size, 200
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    return (start, end, 206) if start < end else (0, 0, 416)


def _header(scope: dict[str, Any], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
