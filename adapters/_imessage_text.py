"""What a row of chat.db or an object of BlueBubbles says: text, reactions, kinds of files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typedstream  # type: ignore[import-untyped]  # it has no types

from adapters._phone import e164
from adapters._text import clean

GROUP_STYLE = 43  # "+", 45 is "-": one person
REACTIONS = {
    2000: "❤️",
    2001: "👍",
    2002: "👎",
    2003: "😂",
    2004: "‼️",
    2005: "❓",
}
EMOJI_REACTION = 2006
STICKER = 1000
NAMES = {  # as BlueBubbles writes them
    "love": 2000,
    "like": 2001,
    "dislike": 2002,
    "laugh": 2003,
    "emphasize": 2004,
    "question": 2005,
    "emoji": EMOJI_REACTION,
    "sticker": STICKER,
}
_BROKEN = (
    typedstream.InvalidTypedStreamError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RecursionError,
)
ON_A_BUBBLE = "reacted with a sticker"
_OBJECT = "\ufffc"  # stands in the text where a file is
_COMMAND = re.compile(r"/[a-z]+(?!\S)", re.IGNORECASE)
_TARGET = re.compile(r"(?:p:\d+/|bp:)?(.+)")


class Called:
    """What people call the bot in groups, where nobody can be mentioned."""

    def __init__(self, name: str) -> None:
        known = rf"(?<!\w)@?{re.escape(name)}(?!\w)"
        self._known = re.compile(known, re.IGNORECASE) if name else None

    def means_us(self, text: str) -> bool:
        """Whether a group's message is for us: it has the name, or is a command."""
        named = self._known is not None and self._known.search(text) is not None
        return named or _COMMAND.match(text) is not None

    def without_name(self, text: str) -> str:
        """A command without the name before it. Elsewhere the name is a word like others."""
        found = self._known.match(text) if self._known else None
        rest = text[found.end() :].lstrip(" ,:") if found else ""
        return rest if _COMMAND.match(rest) else text


def text_of(text: str | None, body: bytes | None) -> str:
    """The text of a message. macOS mostly keeps it in `attributedBody` only.

    A blob that cannot be read is no text, so that one message blocks no other.
    """
    if not text and body:
        try:
            text = next(_strings(typedstream.unarchive_from_data(body)), "")
        except _BROKEN:
            text = ""
    return clean((text or "").replace(_OBJECT, "")).strip()


def _strings(archived: Any) -> Iterator[str]:
    """The texts in an attributed string, in their order; the first is what was written."""
    for group in getattr(archived, "contents", ()):
        for value in getattr(group, "values", ()):
            found = getattr(value, "value", None)
            if isinstance(found, str):
                yield found


def target_of(associated: str | None) -> str:
    """The guid of the message that a reaction is about: `p:0/GUID` or `bp:GUID`."""
    match = _TARGET.fullmatch(associated or "")
    return match[1] if match else ""


def person(address: str) -> str:
    """A person's address as an id: a telephone number as E.164, or an address in lower case."""
    return e164(clean(address)).casefold()[:255]


def kind_of(mime: str, name: str, *, is_audio: bool = False, is_sticker: bool = False) -> str:
    """Our kind of a file; its content decides later."""
    if is_sticker:
        return "sticker"
    if is_audio or name.lower().endswith(".caf"):
        return "voice"
    family = mime.partition("/")[0]
    return family if family in ("image", "video", "audio") else "file"


def last_part(chat: str) -> str:
    """What names a chat whatever macOS puts before it: `iMessage;-;+1555` and `any;-;+1555`."""
    return chat.rpartition(";")[2]
