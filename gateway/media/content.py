"""What a file is, told by its content: names and types that others give are only a hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import puremagic

HEAD_BYTES = 4096
"""How much of a file's beginning is looked at."""

OCTETS = "application/octet-stream"

_KINDS = {  # kind: what its content may be
    "image": ("image/",),
    "sticker": ("image/", "video/webm", "application/gzip", "application/x-tgsticker"),
    "animation": ("image/gif", "image/webp", "video/"),
    "video": ("video/",),
    "voice": ("audio/",),
    "audio": ("audio/",),
}
_ALIASES = {
    "application/ogg": "audio/ogg",
    "application/x-gzip": "application/gzip",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/x-caf": "audio/x-caf",
    "image/jpg": "image/jpeg",
    "application/xml": "text/xml",
}
_CONTAINERS = {  # what one signature cannot tell apart: the hint decides among these
    "audio/ogg": ("audio/", "video/ogg"),
    "video/mp4": ("video/", "audio/"),
    "video/webm": ("video/webm", "audio/webm"),
    "application/gzip": ("application/x-tgsticker",),
    "application/zip": ("application/",),
}
_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/heif": "heic",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/wav": "wav",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "text/plain": "txt",
}


@dataclass(frozen=True, slots=True)
class Content:
    """A file's type, its kind (of `adapters.base.KINDS`) and the ending for its name here."""

    mime: str
    kind: str
    extension: str


def content_of(head: bytes, kind: str, mime: str) -> Content:
    """What `head`, a file's beginning, shows. `kind` and `mime` are what others say it is."""
    said = _ALIASES.get(mime.partition(";")[0].strip().lower(), mime.partition(";")[0].strip())
    found = _type_of(head, said.lower())
    allowed = _KINDS.get(kind, ())
    if not any(found.startswith(one) for one in allowed):
        family = found.partition("/")[0]
        kind = family if family in ("image", "video", "audio") else "file"
    return Content(found, kind, _EXTENSIONS.get(found, "bin"))


def _type_of(head: bytes, said: str) -> str:
    found = _by_signature(head)
    if not found:
        if not _is_text(head):
            return OCTETS
        return said if said.startswith("text/") or said == "application/json" else "text/plain"
    if found == "image/svg+xml":  # a document that can hold scripts, not a picture
        return "text/xml"
    if said != found and any(said.startswith(one) for one in _CONTAINERS.get(found, ())):
        return said
    return found


def _by_signature(head: bytes) -> str:
    """The likeliest type, empty where no signature fits."""
    if head.startswith(b"PK\x03\x04"):
        return "application/zip"
    if head[4:8] == b"ftyp" and head[8:12] in (b"M4A ", b"M4B "):
        return "audio/mp4"
    try:
        matches: list[Any] = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return ""
    best = max((match.confidence for match in matches), default=0.0)
    names = [match.mime_type for match in matches if match.mime_type]
    strong = [m.mime_type for m in matches if m.mime_type and m.confidence >= best]
    if not names or (best < 0.2 and not strong):
        return ""
    name = str((strong or names)[0])
    return _ALIASES.get(name, name)


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:  # the head may end within a character
        return error.start >= len(head) - 3 and bool(head)
    return True
