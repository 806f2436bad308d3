"""Files of sessions: where they lie, how they are written so that a crash leaves none in half,
and how they are read line by line, whatever stands in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sessions_app.archive import Entry, Pieces, Whole

MAX_LINE = 256 * 1024 * 1024
"""Bytes of a line that is still read; a longer one is skipped."""

TAIL = 64 * 1024
"""Bytes looked through at once for the end of the last whole line."""

SUFFIXES = (".json", ".jsonl")
"""What files of sessions are called in a folder."""


Step = Callable[[int], None]
"""Hears how many bytes more were read."""


def _nowhere(count: int) -> None:
    """Nobody looks."""


def place(folder: Path, session: str, created_at: datetime, suffix: str) -> Path:
    """Where a session's file lies: by the month it began in, always the same.

    An id that is not one of ours never becomes part of a path.
    """
    name = session
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", session):
        name = f"id_{hashlib.sha256(session.encode()).hexdigest()[:32]}"
    return folder / f"{created_at:%Y}" / f"{created_at:%m}" / f"{name}{suffix}"


def line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON, also of what is nested more deeply than `orjson` writes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return json.dumps(value).encode() + b"\n"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there in full or not at all. Raises `OSError`."""
    _make_folders(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with _open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def append(path: Path, content: bytes, *, sync: bool = False) -> int:
    """Add lines to a file; what a crash left of a last line goes first. Returns the new size."""
    _make_folders(path.parent)
    with _open(path, os.O_RDWR | os.O_CREAT) as file:
        file.truncate(_end_of_lines(file))
        file.seek(0, os.SEEK_END)
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())
        return file.tell()


def size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def remove(path: Path) -> None:
    """Delete a file, and the folders that are empty then."""
    path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or gone already
        path.parent.rmdir()
        path.parent.parent.rmdir()


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be read: where, and why."""

    path: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class FoundWhole:
    """A session out of a file, not checked yet; `number` is the line at which it ends."""

    path: str
    number: int
    whole: Whole


def files(source: Path) -> list[Path]:
    """The file itself, or the files of sessions in a folder and below, oldest first."""
    if not source.is_dir():
        return [source]
    found = [
        Path(folder) / name
        for folder, _, names in os.walk(source)
        for name in names
        if name.endswith(SUFFIXES) and not name.startswith(".")
    ]
    return sorted(found)


def read_file(path: Path, step: Step = _nowhere) -> Iterator[FoundWhole | BadLine]:
    """The sessions of an archive, a mirror or an export; `step` hears of bytes read.

    Raises `OSError`.
    """
    with path.open("rb") as file:
        if path.suffix == ".json" and (whole := _spread(file)):
            yield FoundWhole(str(path), 1, whole)
            step(file.tell())
            return
        file.seek(0)
        yield from read_lines(file, str(path), step)


def _spread(file: BinaryIO) -> Whole | None:
    """The one object of a file that somebody has laid out over many lines; else None."""
    try:
        _object(first := file.readline(MAX_LINE))
    except ValueError:
        with suppress(ValueError):
            return _object(first + file.read(MAX_LINE))
    return None


def read_records(path: Path) -> Iterator[Entry]:
    """The records of a mirror that can be read, in their order. Raises `OSError`."""
    with path.open("rb") as file:
        for _, text in _lines(file):
            with suppress(ValueError):
                value = _object(text)
                if isinstance(value.get("data"), dict) and isinstance(value.get("record"), str):
                    yield value


def read_lines(file: BinaryIO, name: str, step: Step = _nowhere) -> Iterator[FoundWhole | BadLine]:
    """The same from an open file. Pieces of one session follow each other."""
    pieces, current, number = Pieces(), "", 0
    for number, text in _lines(file, step):
        try:
            value = _object(text)
            if "record" not in value:
                yield FoundWhole(name, number, value)
                continue
            if value.get("id") != current:
                yield from _closed(pieces, current, name, number - 1)
                pieces, current = Pieces(), str(value.get("id", ""))
            pieces.add(value)
        except ValueError as error:
            yield BadLine(name, number, str(error))
    yield from _closed(pieces, current, name, number)


def _closed(pieces: Pieces, session: str, name: str, number: int) -> Iterator[FoundWhole | BadLine]:
    if whole := pieces.whole():
        yield FoundWhole(name, number, whole)
    elif session:
        yield BadLine(name, number, f"no record says what session {session[:40]} is")


def _object(text: bytes | None) -> Entry:
    if text is None:
        raise ValueError(f"longer than {MAX_LINE} bytes")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _lines(file: BinaryIO, step: Step = _nowhere) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) of every line that is not empty; None for one that is too long."""
    number = 0
    while text := file.readline(MAX_LINE):
        number += 1
        step(len(text))
        if len(text) == MAX_LINE and not text.endswith(b"\n"):
            rest = b""
            while not rest.endswith(b"\n") and (rest := file.readline(MAX_LINE)):
                step(len(rest))
            yield number, None
        elif text.strip():
            yield number, text


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - TAIL)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _open(path: Path, flags: int) -> BinaryIO:
    return os.fdopen(
        os.open(path, flags | os.O_NOFOLLOW, 0o600), "r+b" if flags & os.O_RDWR else "wb"
    )


def _make_folders(folder: Path) -> None:
    """The folder and those above it, each for us alone."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
