"""Reading chat.db for ever: rows in order, each once, none skipped before it is complete."""

from __future__ import annotations

import asyncio
import time

from adapters._fields import moment
from adapters._imessage_db import ChatDb, Row, now
from adapters._imessage_place import Place, first_place, place_of
from adapters._imessage_text import (
    EMOJI_REACTION,
    GROUP_STYLE,
    ON_A_BUBBLE,
    REACTIONS,
    STICKER,
    Called,
    kind_of,
    person,
    target_of,
)
from adapters._text import clean
from adapters.base import (
    ChannelDown,
    Inbound,
    Inlet,
    Media,
    Quote,
    SendError,
    Unsupported,
)

POLL_SECONDS = 1.0
IDLE_POLL_SECONDS = 0.25  # between looks at the files' times, which cost next to nothing
GRACE_SECONDS = 5.0
"""A row that is not complete after this long is taken as it is."""

EDIT_SECONDS = 7 * 24 * 3600.0
SAVE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0


class Reader:
    """One database. `name` is what people call the bot in groups."""

    def __init__(self, db: ChatDb, name: str) -> None:
        self._db = db
        self._called = Called(name)
        self._first_seen: dict[int, float] = {}
        self._first: Place | None = None

    def first(self) -> Place:
        """Where the very first start begins: behind what is there at the first call.

        Asked for before the channel counts as up, so that what is written while the
        listener is still starting is answered. Blocks.
        """
        highest = self._db.highest()
        self._first = self._first or first_place(highest, now())
        return self._first

    async def listen(self, inlet: Inlet) -> None:
        """Look whenever the files change, and every second; runs until cancelled."""
        place = place_of(await inlet.cursor())
        if place is None:
            place = await asyncio.to_thread(self.first)
            await inlet.accept([], place.text())
        saved, pause = time.monotonic(), POLL_SECONDS
        while True:
            try:
                moved = await self._round(place, inlet)
            except ChannelDown:
                raise
            except SendError as failure:
                inlet.failing(failure.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            inlet.alive()
            pause = POLL_SECONDS
            if moved or time.monotonic() - saved > SAVE_SECONDS:
                saved = time.monotonic()
                await inlet.accept([], place.text())
            if not moved:
                await self._wait()

    async def _round(self, place: Place, inlet: Inlet) -> bool:
        """Hand over what is new. Whether the place moved; it is kept with the messages."""
        since = place.oldest(now())
        if await asyncio.to_thread(self._db.highest) < place.row:
            place.row = 0  # the database was built anew: what is known is dropped by its guid
        news = await asyncio.to_thread(self._db.news, place.row, since)
        ready = self._ready(news.rows)
        reached = news.highest if len(ready) == len(news.rows) else place.row
        reached = ready[-1]["row"] if ready and len(ready) < len(news.rows) else reached
        edits = await asyncio.to_thread(self._db.edited, place.edited, now() - EDIT_SECONDS)
        found = [one for row in ready if (one := await self._inbound(row))]
        changed = [one for row in edits if (one := await self._inbound(row, is_edit=True))]
        moved = reached != place.row or bool(edits)
        place.row = reached
        place.looked(now(), (row.sent_at for row in ready))
        place.edited = max([place.edited, *(row["date_edited"] for row in edits)])
        if found or changed:
            await inlet.accept([*found, *changed], place.text())
        return moved

    def _ready(self, rows: list[Row]) -> list[Row]:
        """Those before the first that is still being written."""
        ready = []
        for row in rows:
            since = self._first_seen.setdefault(row["row"], time.monotonic())
            if not row.is_complete and time.monotonic() - since < GRACE_SECONDS:
                break
            self._first_seen.pop(row["row"], None)
            ready.append(row)
        return ready

    async def _wait(self) -> None:
        """Until the database's files change, or a second has passed."""
        before = self._stamp()
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until and self._stamp() == before:  # noqa: ASYNC110  (a file's)
            await asyncio.sleep(IDLE_POLL_SECONDS)

    def _stamp(self) -> list[tuple[int, int]]:
        found = []
        for path in (self._db.path, self._db.path.with_name(self._db.path.name + "-wal")):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime_ns, status.st_size))
        return found

    async def _inbound(self, row: Row, *, is_edit: bool = False) -> Inbound | None:
        try:
            return await asyncio.to_thread(self._read, row, is_edit)
        except Unsupported:
            return None

    def _read(self, row: Row, is_edit: bool) -> Inbound:
        """Raises `Unsupported` for what is no message of somebody else's."""
        if row["is_from_me"] or row["item_type"] or row["chat"] is None or not row["sender"]:
            raise Unsupported("not a message of somebody else")
        kind = row["associated_message_type"] or 0
        if kind and (kind != STICKER or target_of(row["associated_message_guid"])):
            return self._reaction(row, kind)
        media = [_media(one, bool(row["is_audio_message"])) for one in row.files]
        text, original = row.text, row["thread_originator_guid"]
        is_group = row["style"] == GROUP_STYLE
        answers_us = bool(original) and self._db.ours(original)
        words = self._db.words(original) if original else ""
        return Inbound(
            external_id=str(row["guid"]),
            user_id=person(row["sender"]),
            chat_id=clean(row["chat"]),
            text=self._called.without_name(text) if is_group else text,
            sent_at=moment(row.sent_at),
            is_group=is_group,
            addressed=not is_group or answers_us or self._called.means_us(text),
            is_edit=is_edit,
            target=_service(row),
            media=media,
            quote=Quote(words, "", original) if words else None,
        )

    def _reaction(self, row: Row, kind: int) -> Inbound:
        emoji = row["associated_message_emoji"] if kind == EMOJI_REACTION else REACTIONS.get(kind)
        if not emoji and kind != STICKER:
            raise Unsupported("a reaction that was taken back, or of a kind that we do not know")
        target = target_of(row["associated_message_guid"])
        return Inbound(
            external_id=str(row["guid"]),
            user_id=person(row["sender"]),
            chat_id=clean(row["chat"]),
            text=ON_A_BUBBLE if kind == STICKER else clean(f"reacted {emoji}"),
            sent_at=moment(row.sent_at),
            is_group=row["style"] == GROUP_STYLE,
            addressed=False,
            passive=True,
            quote=Quote(words, "", target) if (words := self._db.words(target)) else None,
        )


def _service(row: Row) -> dict[str, str]:
    """What a reply needs: by which service it came. A chat's guid does not tell it everywhere."""
    service = row["service"]
    return {"service": clean(service)} if isinstance(service, str) and service else {}


def _media(file: dict[str, object], is_audio: bool) -> Media:
    mime, name = str(file["mime"] or ""), str(file["name"] or "")
    size = file["size"]
    return Media(
        kind=kind_of(mime, name, is_audio=is_audio, is_sticker=bool(file["sticker"])),
        handle=clean(str(file["path"] or "")),
        mime=clean(mime),
        name=clean(name),
        size=size if isinstance(size, int) and size > 0 else None,
    )
