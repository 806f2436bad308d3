"""Files that an agent adds to its answer: fetched, kept, and told apart from what cannot be."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from gateway.media.guard import Blocked, Fetcher, NotFetched, origin
from gateway.media.links import path_of
from gateway.media.store import Store, Stored, TooLarge, file_name

COPY_BYTES = 256 * 1024
MAX_FILES = 10
"""Attachments of one answer; further ones are refused."""


class Intake:
    """Takes what agents attach. `seconds` bounds the fetching of one file."""

    def __init__(self, store: Store, fetcher: Fetcher, seconds: float) -> None:
        self._store, self._fetcher, self._seconds = store, fetcher, seconds

    async def take(
        self, attachments: Sequence[Mapping[str, Any]], agent_url: str
    ) -> list[dict[str, Any]]:
        """Each as {"kind", "mime", "name", "size", "path"}, or with "error" instead of a path.

        Places ({"kind": "location", "latitude", "longitude", "name"}) stay what
        they are. A URL may be relative to the agent's; a `data:` URL holds the
        file itself; a link of ours is the file that it leads to.
        """
        taken = []
        for number, one in enumerate(attachments):
            if one.get("kind") == "location":
                taken.append(_place(one))
            elif number >= MAX_FILES:
                taken.append(_failed(one, f"an answer has at most {MAX_FILES} files"))
            else:
                taken.append(await self._file(one, agent_url))
        return taken

    async def _file(self, one: Mapping[str, Any], agent_url: str) -> dict[str, Any]:
        url = urljoin(agent_url, str(one.get("url") or ""))
        if not one.get("url"):
            return _failed(one, "it has no url")
        try:
            async with asyncio.timeout(self._seconds):
                stored = await self._stored(one, url, origin(agent_url))
        except (Blocked, NotFetched, LookupError) as error:
            return _failed(one, str(error))
        except TooLarge as error:
            return _failed(one, str(error), url)
        except TimeoutError:
            return _failed(one, f"not fetched within {self._seconds:g} seconds", url)
        except OSError as error:
            return _failed(one, f"not kept: {error.strerror or type(error).__name__}", url)
        return {
            "kind": stored.kind,
            "mime": stored.mime,
            "name": file_name(str(one.get("name") or _last_part(url)), stored.path),
            "size": stored.size,
            "path": stored.path,
        }

    async def _stored(self, one: Mapping[str, Any], url: str, trusted: str) -> Stored:
        kind, mime = str(one.get("kind") or ""), str(one.get("mime") or "")
        if (path := path_of(url)) is not None:
            return await self._store.keep(_copy(self._store.find(path)), kind, mime)
        pieces = _data(url) if url.startswith("data:") else self._fetcher.fetch(url, trusted)
        return await self._store.keep(pieces, kind, mime)


def _place(one: Mapping[str, Any]) -> dict[str, Any]:
    """A place with two numbers on the globe, or why it is none."""
    found = []
    for name, limit in (("latitude", 90.0), ("longitude", 180.0)):
        value = one.get(name)
        number = float(value) if isinstance(value, int | float) else math.nan
        if not abs(number) <= limit:
            return _failed({**one, "kind": "file"}, f"{name} is not on the map")
        found.append(number)
    name = str(one.get("name") or "")
    return {"kind": "location", "latitude": found[0], "longitude": found[1], "name": name}


def _failed(one: Mapping[str, Any], error: str, url: str = "") -> dict[str, Any]:
    """What could not be kept. `url` is left where a person may still open it."""
    entry = {"kind": str(one.get("kind") or "file"), "name": str(one.get("name") or "")}
    return {**entry, "mime": "", "size": None, "url": url, "error": error}


def _last_part(url: str) -> str:
    return "" if url.startswith("data:") else url.partition("?")[0].rpartition("/")[2]


async def _data(url: str) -> AsyncIterator[bytes]:
    """The content of a `data:` URL (RFC 2397)."""
    head, comma, body = url.removeprefix("data:").partition(",")
    content = unquote_to_bytes(body)
    if not comma:
        raise NotFetched("a data URL without a comma")
    if head.endswith(";base64"):
        try:
            content = base64.b64decode(content, validate=True)
        except binascii.Error:
            raise NotFetched("a data URL that is not base64") from None
    yield content


async def _copy(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, COPY_BYTES):
            yield piece
