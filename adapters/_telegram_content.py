"""One part of a reply as a method of the Bot API and its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters._markup import render
from adapters._text import clean, length
from adapters.base import Button, File, Outbound

MAX_CAPTION = 1024
MAX_CALLBACK_BYTES = 64
STICKERS = ("image/webp", "video/webm", "application/x-tgsticker")

_METHODS = {  # kind: method, field of the file
    "image": ("sendPhoto", "photo"),
    "video": ("sendVideo", "video"),
    "audio": ("sendAudio", "audio"),
    "voice": ("sendVoice", "voice"),
    "animation": ("sendAnimation", "animation"),
}


@dataclass(frozen=True, slots=True)
class Content:
    """What is called, with what; `field` is where `file` goes."""

    method: str
    fields: dict[str, Any] = field(default_factory=dict)
    file: File | None = None
    field: str = ""


def contents(outbound: Outbound, limit: int) -> Content:
    """The call that sends this part."""
    text = clean(outbound.text)
    if outbound.file is not None:
        method, name = _METHODS.get(outbound.file.kind, ("sendDocument", "document"))
        if outbound.file.kind == "sticker" and outbound.file.mime in STICKERS and not text:
            method, name = "sendSticker", "sticker"  # it has no caption
        caption = {"caption": text[:MAX_CAPTION]} if text else {}
        return Content(method, caption, outbound.file, name)
    if (place := outbound.location) is not None:
        if not text:
            return _place(place.latitude, place.longitude, clean(place.name))
        text = f"{clean(place.name) or 'location'}: {place.latitude}, {place.longitude}\n{text}"
    fields: dict[str, Any] = {"text": text}
    if not outbound.plain:
        fields["text"], entities = render(text, limit)
        if entities:
            fields["entities"] = entities
    if outbound.buttons:
        fields["reply_markup"] = {"inline_keyboard": _keyboard(outbound.buttons)}
    return Content("sendMessage", fields)


def _place(latitude: float, longitude: float, name: str) -> Content:
    where: dict[str, Any] = {"latitude": latitude, "longitude": longitude}
    if name:
        return Content("sendVenue", {**where, "title": name, "address": f"{latitude}, {longitude}"})
    return Content("sendLocation", where)


def _keyboard(buttons: Sequence[Button]) -> list[list[dict[str, str]]]:
    """One button a row. A value that is too long for Telegram is cut at a whole character."""
    rows = []
    for button in buttons:
        value = clean(button.value)
        while length(value, "bytes") > MAX_CALLBACK_BYTES:
            value = value[: MAX_CALLBACK_BYTES if len(value) > MAX_CALLBACK_BYTES else -1]
        rows.append([{"text": clean(button.text), "callback_data": value}])
    return rows
