"""chat.db, read only: what is new in it, and whether what we sent stands there.

Facts: Messages keeps the database in WAL mode; columns differ by macOS, so those
that are missing count as NULL; times are nanoseconds since 2001 (seconds before
macOS 10.13). A message's row may be there before its chat, text or files are.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from adapters._imessage_text import last_part, text_of
from adapters.base import ChannelDown, Transient

Found = TypeVar("Found")

EPOCH = 978_307_200
NANOSECONDS = 1_000_000_000
PAGE = 500
BUSY_SECONDS = 2.0

_COLUMNS = (
    "guid", "text", "attributedBody", "date", "is_from_me", "service", "error", "item_type",
    "associated_message_type", "associated_message_guid", "associated_message_emoji",
    "thread_originator_guid", "cache_has_attachments", "date_edited", "is_audio_message",
)  # fmt: skip
_ROWS = """
SELECT m.ROWID AS row, {columns}, h.id AS sender, c.guid AS chat, c.style AS style
FROM message m
LEFT JOIN chat_message_join j ON j.message_id = m.ROWID
LEFT JOIN chat c ON c.ROWID = j.chat_id
LEFT JOIN handle h ON h.ROWID = m.handle_id
"""
_FILES = """
SELECT j.message_id AS row, a.guid AS guid, a.filename AS path, a.mime_type AS mime,
       a.transfer_name AS name, a.total_bytes AS size, {sticker} AS sticker
FROM message_attachment_join j JOIN attachment a ON a.ROWID = j.attachment_id
WHERE j.message_id IN ({rows}) ORDER BY a.ROWID
"""


@dataclass(slots=True)
class Row:
    """One message of chat.db with its chat, sender and files; None where a column is missing."""

    fields: dict[str, Any]
    files: list[dict[str, Any]] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def text(self) -> str:
        """What was written."""
        return text_of(self["text"], self["attributedBody"])

    @property
    def sent_at(self) -> float:
        """Unix time."""
        return unix(self["date"])

    @property
    def is_complete(self) -> bool:
        """Whether all that belongs to it has been written."""
        has_files = bool(self["cache_has_attachments"])
        spoken = self["text"] or self["attributedBody"] or self["item_type"] or self.files
        return self["chat"] is not None and bool(spoken) and (bool(self.files) or not has_files)


@dataclass(frozen=True, slots=True)
class News:
    """Messages after a row, and the highest row there is."""

    rows: list[Row]
    highest: int


class ChatDb:
    """The file at `path`. Every method opens it anew, and blocks: run it in a thread.

    Raises `ChannelDown` where it may not be read, `Transient` where it cannot be read just now.
    """

    def __init__(self, path: Path, reader: str) -> None:
        """`reader` is the program that needs the permission, for the error's text."""
        self.path, self._reader = path, reader

    def highest(self) -> int:
        """The highest row."""
        return self._read(_highest)

    def news(self, after: int, since: float) -> News:
        """Messages after row `after` that were sent at or after `since` (Unix time)."""

        def look(db: sqlite3.Connection) -> News:
            highest = _highest(db)
            where = "WHERE m.ROWID > ? AND m.date >= ? ORDER BY m.ROWID LIMIT ?"
            rows = _rows(db, where, (after, apple(since, db), PAGE))
            return News(rows, rows[-1]["row"] if len(rows) == PAGE else highest)

        return self._read(look)

    def edited(self, after: int, since: float) -> list[Row]:
        """Messages sent since `since` that were edited after `after` (in chat.db's own time)."""

        def look(db: sqlite3.Connection) -> list[Row]:
            if "date_edited" not in _columns(db, "message"):
                return []
            where = "WHERE m.date >= ? AND m.date_edited > ? ORDER BY m.date_edited LIMIT ?"
            return _rows(db, where, (apple(since, db), after, PAGE))

        return self._read(look)

    def ours(self, guid: str) -> bool:
        """Whether a message was sent by us."""
        sql = "SELECT is_from_me FROM message WHERE guid = ?"
        return bool(self._read(lambda db: db.execute(sql, (guid,)).fetchone() == (1,)))

    def words(self, guid: str) -> str:
        """The text of a message; empty where there is none."""

        def look(db: sqlite3.Connection) -> str:
            rows = _rows(db, "WHERE m.guid = ?", (guid,))
            return rows[0].text if rows else ""

        return self._read(look)

    def sent(self, after: int, chat: str, text: str, file: str = "") -> Row | None:
        """The first row of ours after `after` in this chat, with this text or this file's name."""

        def look(db: sqlite3.Connection) -> Row | None:
            where = "WHERE m.ROWID > ? AND m.is_from_me = 1 ORDER BY m.ROWID LIMIT ?"
            for row in _rows(db, where, (after, PAGE)):
                named = any(one["name"] == file for one in row.files) if file else False
                written = not file and row.text.split() == text.split()
                if last_part(row["chat"] or "") == last_part(chat) and (named or written):
                    return row
            return None

        return self._read(look)

    def _read(self, look: Callable[[sqlite3.Connection], Found]) -> Found:
        try:
            with closing(self._open()) as db:
                return look(db)
        except sqlite3.Error as error:
            if "locked" in str(error) or "busy" in str(error):
                raise Transient(f"chat.db is busy: {error}") from None
            raise ChannelDown(
                f"chat.db cannot be read ({error}): in System Settings, Privacy & Security, "
                f"Full Disk Access, allow {self._reader}"
            ) from None

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=ro", uri=True, timeout=BUSY_SECONDS
        )
        db.execute("PRAGMA query_only = 1")
        return db


def unix(date: Any) -> float:
    """A time of chat.db as Unix time; 0 for never."""
    if not isinstance(date, int | float) or not date:
        return 0.0
    return (date / NANOSECONDS if abs(date) > 10**12 else date) + EPOCH


def apple(at: float, db: sqlite3.Connection) -> float:
    """Unix time as this database writes it."""
    newest = db.execute("SELECT MAX(date) FROM message").fetchone()[0] or 10**18
    return max(at - EPOCH, 0) * (NANOSECONDS if newest > 10**12 else 1)


def now() -> float:
    """Unix time; apart, so that tests can move it."""
    return time.time()


def _highest(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT COALESCE(MAX(ROWID), 0) FROM message").fetchone()[0])


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def _rows(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[Row]:
    there = _columns(db, "message")
    columns = ", ".join(
        f"m.{name} AS {name}" if name in there else f"NULL AS {name}" for name in _COLUMNS
    )
    cursor = db.execute(_ROWS.format(columns=columns) + where, values)
    names = [column[0] for column in cursor.description]
    found: dict[int, Row] = {}
    for one in cursor:
        row = Row(dict(zip(names, one, strict=True)))
        found.setdefault(row["row"], row)  # a message in two chats counts once
    _add_files(db, found)
    return list(found.values())


def _add_files(db: sqlite3.Connection, rows: dict[int, Row]) -> None:
    if not rows:
        return
    sticker = "a.is_sticker" if "is_sticker" in _columns(db, "attachment") else "0"
    marks = ", ".join("?" * len(rows))
    cursor = db.execute(_FILES.format(sticker=sticker, rows=marks), list(rows))
    names = [column[0] for column in cursor.description]
    for one in cursor:
        file = dict(zip(names, one, strict=True))
        rows[file["row"]].files.append(file)
