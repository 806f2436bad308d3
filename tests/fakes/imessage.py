"""A Mac of our own: a real SQLite file like Messages' chat.db, and a stand-in for osascript.

In a test::

    with FakeMac(folder) as mac:
        mac.say(5, "hello")                     # person 5 writes; returns the row
        mac.fail(number=-1743)                  # the next script ends with this error
        mac.sent                                # what people got

The stand-in is a real executable: it hands its standard input and its arguments
to this server, which does what Messages does, and ends as it is told. It may
outlive the gateway that started it. By hand: `python -m tests.fakes.imessage`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters._imessage_mac import HELLO, SCRIPT
from tests.fakes._attributed import attributed
from tests.fakes._weather import Push, Weather

EPOCH = 978_307_200
FIRST_NUMBER = 15_550_000_000
_STAND_IN = """\
#!{python} -SE
import json, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({socket!r})
    asked = json.dumps({{"script": sys.stdin.read(), "arguments": sys.argv[1:]}})
    line.sendall(asked.encode() + b"\\n")
    answer = json.loads(line.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["error"])
sys.exit(answer["status"])
"""
_SCHEMA = """
CREATE TABLE message (
    ROWID INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT UNIQUE NOT NULL, text TEXT,
    handle_id INTEGER DEFAULT 0, service TEXT, attributedBody BLOB, date INTEGER,
    is_from_me INTEGER DEFAULT 0, error INTEGER DEFAULT 0, is_sent INTEGER DEFAULT 0,
    is_delivered INTEGER DEFAULT 0, item_type INTEGER DEFAULT 0,
    associated_message_type INTEGER DEFAULT 0, associated_message_guid TEXT,
    cache_has_attachments INTEGER DEFAULT 0, is_audio_message INTEGER DEFAULT 0{newer});
CREATE TABLE handle (ROWID INTEGER PRIMARY KEY, id TEXT, service TEXT);
CREATE TABLE chat (ROWID INTEGER PRIMARY KEY, guid TEXT UNIQUE, style INTEGER,
    chat_identifier TEXT, display_name TEXT);
CREATE TABLE chat_message_join (chat_id INTEGER, message_id INTEGER);
CREATE TABLE attachment (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT, filename TEXT,
    mime_type TEXT, transfer_name TEXT, total_bytes INTEGER, transfer_state INTEGER{sticker});
CREATE TABLE message_attachment_join (message_id INTEGER, attachment_id INTEGER);
"""
_NEWER = """,
    date_edited INTEGER DEFAULT 0, date_retracted INTEGER DEFAULT 0,
    associated_message_emoji TEXT, thread_originator_guid TEXT"""


@dataclass(slots=True)
class Sent:
    """One message that people got. `chat` is its guid, `file` the content of a file."""

    chat: str
    text: str
    guid: str
    at: float
    file: bytes | None = None


@dataclass(slots=True)
class Fault:
    """What the next script does wrong: `number` an error before it is sent (or after, with
    `sent`); `silent` ends well without sending; `error` is the row's; `seconds` late; `match`: only
    scripts with this among their arguments."""

    number: int = 0
    sent: bool = False
    silent: bool = False
    error: int = 0
    seconds: float = 0.0
    text: str = ""
    match: str = ""


class FakeMac:
    """A home folder with chat.db, the stand-in, and Messages. A context manager."""

    def __init__(self, folder: Path, *, old: bool = False) -> None:
        """`old`: columns and times as before macOS 10.13."""
        self.folder, self.old = folder, old
        self.db = folder / "Library" / "Messages" / "chat.db"
        self.osascript = folder / "osascript"
        self.sent: list[Sent] = []
        self.scripts: list[list[str]] = []
        self.weather: Weather | None = None
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._guids = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._short = tempfile.mkdtemp(prefix="mac")  # a socket's path is at most 107 bytes

    def __enter__(self) -> FakeMac:
        self.db.parent.mkdir(parents=True)
        (self.db.parent / "Attachments").mkdir()
        with closing(self._open()) as db:
            newer = "" if self.old else _NEWER
            sticker = "" if self.old else ", is_sticker INTEGER DEFAULT 0"
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA.format(newer=newer, sticker=sticker))
        socket = f"{self._short}/socket"
        self.osascript.write_text(_STAND_IN.format(python=sys.executable, socket=socket))
        self.osascript.chmod(0o700)
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(socket, started)), daemon=True
        )
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        with suppress(OSError):
            os.unlink(f"{self._short}/socket")
            os.rmdir(self._short)

    # --- what a test does ---------------------------------------------------

    def say(self, person: int, text: str | None = None, chat: str = "", **columns: Any) -> int:
        """A person writes directly, or in a chat `…;+;…`; the text stands in attributedBody.

        `files=[…]` from `attach`; `joined=False` leaves out the chat for now.
        """
        number = f"+{FIRST_NUMBER + person}"
        blob = attributed(text) if text is not None else None
        return self._add(chat or f"iMessage;-;{number}", number, attributedBody=blob, **columns)

    def attach(self, name: str, content: bytes, mime: str, **columns: Any) -> int:
        """A file as Messages keeps it. Returns its row, for `say(files=[…])`."""
        path = self.db.parent / "Attachments" / "ab" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        shown = f"~/Library/Messages/Attachments/ab/{name}"
        with self._lock, closing(self._open()) as db, db:
            return self._file(db, shown, name, len(content), mime, **columns)

    def join(self, row: int, chat: str) -> None:
        """The chat of a message that was said with `joined=False`."""
        with self._lock, closing(self._open()) as db, db:
            self._join(db, row, chat)

    def change(self, row: int, **columns: Any) -> None:
        """Other columns of a message."""
        names = ", ".join(f"{name} = ?" for name in columns)
        with self._lock, closing(self._open()) as db, db:
            sql = f"UPDATE message SET {names} WHERE ROWID = ?"
            db.execute(sql, (*columns.values(), row))

    def guid(self, row: int) -> str:
        """The guid of a message."""
        with closing(self._open()) as db:
            sql = "SELECT guid FROM message WHERE ROWID = ?"
            return str(db.execute(sql, (row,)).fetchone()[0])

    def forget(self, row: int) -> None:
        """A message is gone, as if it had never been there."""
        with self._lock, closing(self._open()) as db, db:
            db.execute("DELETE FROM message WHERE ROWID = ?", (row,))
            db.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'message'")

    def fail(self, times: int = 1, **what: Any) -> None:
        """The next scripts go wrong: see `Fault`."""
        self._faults += [Fault(**what) for _ in range(times)]

    def texts(self) -> list[str]:
        """What people got, in order."""
        return [one.text for one in list(self.sent)]

    def stamp(self, at: float | None = None) -> int:
        """Unix time as this Mac writes it."""
        seconds = (time.time() if at is None else at) - EPOCH
        return int(seconds) if self.old else int(seconds * 1_000_000_000)

    # --- Messages -----------------------------------------------------------

    async def _serve(self, socket: str, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_unix_server(self._answer, socket, limit=1024 * 1024)
        started.set()
        await self._stop.wait()
        server.close()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)  # their sockets close in the loop's next round

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            answer = await self._do(asked["script"], asked["arguments"])
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:  # whoever asked is gone
            return
        finally:
            writer.close()

    async def _do(self, script: str, arguments: list[str]) -> dict[str, Any]:
        fault = self._fault(str(arguments)) or self._weather(arguments)
        await asyncio.sleep(fault.seconds)
        if fault.number and not fault.sent:
            return _failed(fault)
        if script == HELLO:
            return {"status": 0, "out": "bot@example.com\n", "error": ""}
        if script != SCRIPT:
            assert SCRIPT.startswith(script) or HELLO.startswith(script), script
            return {"status": 1, "out": "", "error": "half a script: who wrote it was killed\n"}
        assert arguments[0] == "-"
        self.scripts.append(arguments[1:])
        if not fault.silent and not self._deliver(*arguments[1:], error=fault.error):
            return _failed(Fault(number=-1728))
        return _failed(fault) if fault.number else {"status": 0, "out": "", "error": ""}

    def _fault(self, arguments: str) -> Fault | None:
        for fault in self._faults:
            if fault.match in arguments:
                self._faults.remove(fault)
                return fault
        return None

    def _weather(self, arguments: list[str]) -> Fault:
        if self.weather is None:
            return Fault()
        match self.weather.on_call(" ".join(arguments[1:4])):
            case "lost" | "busy" | "broken":
                return Fault(number=-600)
            case "cut":
                return Fault(number=-1712, sent=True)
            case "slow":
                return Fault(seconds=self.weather.pause())
        return Fault()

    def _deliver(
        self, kind: str, service: str, target: str, what: str, value: str, *, error: int
    ) -> bool:
        chat = f"{service};-;{target}" if kind == "person" else self._group(target)
        if not chat:
            return False
        content, files = None, []
        if what == "file":
            content = Path(value).read_bytes()
            with self._lock, closing(self._open()) as db, db:
                files = [self._file(db, value, Path(value).name, len(content), "")]
        blob = None if what == "file" else attributed(value)
        row = self._add(
            chat, "", attributedBody=blob, is_from_me=1, error=error, files=files, at_once=True
        )
        if not error:
            text = "" if what == "file" else value
            self.sent.append(Sent(chat, text, self.guid(row), time.monotonic(), content))
        return True

    def _group(self, end: str) -> str:
        with closing(self._open()) as db:
            row = db.execute("SELECT guid FROM chat WHERE guid LIKE ?", (f"%{end}",)).fetchone()
        return row[0] if row else ""

    # --- rows ---------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.db, timeout=10)

    def _add(
        self,
        chat: str,
        sender: str,
        *,
        files: Any = (),
        joined: bool = True,
        at_once: bool = False,
        **columns: Any,
    ) -> int:
        way = self.weather.on_push() if self.weather and not at_once else Push()
        with self._lock, closing(self._open()) as db, db:
            self._guids += 1
            fields: dict[str, Any] = {
                "guid": f"GUID-{self._guids:06d}",
                "service": chat.partition(";")[0],
                "date": self.stamp(),
                "handle_id": self._handle(db, sender) if sender else 0,
                "cache_has_attachments": int(bool(files)),
                **columns,
            }
            names, marks = ", ".join(fields), ", ".join("?" * len(fields))
            sql = f"INSERT INTO message ({names}) VALUES ({marks})"
            row = int(db.execute(sql, list(fields.values())).lastrowid or 0)
            for file in files:
                db.execute("INSERT INTO message_attachment_join VALUES (?, ?)", (row, file))
            if joined and not way.delay:
                self._join(db, row, chat)
        if joined and way.delay:
            threading.Timer(way.delay, self.join, (row, chat)).start()
        return row

    def _handle(self, db: sqlite3.Connection, address: str) -> int:
        found = db.execute("SELECT ROWID FROM handle WHERE id = ?", (address,)).fetchone()
        if found:
            return int(found[0])
        return int(db.execute("INSERT INTO handle (id) VALUES (?)", (address,)).lastrowid or 0)

    def _join(self, db: sqlite3.Connection, row: int, chat: str) -> None:
        found = db.execute("SELECT ROWID FROM chat WHERE guid = ?", (chat,)).fetchone()
        if found is None:
            style = 43 if ";+;" in chat else 45
            cursor = db.execute("INSERT INTO chat (guid, style) VALUES (?, ?)", (chat, style))
            found = (cursor.lastrowid,)
        db.execute("INSERT INTO chat_message_join VALUES (?, ?)", (found[0], row))

    def _file(
        self, db: sqlite3.Connection, path: str, name: str, size: int, mime: str, **columns: Any
    ) -> int:
        fields = {
            "guid": f"AT-{path}",
            "filename": path,
            "mime_type": mime,
            "transfer_name": name,
            "total_bytes": size,
            "transfer_state": 5,
            **columns,
        }
        names, marks = ", ".join(fields), ", ".join("?" * len(fields))
        sql = f"INSERT INTO attachment ({names}) VALUES ({marks})"
        return int(db.execute(sql, list(fields.values())).lastrowid or 0)

    def wait_for(self, holds: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Blocks until `holds()` is true."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, f"not within {seconds} s; sent: {self.texts()[-5:]}"
            time.sleep(0.02)
        return found


def _failed(fault: Fault) -> dict[str, Any]:
    words = fault.text or "Messages got an error: something."
    said = f"execution error: {words} ({fault.number})\n"
    return {"status": 1, "out": "", "error": said}


def main() -> None:
    """Blocks until an empty line."""
    argparse.ArgumentParser(description="A fake Mac with Messages.").parse_args()
    with tempfile.TemporaryDirectory() as folder, FakeMac(Path(folder) / "mac") as mac:
        print(f"OPENCLAW_IMESSAGE_DB={mac.db} OPENCLAW_IMESSAGE_OSASCRIPT={mac.osascript}")
        print(f"OPENCLAW_IMESSAGE_FOLDER={folder}/pictures")
        while line := input("say: "):
            mac.say(5, line)
            time.sleep(2)
            print(mac.texts()[-3:])


if __name__ == "__main__":
    main()
