"""One Telegram update as JSON -> one `Inbound`. Field names: core.telegram.org/bots/api#message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters._text import clean
from adapters.base import Inbound, Media, Quote, Unreadable, Unsupported

Json = dict[str, Any]

_PLAIN_MEDIA = {  # field: our kind, and the type it has where the update names none
    "document": ("file", ""),
    "voice": ("voice", "audio/ogg"),
    "audio": ("audio", "audio/mpeg"),
    "video": ("video", "video/mp4"),
    "video_note": ("video", "video/mp4"),
}


@dataclass(frozen=True, slots=True)
class Me:
    """Who the bot is. `username` is empty until Telegram was asked."""

    id: int
    username: str = ""


def read_update(update: Json, me: Me) -> Inbound:
    """The message in an update.

    Raises `Unsupported` for kinds that are not for us (service messages, other
    bots, channel posts, our own), and `Unreadable` where a field has not the
    type that Telegram documents.
    """
    update_id = _int(update, "update_id")
    try:
        if "message" in update:
            return _Reader(_object(update, "message"), me).read()
        if "edited_message" in update:
            return _Reader(_object(update, "edited_message"), me, is_edit=True).read()
        if "callback_query" in update:
            return _press(_object(update, "callback_query"), me)
        if "message_reaction" in update:
            return _reaction(_object(update, "message_reaction"), me)
    except Unreadable as error:
        raise Unreadable(error.reason, f"update:{update_id}") from None
    kinds = ", ".join(sorted(clean(key)[:40] for key in update if key != "update_id"))
    raise Unsupported(f"update of kind {kinds[:200] or 'nothing'}")


class _Reader:
    """One message being read."""

    def __init__(self, message: Json, me: Me, *, is_edit: bool = False) -> None:
        self._message = message
        self._me = me
        self._is_edit = is_edit
        self._chat = _object(message, "chat")
        self._is_group = _str(self._chat, "type") in ("group", "supergroup")

    def read(self) -> Inbound:
        user_id, name = self._sender()
        media = list(self._media())
        text = self._text(media)
        chat_id, message_id = _int(self._chat, "id"), _int(self._message, "message_id")
        return Inbound(
            external_id=f"{chat_id}:{message_id}",
            user_id=str(user_id),
            chat_id=str(chat_id),
            text=clean(text),
            sender_name=clean(name)[:255],
            sent_at=self._sent_at(),
            is_group=self._is_group,
            addressed=not self._is_group or self._is_addressed(),
            is_edit=self._is_edit,
            target=self._target(message_id),
            media=media,
            quote=self._quote(),
            forwarded=clean(self._forwarded())[:255],
            album=clean(_str(self._message, "media_group_id", "")),
        )

    def _sender(self) -> tuple[int, str]:
        """Id and name. Anonymous admins and channels speak as `sender_chat`, through a bot."""
        kind = _str(self._chat, "type")
        if kind not in ("private", "group", "supergroup"):
            raise Unsupported(f"message in a chat of type {clean(kind)[:40]}")
        if self._message.get("is_automatic_forward"):
            raise Unsupported("post of the linked channel")
        if "sender_chat" in self._message:
            sender = _object(self._message, "sender_chat")
            return _int(sender, "id"), _str(sender, "title", "")
        sender = _object(self._message, "from")
        if _int(sender, "id") == self._me.id:
            raise Unsupported("our own message")
        if sender.get("is_bot"):
            raise Unsupported("message of another bot")
        names = (_str(sender, "first_name", ""), _str(sender, "last_name", ""))
        return _int(sender, "id"), " ".join(name for name in names if name)

    def _sent_at(self) -> datetime:
        seconds = _int(self._message, "edit_date" if self._is_edit else "date")
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            raise Unreadable("date out of range") from None

    def _target(self, message_id: int) -> Json:
        target: Json = {"reply_to": message_id} if self._is_group else {}
        if self._message.get("is_topic_message"):
            target["thread"] = _int(self._message, "message_thread_id")
        return target

    def _quote(self) -> Quote | None:
        """What it replies to; the passage that was marked, if one was."""
        earlier = self._message.get("reply_to_message")
        if not isinstance(earlier, dict) or "forum_topic_created" in earlier:
            earlier = {}
        text = _str(earlier, "text", "") or _str(earlier, "caption", "")
        marked = self._message.get("quote")
        if isinstance(marked, dict):
            text = _str(marked, "text", "") or text
        sender = earlier.get("from")
        name = _str(sender, "first_name", "") if isinstance(sender, dict) else ""
        return Quote(clean(text), clean(name)[:255]) if text else None

    def _forwarded(self) -> str:
        """From whom it was forwarded; empty where it was not."""
        origin = self._message.get("forward_origin")
        if not isinstance(origin, dict):
            return ""
        for key, field in (
            ("sender_user", "first_name"),
            ("sender_chat", "title"),
            ("chat", "title"),
        ):
            if isinstance(found := origin.get(key), dict):
                return _str(found, field, "") or "somebody"
        return _str(origin, "sender_user_name", "") or "somebody"

    # --- text ---------------------------------------------------------------

    def _text(self, media: list[Media]) -> str:
        if text := self._without_our_name():
            return text
        if "sticker" in self._message:
            return _str(_object(self._message, "sticker"), "emoji", "")
        if "location" in self._message:
            return self._location()
        if "contact" in self._message:
            return self._contact()
        if not media:
            raise Unsupported("service message")
        return ""

    def _location(self) -> str:
        if self._is_edit:
            raise Unsupported("live location moved")
        place = _object(self._message, "location")
        text = f"location: {_number(place, 'latitude')}, {_number(place, 'longitude')}"
        if "venue" in self._message:
            venue = _object(self._message, "venue")
            text += f" ({_str(venue, 'title')}, {_str(venue, 'address')})"
        return text

    def _contact(self) -> str:
        contact = _object(self._message, "contact")
        names = (_str(contact, "first_name", ""), _str(contact, "last_name", ""))
        name = " ".join(part for part in names if part)
        return f"contact: {name}, {_str(contact, 'phone_number')}"

    def _content(self) -> str:
        return _str(self._message, "text", "") or _str(self._message, "caption", "")

    def _entities(self) -> Iterator[tuple[Json, str, int, int]]:
        """Each entity with its text and place. Telegram counts UTF-16 units."""
        text = self._content()
        key = "entities" if "text" in self._message else "caption_entities"
        units: bytes | None = None
        for entity in _objects(self._message, key):
            if _str(entity, "type") not in ("mention", "text_mention", "bot_command"):
                continue
            start, size = _int(entity, "offset"), _int(entity, "length")
            if start < 0 or size <= 0:
                raise Unreadable("entity out of range")
            if units is None:
                units = text.encode("utf-16-le", "surrogatepass")
            before = units[: 2 * start].decode("utf-16-le", "surrogatepass")
            part = units[2 * start : 2 * (start + size)].decode("utf-16-le", "surrogatepass")
            yield entity, part, len(before), len(before) + len(part)

    def _without_our_name(self) -> str:
        """The text without a leading `@us`, and with `/command` for `/command@us`."""
        text, at = self._content(), f"@{self._me.username}".casefold()
        for entity, part, start, end in self._entities():
            if text[:start].strip():
                break
            if entity["type"] == "mention" and part.casefold() == at:
                return text[end:].lstrip(" ,:\n\t") or text
            if entity["type"] == "bot_command" and part.casefold().endswith(at) and len(at) > 1:
                return part[: -len(at)] + text[end:]
        return text

    def _is_addressed(self) -> bool:
        """Whether a group's message is meant for us: named, answered, or given a command."""
        at = f"@{self._me.username}".casefold()
        named = False
        for entity, part, start, _ in self._entities():
            if entity["type"] == "bot_command" and start == 0:
                _, sign, name = part.partition("@")
                return not sign or f"@{name}".casefold() == at
            if entity["type"] == "text_mention":
                named = named or _int(_object(entity, "user"), "id") == self._me.id
            elif entity["type"] == "mention":
                named = named or (part.casefold() == at and len(at) > 1)
        return named or self._answers_us()

    def _answers_us(self) -> bool:
        """A topic's messages all "reply" to the note that opened it: that one does not count."""
        if "reply_to_message" not in self._message:
            return False
        earlier = _object(self._message, "reply_to_message")
        sender = earlier.get("from")
        mine = isinstance(sender, dict) and sender.get("id") == self._me.id
        return mine and "forum_topic_created" not in earlier

    # --- media --------------------------------------------------------------

    def _media(self) -> Iterator[Media]:
        if "photo" in self._message:
            sizes = list(_objects(self._message, "photo"))
            if not sizes:
                raise Unreadable("photo without sizes")
            largest = max(sizes, key=lambda size: _int(size, "width") * _int(size, "height"))
            yield _file("image", largest, "image/jpeg")
        if "animation" in self._message:  # comes with a copy of itself as document
            yield _file("animation", _object(self._message, "animation"), "video/mp4")
            return
        for field, (kind, mime) in _PLAIN_MEDIA.items():
            if field in self._message:
                yield _file(kind, _object(self._message, field), mime)
        if "sticker" in self._message:
            sticker = _object(self._message, "sticker")
            moving = "application/x-tgsticker" if sticker.get("is_animated") else "image/webp"
            yield _file("sticker", sticker, "video/webm" if sticker.get("is_video") else moving)


def _press(query: Json, me: Me) -> Inbound:
    """A button was pressed: what it stands for is what the person says."""
    message = query.get("message")
    if not isinstance(message, dict) or "data" not in query:
        raise Unsupported("a press of something that is no button of a message")
    sender, chat = _object(query, "from"), _object(message, "chat")
    is_group = _str(chat, "type") != "private"
    reader = _Reader({**message, "from": sender}, me)
    target = reader._target(_int(message, "message_id"))
    text = _str(message, "text", "") or _str(message, "caption", "")
    return Inbound(
        external_id=f"callback:{clean(_str(query, 'id'))}",
        user_id=str(_int(sender, "id")),
        chat_id=str(_int(chat, "id")),
        text=clean(_str(query, "data")),
        sender_name=clean(_str(sender, "first_name", ""))[:255],
        is_group=is_group,
        by_hand=True,
        target={**target, "callback": clean(_str(query, "id"))},
        quote=Quote(clean(text)) if text else None,
    )


def _reaction(found: Json, me: Me) -> Inbound:
    """Somebody reacted: context of the next message, nothing to answer."""
    if "user" not in found:
        raise Unsupported("a reaction of nobody in particular")
    user, chat = _object(found, "user"), _object(found, "chat")
    if _int(user, "id") == me.id or user.get("is_bot"):
        raise Unsupported("a reaction of a bot")
    before = {_str(one, "emoji", "") for one in _objects(found, "old_reaction")}
    emoji = [_str(one, "emoji", "") for one in _objects(found, "new_reaction")]
    new = [one for one in emoji if one and one not in before]
    if not new:
        raise Unsupported("a reaction was taken back")
    chat_id, message_id = _int(chat, "id"), _int(found, "message_id")
    return Inbound(
        external_id=f"reaction:{chat_id}:{message_id}:{_int(user, 'id')}:{_int(found, 'date')}",
        user_id=str(_int(user, "id")),
        chat_id=str(chat_id),
        text=clean(f"reacted {' '.join(new)}"),
        sender_name=clean(_str(user, "first_name", ""))[:255],
        is_group=_str(chat, "type") != "private",
        addressed=False,
        passive=True,
        quote=Quote("", external_id=f"{chat_id}:{message_id}"),
    )


def _file(kind: str, found: Json, mime: str) -> Media:
    return Media(
        kind=kind,
        handle=clean(_str(found, "file_id")),
        mime=clean(_str(found, "mime_type", mime))[:127],
        name=clean(_str(found, "file_name", ""))[:255],
        size=_int(found, "file_size") if "file_size" in found else None,
    )


def _object(parent: Json, key: str) -> Json:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise Unreadable(f"{key} is not an object")
    return value


def _objects(parent: Json, key: str) -> Iterator[Json]:
    values = parent.get(key, [])
    if not isinstance(values, list):
        raise Unreadable(f"{key} is not a list")
    for value in values:
        if not isinstance(value, dict):
            raise Unreadable(f"{key} holds something else than objects")
        yield value


def _int(parent: Json, key: str) -> int:
    value = parent.get(key)
    if type(value) is not int or abs(value) >= 2**63:  # a bool is an int to isinstance
        raise Unreadable(f"{key} is not an integer")
    return value


def _number(parent: Json, key: str) -> float:
    value = parent.get(key)
    if type(value) not in (int, float):
        raise Unreadable(f"{key} is not a number")
    return float(parent[key])


def _str(parent: Json, key: str, default: str | None = None) -> str:
    value = parent.get(key, default)
    if not isinstance(value, str):
        raise Unreadable(f"{key} is not a string")
    return value
