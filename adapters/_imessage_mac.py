"""iMessage on this Mac: chat.db tells what came, Messages sends by a script, chat.db confirms.

The script gets what it sends as arguments, never as source, so no text can
become a command. That it ends well proves nothing: a part counts as sent when
its row stands in chat.db. Before each send the highest row is noted in a file,
so that after a crash it can be told which row would be this part's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from adapters._imessage_db import ChatDb, Row, now
from adapters._imessage_read import Reader
from adapters._imessage_text import last_part
from adapters.base import (
    ChannelDown,
    Inlet,
    Media,
    Outbound,
    Receipt,
    Refused,
    SendError,
    Transient,
    Unsure,
)

SCRIPT = """\
on run argv
  set {toWhom, theService, theTarget, theKind, theValue} to argv
  with timeout of 25 seconds
    tell application "Messages"
      if toWhom is "person" then
        if theService is "SMS" then
          set theReceiver to participant theTarget of (1st account whose service type = SMS)
        else
          set theReceiver to participant theTarget of (1st account whose service type = iMessage)
        end if
      else
        set theReceiver to missing value
        repeat with oneChat in chats
          if id of oneChat ends with theTarget then set theReceiver to contents of oneChat
        end repeat
        if theReceiver is missing value then error "no such chat" number -1728
      end if
      if theKind is "file" then
        send (POSIX file theValue) to theReceiver
      else
        send theValue to theReceiver
      end if
    end tell
  end timeout
end run
"""
HELLO = 'tell application "Messages" to get id of (1st account whose service type = iMessage)\n'

SCRIPT_SECONDS = 35.0
CONFIRM_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.2
FILE_SECONDS = 2 * 24 * 3600.0
"""Files laid out for Messages are kept this long."""

NOTE_SECONDS = 60 * 24 * 3600.0
"""Notes of sends are kept this long: one may wait for an operator's word, and without its
note it would count as never tried."""

_NUMBER = re.compile(r"\((-?\d+)\)\s*$")
_DOWN = {
    -1743: "macOS does not let us control Messages: in System Settings, Privacy & Security, "
    "Automation, allow {program} to control Messages",
}
_REFUSED = (-1728, -1700)  # no such person or chat
_NOT_SENT = (-600,)  # Messages is not running
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Mac:
    """The database, the script, and a folder that Messages may read files from."""

    def __init__(self, db: Path, osascript: str, folder: Path, name: str) -> None:
        self._program = os.path.realpath(sys.executable)  # a venv's link has no permission
        self._db = ChatDb(db, self._program)
        self._osascript, self._folder = osascript, folder
        self._reader = Reader(self._db, name)
        self._one_script = asyncio.Lock()

    async def open(self) -> None:
        """Raises `ChannelDown` that says which permission is missing."""
        await asyncio.to_thread(self._reader.first)
        await asyncio.to_thread(self._sweep)

    async def probe(self) -> str:
        """Whether all permissions are there."""
        rows = await asyncio.to_thread(self._db.highest)
        if not shutil.which(self._osascript):
            raise ChannelDown(f"there is no {self._osascript}: is this a Mac?")
        answer = await self._script(HELLO)
        return f"chat.db has {rows} messages; Messages answers as {answer.strip() or 'nobody'}"

    async def listen(self, inlet: Inlet) -> None:
        """Runs until cancelled."""
        await self._reader.listen(inlet)

    # --- sending ------------------------------------------------------------

    async def send(self, outbound: Outbound, text: str) -> Receipt:
        """One text, or one file and no text."""
        value = text
        if outbound.file is not None:
            value = str(await asyncio.to_thread(self._lay_out, outbound))
        chat = outbound.chat_id
        group = ";+;" in chat
        target = f";{last_part(chat)}" if group else last_part(chat)
        what = "text" if outbound.file is None else "file"
        kind = "group" if group else "person"
        async with self._one_script:
            before = await asyncio.to_thread(self._db.highest)
            await asyncio.to_thread(self._note, outbound.key, before)  # what waits has no note
            await self._run(SCRIPT, kind, _account(outbound), target, what, value)
        row = await self._confirmed(outbound, text, before)
        if row is None:
            raise Unsure(f"Messages has not sent it within {CONFIRM_SECONDS:.0f} s")
        return _receipt(row)

    async def settle(self, outbound: Outbound, text: str) -> Receipt | None:
        """The row of an earlier try, if it is there; None where it certainly was not sent.

        A Messages that hung may do what it was asked for as soon as it goes on. It does
        one thing after the other: when it answers us, what was asked before is done.
        """
        before = await asyncio.to_thread(self._noted, outbound.key)
        if before is None:
            return None  # it is noted before the script starts
        row = None
        with contextlib.suppress(Unsure):
            row = await self._look(outbound, text, before)
        if row is None:
            await self._answers()
            row = await self._confirmed(outbound, text, before)  # a script may still be at work
        return None if row is None else _receipt(row)

    async def _answers(self) -> None:
        """Raises `Unsure` where Messages does not answer."""
        try:
            await self._script(HELLO)
        except (Transient, Refused) as failure:
            raise Unsure(failure.detail) from None

    async def _confirmed(self, outbound: Outbound, text: str, before: int) -> Row | None:
        """Its row, within half a minute. Raises `Unsure` where it cannot be read at the end."""
        until = time.monotonic() + CONFIRM_SECONDS
        while True:
            is_last = time.monotonic() > until
            try:
                row = await self._look(outbound, text, before)
            except Unsure:
                if is_last:
                    raise
            else:
                if row is not None or is_last:
                    return row
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _look(self, outbound: Outbound, text: str, before: int) -> Row | None:
        file = outbound.file.name if outbound.file else ""
        try:
            return await asyncio.to_thread(self._db.sent, before, outbound.chat_id, text, file)
        except Transient as failure:
            raise Unsure(failure.detail) from None

    async def _script(self, source: str) -> str:
        """What the script printed. One at a time: Messages does them one by one anyway."""
        async with self._one_script:
            return await self._run(source)

    async def _run(self, source: str, *arguments: str) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                self._osascript,
                "-",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            reason = f"{self._osascript} cannot be started: {error.strerror}"
            raise ChannelDown(reason) from None
        except ValueError as error:  # a NUL among the arguments
            raise Refused(str(error)) from None
        try:
            async with asyncio.timeout(SCRIPT_SECONDS):
                out, err = await process.communicate(source.encode())
        except TimeoutError:
            raise Unsure("Messages does not answer") from None
        finally:
            if process.returncode is None:  # the script ends with us
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())
        if process.returncode:
            raise self._translated(err.decode("utf-8", "replace"))
        return out.decode("utf-8", "replace")

    def _translated(self, said: str) -> SendError:
        match = _NUMBER.search(said.strip())
        number = int(match[1]) if match else 0
        if number in _DOWN:
            return ChannelDown(_DOWN[number].format(program=self._program))
        if number in _REFUSED:
            return Refused(f"Messages knows no such person or chat ({number})")
        if number in _NOT_SENT:
            return Transient(f"Messages is not running ({number})")
        return Unsure(f"the script failed ({number})")

    # --- notes and files ----------------------------------------------------

    def _note(self, key: str, before: int) -> None:
        path = self._place(key) / "before.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(before))
        draft.replace(path)

    def _noted(self, key: str) -> int | None:
        try:
            found = json.loads((self._place(key) / "before.json").read_text())
        except (OSError, ValueError):
            return None
        return found if type(found) is int else None

    def _lay_out(self, outbound: Outbound) -> Path:
        """Copy the file to where Messages, which is sandboxed, may read it."""
        assert outbound.file is not None
        path = self._place(outbound.key) / "file" / outbound.file.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(outbound.file.path, path)
        return path

    def _place(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise Refused("no such delivery")
        place = self._folder / key
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place

    def _sweep(self) -> None:
        for place in self._folder.glob("*"):
            if not _KEY.fullmatch(place.name) or place.is_symlink():
                continue
            age = now() - place.stat().st_mtime
            if age > FILE_SECONDS:
                gone = place if age > NOTE_SECONDS else place / "file"
                shutil.rmtree(gone, ignore_errors=True)

    # --- files that came ----------------------------------------------------

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """The bytes of a file below Messages' own folder, and of no other."""
        path = await asyncio.to_thread(self._file, media.handle)
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, 256 * 1024):
                yield piece

    def _file(self, handle: str) -> Path:
        folder = (self._db.path.parent / "Attachments").resolve()
        path = Path(handle.replace("~/Library/Messages", str(self._db.path.parent), 1)).resolve()
        if not path.is_relative_to(folder):
            raise Refused("the file does not lie among Messages' own")
        if not path.is_file():
            raise Transient("the file is not there yet")
        return path


def _account(outbound: Outbound) -> str:
    """The account that reaches this chat: SMS and RCS go by the telephone's.

    Where nobody has written yet, only the chat's guid can tell.
    """
    service = outbound.target.get("service") or outbound.chat_id.partition(";")[0]
    return "SMS" if service in ("SMS", "RCS") else "iMessage"


def _receipt(row: Row) -> Receipt:
    if row["error"]:
        raise Refused(f"Messages could not deliver it (error {row['error']})")
    return Receipt(str(row["guid"]))


def mac_from(config: Any) -> Mac:
    """The Mac that a configuration means; `~` is the home of who runs us."""
    db, folder = Path(config.db).expanduser(), Path(config.folder).expanduser()
    return Mac(db, config.osascript, folder, config.name)
