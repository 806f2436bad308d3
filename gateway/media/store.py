"""The media folder: the one place that writes files there, and the one that finds them again.

A stored file's path is a generated name, `<32 hex digits>.<ending>`; nothing
else is ever looked for, so no name that somebody gives leads anywhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from adapters._text import clean
from adapters.base import File
from gateway.media.content import HEAD_BYTES, OCTETS, content_of
from sessions_app.ids import MEDIA_NAME

_NAME = re.compile(MEDIA_NAME)
_WRITE_BYTES = 256 * 1024
_DRAFT = ".draft-"
DRAFT_SECONDS = 3600.0
"""A file still being written is never older than this."""


class TooLarge(Exception):
    """More bytes than the cap."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that was kept: its path here, and what its content is."""

    path: str
    kind: str
    mime: str
    size: int


class Store:
    """Files in `folder`, none larger than `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    async def keep(self, pieces: AsyncIterator[bytes], kind: str = "", mime: str = "") -> Stored:
        """Write the pieces to the disk as they come. Raises `TooLarge`, and what they raise.

        On return the file is safe: written, flushed, and under its final name.
        """
        draft = self.folder / f"{_DRAFT}{secrets.token_hex(8)}"
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        file = await asyncio.to_thread(_create, draft)
        try:
            head, size = await self._write(file, pieces)
            found = content_of(head, kind, mime)
            name = f"{secrets.token_hex(16)}.{found.extension}"
            await asyncio.to_thread(_finish, file, draft, self._at(name))
        except BaseException:  # worker edge: also a cancelled fetch leaves no half file
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
            await asyncio.shield(asyncio.to_thread(_discard, file, draft))
            raise
        return Stored(name, found.kind, found.mime, size)

    async def _write(self, file: IO[bytes], pieces: AsyncIterator[bytes]) -> tuple[bytes, int]:
        head, size, waiting = b"", 0, bytearray()
        async for piece in pieces:
            size += len(piece)
            if size > self.max_bytes:
                raise TooLarge(f"larger than {self.max_bytes // (1024 * 1024)} MB")
            head += piece[: HEAD_BYTES - len(head)]
            waiting += piece
            if len(waiting) >= _WRITE_BYTES:
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(file.write, bytes(waiting))
        return head, size

    def find(self, path: str) -> Path:
        """Where a stored file lies. Raises `LookupError` for any name that is not one of ours."""
        if not _NAME.fullmatch(path):
            raise LookupError("no such file")
        found = self._at(path)
        if found.is_symlink() or not found.is_file():
            raise LookupError("the file is gone")
        return found

    def file(self, entry: Mapping[str, Any], url: str = "") -> File:
        """A file as adapters send it. Raises `LookupError` where it is gone."""
        path = self.find(str(entry.get("path") or ""))
        return File(
            kind=str(entry.get("kind") or "file"),
            path=path,
            mime=str(entry.get("mime") or OCTETS),
            name=file_name(str(entry.get("name") or ""), path.name),
            size=path.stat().st_size,
            url=url,
        )

    def remove(self, path: str) -> None:
        """Delete a stored file; one that is gone already is no error."""
        if _NAME.fullmatch(path):
            self._at(path).unlink(missing_ok=True)

    def old_names(self, before: float) -> Iterator[str]:
        """Stored files last written before `before` (Unix time). Drafts left behind go at once."""
        drafts = time.time() - DRAFT_SECONDS
        for found in self.folder.glob(f"{_DRAFT}*"):
            if found.lstat().st_mtime < drafts:
                found.unlink(missing_ok=True)
        for found in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if _NAME.fullmatch(found.name) and found.lstat().st_mtime < before:
                yield found.name

    def _at(self, name: str) -> Path:
        return self.folder / name[:2] / name


def file_name(given: str, own: str) -> str:
    """A name for people: the one that was given, without anything but a name; else ours."""
    name = clean(given).replace("\\", "/").rpartition("/")[2]
    name = "".join(one for one in name if one.isprintable()).strip(". ")[:120]
    return name or own


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _finish(file: IO[bytes], draft: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft.replace(path)


def _discard(file: IO[bytes], draft: Path) -> None:
    file.close()
    draft.unlink(missing_ok=True)
