"""What a BlueBubbles server shows: its message objects as ours."""

from __future__ import annotations

import re
from typing import Any

from adapters._fields import Json, moment, obj, objects, text, whole
from adapters._imessage_text import (
    EMOJI_REACTION,
    GROUP_STYLE,
    NAMES,
    ON_A_BUBBLE,
    REACTIONS,
    STICKER,
    Called,
    kind_of,
    person,
    target_of,
)
from adapters._recent import Recent
from adapters._rest import excerpt
from adapters._text import clean
from adapters.base import Inbound, Media, Quote, Rejected, Unreadable, Unsupported

MAX_EDITS = 1000
MAX_OURS = 10_000
"""Messages of our own that are known when somebody replies to them in a group."""

_OBJECT = "\ufffc"
_REACTED = re.compile(r"Reacted (\S+) to ")


class Events:
    """Reads them, and knows `ours`: the guids of what we said ourselves."""

    def __init__(self, name: str) -> None:
        """`name` is what people call the bot in groups."""
        self._called = Called(name)
        self._edits: Recent[tuple[str, int], None] = Recent(MAX_EDITS)
        self.ours: Recent[str, None] = Recent(MAX_OURS)

    def edit(self, message: Json) -> Inbound:
        """An edit. What was delivered or read is updated, too, and shows an older edit again."""
        found = self.read(message, is_edit=True)
        edited = whole(message, "dateEdited", 0) or 0
        if not self._edits.note((found.external_id, edited), None):
            raise Unsupported("an edit that is known")
        return found

    def read(self, message: Json, *, is_edit: bool = False) -> Inbound:
        """One message object. Raises `Unsupported` or `Unreadable`."""
        if message.get("isFromMe"):
            if isinstance(mine := message.get("guid"), str):
                self.ours.note(mine, None)
            raise Unsupported("our own message")
        if message.get("itemType"):
            raise Unsupported("a change of the group")
        if is_edit and not message.get("dateEdited"):
            raise Unsupported("delivered or read")
        chats = objects(message, "chats")
        if not chats:
            raise Unreadable("a message without a chat")
        about = message.get("associatedMessageType")
        kind = NAMES.get(about, 0) if isinstance(about, str) else about or 0
        is_group = whole(chats[0], "style", 0) == GROUP_STYLE
        words = clean(text(message, "text", "").replace(_OBJECT, "")).strip()
        guid, address = text(message, "guid"), text(obj(message, "handle"), "address")
        chat, at = clean(text(chats[0], "guid")), moment(date_of(message) / 1000)
        target = target_of(text(message, "associatedMessageGuid", ""))
        if about not in (None, "", 0, "0") and (kind != STICKER or target):
            return Inbound(
                guid,
                person(address),
                chat,
                _reaction(kind, message),
                sent_at=at,
                is_group=is_group,
                addressed=False,
                passive=True,
                quote=Quote("", external_id=clean(target)) if target else None,
            )
        original = clean(text(message, "threadOriginatorGuid", ""))
        means_us = original in self.ours or self._called.means_us(words)
        return Inbound(
            guid,
            person(address),
            chat,
            self._called.without_name(words) if is_group else words,
            sent_at=at,
            is_group=is_group,
            addressed=not is_group or means_us,
            is_edit=is_edit,
            media=[_media(one, message) for one in objects(message, "attachments")],
            quote=Quote("", external_id=original) if original else None,
        )


def rejected(message: Any, error: Unreadable) -> Rejected:
    """A message object that could not be read."""
    guid = message.get("guid") if isinstance(message, dict) else ""
    return Rejected(clean(str(guid or ""))[:200], error.reason, excerpt(message))


def date_of(message: Json) -> int:
    """When it was written, in milliseconds."""
    return whole(message, "dateCreated", 0) or 0


def _reaction(kind: Any, message: Json) -> str:
    """What was put under a message. Raises `Unsupported` where it was taken back or is unknown."""
    if kind == STICKER:
        return ON_A_BUBBLE
    if kind == EMOJI_REACTION:
        found = _REACTED.match(text(message, "text", ""))
        shown = text(message, "associatedMessageEmoji", "") or (found[1] if found else "")
    else:
        shown = REACTIONS.get(kind, "") if isinstance(kind, int) else ""
    if not shown:
        raise Unsupported("a reaction that was taken back, or of an unknown kind")
    return f"reacted {clean(shown)[:64]}"


def _media(file: Json, message: Json) -> Media:
    mime, name = text(file, "mimeType", ""), text(file, "transferName", "")
    audio = bool(message.get("isAudioMessage"))
    return Media(
        kind=kind_of(mime, name, is_audio=audio, is_sticker=bool(file.get("isSticker"))),
        handle=clean(text(file, "guid")),
        mime=clean(mime),
        name=clean(name),
        size=whole(file, "totalBytes"),
    )
