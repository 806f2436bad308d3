"""What a message of ours holds, as the Cloud API takes it.

Types: developers.facebook.com/docs/whatsapp/cloud-api/reference/media#supported-media-types
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapters._text import cut, length
from adapters.base import Button, File, Location, Refused

MAX_TITLE, MAX_BUTTON_ID, MAX_BUTTON_TEXT, MAX_CAPTION = 20, 256, 1024, 1024

_SHOWN = {  # what is shown as what; everything else that can be uploaded is a document
    "image": ("image/jpeg", "image/png"),
    "sticker": ("image/webp",),
    "audio": ("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"),
    "video": ("video/mp4", "video/3gpp"),
}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_UPLOADABLE = {
    *(mime for mimes in _SHOWN.values() for mime in mimes),
    "application/pdf",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    f"{_OFFICE}.wordprocessingml.document",
    f"{_OFFICE}.spreadsheetml.sheet",
    f"{_OFFICE}.presentationml.presentation",
}


def uploadable(file: File) -> File | None:
    """The file as Graph takes it: every text as plain text. None where it takes no such file."""
    mime = _bare(file)
    if mime.startswith("text/"):
        return replace(file, mime="text/plain")
    return file if mime in _UPLOADABLE else None


def as_file(file: File, handle: str, caption: str) -> dict[str, Any]:
    """An uploaded file, shown as what it is where that can have the caption."""
    kind = _kind(file)
    media: dict[str, Any] = {"id": handle}
    if caption and kind not in ("image", "video"):
        kind = "document"  # the others have no caption
    if kind == "document":
        media["filename"] = file.name
    if caption:
        media["caption"] = cut(caption, MAX_CAPTION, "utf16")
    return {"type": kind, kind: media}


def as_link(file: File, caption: str) -> dict[str, Any]:
    """A file that Graph does not take, as a link to it. Raises `Refused` where there is none."""
    if not file.url:
        raise Refused(f"WhatsApp takes no file of type {file.mime}, and there is no link to it")
    line = f"{file.name}: {file.url}"
    return as_text(f"{caption}\n{line}" if caption else line)


def as_text(text: str) -> dict[str, Any]:
    """A text without a preview of its links."""
    return {"type": "text", "text": {"body": text, "preview_url": False}}


def as_location(location: Location) -> dict[str, Any]:
    """A place on the map."""
    place = {"latitude": location.latitude, "longitude": location.longitude}
    named = {**place, "name": location.name} if location.name else place
    return {"type": "location", "location": named}


def as_buttons(text: str, buttons: Sequence[Button]) -> dict[str, Any]:
    """A text with buttons under it; with lines instead where Graph would not take them.

    It takes neither long titles and ids nor two that are alike, and of what is cut
    short nobody could tell which is which.
    """
    titles, ids = {one.text for one in buttons}, {one.value for one in buttons}
    taken = (
        length(text, "utf16") <= MAX_BUTTON_TEXT
        and len(titles) == len(ids) == len(buttons)
        and all(length(title, "utf16") <= MAX_TITLE for title in titles)
        and all(length(one, "utf16") <= MAX_BUTTON_ID for one in ids)
    )
    if not taken:
        return as_text("\n".join([text, *(f"• {button.text}" for button in buttons)]))
    replies = [{"type": "reply", "reply": {"id": one.value, "title": one.text}} for one in buttons]
    body = {"type": "button", "body": {"text": text}, "action": {"buttons": replies}}
    return {"type": "interactive", "interactive": body}


def _kind(file: File) -> str:
    """As what a file goes out: by its content, and a `file` (too large for more) as that."""
    mime = _bare(file)
    kind = {"voice": "audio", "animation": "video"}.get(file.kind, file.kind)
    if kind == "sticker" and mime not in _SHOWN[kind]:
        kind = "image"
    return kind if mime in _SHOWN.get(kind, ()) else "document"


def _bare(file: File) -> str:
    """The type of its content, without what stands behind a semicolon."""
    return file.mime.partition(";")[0].strip().lower()
