"""What crosses an adapter: messages and files on the way in, parts of replies on the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

KINDS = ("image", "video", "audio", "voice", "animation", "sticker", "file")
"""Kinds of media, on every platform. `voice` is a recorded note, `animation` a silent loop."""


@dataclass(frozen=True, slots=True)
class Media:
    """A file that came with a message. `kind` is of `KINDS`; `handle` is what `fetch` needs."""

    kind: str
    handle: str
    mime: str = ""
    name: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """An earlier message that this one replies to or carries along."""

    text: str
    sender_name: str = ""
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message a person wrote, as the platform handed it over.

    external_id   unique within the channel and the same at every redelivery
    user_id       the platform's immutable id of the sender, never a name
    aliases       other ids that the same person has now and somebody else may have later (a
                  telephone number); None where the platform knows no such thing
    chat_id       where it was written, and where the answer goes
    addressed     meant for the bot: a direct chat, a mention, a reply to it, a command
    passive       nothing to answer (a reaction): kept as context of the next message
    is_edit       new text of the earlier message with this `external_id`
    quote         the message it replies to
    forwarded     from whom it was forwarded; empty where it was not
    album         the same for messages that belong together and arrive one by one
    by_hand       certainly done by a person: a button pressed, a page of ours
    target        what a reply needs beside `chat_id` (thread, message to quote); frozen
    """

    external_id: str
    user_id: str
    chat_id: str
    text: str
    sender_name: str = ""
    sent_at: datetime | None = None
    is_group: bool = False
    addressed: bool = True
    is_edit: bool = False
    target: Mapping[str, Any] = field(default_factory=dict)
    media: Sequence[Media] = ()
    aliases: Sequence[str] | None = None
    passive: bool = False
    quote: Quote | None = None
    forwarded: str = ""
    album: str = ""
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """An authentic payload that could not be read; kept as a row so that it blocks nobody."""

    external_id: str
    reason: str
    payload: str


@dataclass(frozen=True, slots=True)
class Status:
    """The platform's later word about a delivery of ours.

    key      our delivery's id, as the platform echoed it; empty where it names only the receipt
    receipt  the platform's id of the message
    state    sent, delivered, read or failed; a later one never goes back to an earlier
    fallback failed, but the adapter has another form that is taken (`Outbound.fallback`)
    """

    key: str
    receipt: str
    state: Literal["sent", "delivered", "read", "failed"]
    detail: str = ""
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class SamePerson:
    """The platform says that these ids are one person: `user_id` now, `aliases` before.

    `beside`: other ids that they have now. The surest of before stands first.
    """

    user_id: str
    aliases: Sequence[str]
    beside: Sequence[str] = ()


Arriving = Inbound | Rejected | Status | SamePerson
"""What an adapter reads from a platform."""


@dataclass(frozen=True, slots=True)
class File:
    """A stored file to be sent. `path` lies in the media folder, `mime` tells its content.

    `url` is a signed link of the gateway that the platform can reach, or empty.
    """

    kind: str
    path: Path
    mime: str
    name: str
    size: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A place on the map, in degrees."""

    latitude: float
    longitude: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press. A press comes back as an `Inbound` whose text is `value`."""

    text: str
    value: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """One part of a reply. `key` is our delivery's id, at most 25 characters.

    A part is a text (with buttons under it, perhaps), or one file, or one location.
    A text beside a file or a location (the mark of a repeat) has to arrive with it.
    `fallback`: the platform took it and said later, by a `Status`, that it did not.
    """

    key: str
    chat_id: str
    text: str
    target: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    file: File | None = None
    location: Location | None = None
    buttons: Sequence[Button] = ()
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The platform's id for a sent part. `chat_id` is set where the platform moved the chat."""

    message_id: str
    chat_id: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A webhook call, as it came: header names in lower case, the body as raw bytes."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer the platform."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
