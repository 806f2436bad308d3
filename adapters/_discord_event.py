"""One gateway event, or one message of the history, as JSON -> one `Inbound`.

Field names: docs.discord.com/developers/resources/message#message-object and
/developers/events/gateway-events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapters._text import clean
from adapters.base import Inbound, Media, Quote, Unreadable, Unsupported

Json = dict[str, Any]

TEXT, REPLY = 0, 19  # types of messages that people wrote
VOICE_MESSAGE = 1 << 13
FORWARD = 1
DISCORD_EPOCH_SECONDS = 1_420_070_400
STICKERS = {1: ("png", "image/png"), 2: ("png", "image/apng"), 4: ("gif", "image/gif")}
_MENTION = re.compile(r"<@(!|&)?(\d{1,20})>|<a?:(\w{1,64}):\d{1,20}>")
_LEADING = re.compile(r"\s*<@(!|&)?(\d{1,20})>[ ,:\n\t]*")


@dataclass(slots=True)
class Me:
    """Who the bot is: its user id, its own role in each guild, where stickers are fetched."""

    id: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    cdn: str = "https://cdn.discordapp.com"


def moment(snowflake: int) -> datetime:
    """When an id was given out. Its upper bits are milliseconds since 2015."""
    try:
        return datetime.fromtimestamp((snowflake >> 22) / 1000 + DISCORD_EPOCH_SECONDS, UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable("id out of range") from None


def snowflake_at(seconds: float) -> int:
    """The lowest id of a moment (Unix time)."""
    return max(int((seconds - DISCORD_EPOCH_SECONDS) * 1000), 0) << 22


def read_event(kind: str, data: Json, me: Me) -> Inbound:
    """What an event of this kind says. Raises `Unsupported` or `Unreadable`."""
    match kind:
        case "MESSAGE_CREATE":
            return read_message(data, me)
        case "MESSAGE_UPDATE":
            if data.get("edited_timestamp") is None or "author" not in data:
                raise Unsupported("an update that is no edit")
            return read_message(data, me, is_edit=True)
        case "MESSAGE_REACTION_ADD":
            return _reaction(data, me)
        case "INTERACTION_CREATE":
            return _press(data)
    raise Unsupported(f"event {clean(kind)[:40]}")


def read_message(message: Json, me: Me, *, is_edit: bool = False) -> Inbound:
    """A message that a person wrote; `guild_id` says that it stands in a group."""
    return _Message(message, me).read(is_edit)


def external_id(kind: str, data: Any) -> str:
    """What names an event that cannot be read, if anything does."""
    found = data.get("id", data.get("message_id")) if isinstance(data, Mapping) else None
    if not isinstance(found, str) or not found.isdecimal() or len(found) > 20:
        return ""
    return found if kind.startswith("MESSAGE_CREATE") else f"{kind.lower()}:{found}"


class _Message:
    """One message being read."""

    def __init__(self, message: Json, me: Me) -> None:
        self._message, self._me = message, me
        self._guild = str_of(message, "guild_id", "")
        self._role = me.roles.get(self._guild, "")

    def read(self, is_edit: bool) -> Inbound:
        message, number = self._message, id_of(self._message, "id")
        author = self._author()
        body = self._forwarded()
        media = list(self._media(body if body is not None else message))
        text = str_of(body, "content", "") if body is not None else self._text()
        if not text and not media:
            raise Unsupported("a message without content for us")
        return Inbound(
            external_id=number,
            user_id=id_of(author, "id"),
            chat_id=id_of(message, "channel_id"),
            text=clean(text),
            sender_name=name_of(author),
            sent_at=_time(message, "edited_timestamp" if is_edit else "timestamp"),
            is_group=bool(self._guild),
            addressed=not self._guild or self._is_addressed(),
            is_edit=is_edit,
            target={"reply_to": number} if self._guild else {},
            media=media,
            quote=self._quote(),
            forwarded="another conversation" if body is not None else "",
        )

    def _author(self) -> Json:
        message = self._message
        author = object_of(message, "author")
        if id_of(author, "id") == self._me.id:
            raise Unsupported("our own message")
        if author.get("bot") or message.get("webhook_id") is not None:
            raise Unsupported("message of another bot")
        if int_of(message, "type", 0) not in (TEXT, REPLY):
            raise Unsupported("service message")
        return author

    # --- text ---------------------------------------------------------------

    def _text(self) -> str:
        """The content without a leading mention of us, names instead of other mentions."""
        text = str_of(self._message, "content", "")
        names = {id_of(user, "id"): name_of(user) for user in objects_of(self._message, "mentions")}
        leading = _LEADING.match(text)
        if self._guild and leading and self._is_us(leading[1], leading[2]):
            text = text[leading.end() :] or text

        def shown(mention: re.Match[str]) -> str:
            if mention[3]:
                return f":{mention[3]}:"
            known = names.get(mention[2]) if mention[1] != "&" else None
            return f"@{known}" if known else mention[0]

        return _MENTION.sub(shown, text)

    def _is_us(self, sign: str | None, number: str) -> bool:
        return number == (self._role if sign == "&" else self._me.id)

    def _is_addressed(self) -> bool:
        mentioned = [id_of(user, "id") for user in objects_of(self._message, "mentions")]
        roles = _list(self._message, "mention_roles")
        earlier = self._message.get("referenced_message")
        replied = isinstance(earlier, dict) and _author_id(earlier) == self._me.id
        return self._me.id in mentioned or (bool(self._role) and self._role in roles) or replied

    def _quote(self) -> Quote | None:
        earlier = self._message.get("referenced_message")
        if earlier is None:
            return None
        earlier = object_of(self._message, "referenced_message")
        return Quote(
            text=clean(str_of(earlier, "content", "")),
            sender_name=name_of(object_of(earlier, "author")),
            external_id=id_of(earlier, "id"),
        )

    def _forwarded(self) -> Json | None:
        """The message that was carried along. Discord does not say whose it was."""
        if not self._message.get("message_snapshots"):
            return None
        reference = object_of(self._message, "message_reference")
        if int_of(reference, "type", 0) != FORWARD:
            return None
        snapshot = next(objects_of(self._message, "message_snapshots"))
        return object_of(snapshot, "message")

    # --- media --------------------------------------------------------------

    def _media(self, message: Json) -> Iterator[Media]:
        voice = bool(int_of(message, "flags", 0) & VOICE_MESSAGE)
        for file in objects_of(message, "attachments"):
            mime = clean(str_of(file, "content_type", ""))[:127]
            yield Media(
                kind="voice" if voice else _kind(mime),
                handle=clean(str_of(file, "url")),
                mime=mime,
                name=clean(str_of(file, "filename", ""))[:255],
                size=int_of(file, "size") if "size" in file else None,
            )
        for sticker in objects_of(message, "sticker_items"):
            ending, mime = STICKERS.get(int_of(sticker, "format_type"), ("json", ""))
            url = f"{self._me.cdn}/stickers/{id_of(sticker, 'id')}.{ending}"
            mime = mime or "application/json"
            yield Media("sticker", url, mime, clean(str_of(sticker, "name", ""))[:255])


def _reaction(data: Json, me: Me) -> Inbound:
    """Somebody put an emoji under a message of ours."""
    user, message = id_of(data, "user_id"), id_of(data, "message_id")
    member = object_of(data, "member") if data.get("member") is not None else {}
    person = object_of(member, "user") if "user" in member else {}
    if data.get("message_author_id") != me.id or user == me.id or person.get("bot"):
        raise Unsupported("a reaction that is not about us")
    emoji = object_of(data, "emoji")
    sign = clean(str_of(emoji, "name", ""))[:64]
    number = f":{emoji['id']}" if isinstance(emoji.get("id"), str) else ""
    in_guild = bool(str_of(data, "guild_id", ""))
    return Inbound(
        external_id=clean(f"reaction:{message}:{user}:{sign}{number}")[:200],
        user_id=user,
        chat_id=id_of(data, "channel_id"),
        text=f"reacted {sign}",
        sender_name=name_of(person) if person else "",
        is_group=in_guild,
        passive=True,
        target={"reply_to": message} if in_guild else {},
        quote=Quote("", external_id=message),
    )


def _press(data: Json) -> Inbound:
    """Somebody pressed a button of ours, or chose from a list."""
    if int_of(data, "type") != 3:
        raise Unsupported("an interaction that is no press")
    number, chosen = id_of(data, "id"), object_of(data, "data")
    in_guild = bool(str_of(data, "guild_id", ""))
    person = object_of(object_of(data, "member") if in_guild else data, "user")
    message = object_of(data, "message")
    values = [value for value in _list(chosen, "values") if isinstance(value, str)]
    return Inbound(
        external_id=f"interaction:{number}",
        user_id=id_of(person, "id"),
        chat_id=id_of(data, "channel_id"),
        text=clean(", ".join(values) or str_of(chosen, "custom_id")),
        sender_name=name_of(person),
        sent_at=moment(int(number)),
        is_group=in_guild,
        by_hand=True,
        target={"reply_to": id_of(message, "id")} if in_guild else {},
        quote=Quote(clean(str_of(message, "content", "")), external_id=id_of(message, "id")),
    )


def _kind(mime: str) -> str:
    if mime.startswith("image/gif"):
        return "animation"
    family = mime.partition("/")[0]
    return family if family in ("image", "video", "audio") else "file"


def _author_id(message: Json) -> str:
    author = message.get("author")
    return str(author.get("id")) if isinstance(author, dict) else ""


def name_of(user: Json) -> str:
    """What a person wants to be called."""
    name = user.get("global_name") or user.get("username") or ""
    if not isinstance(name, str):
        raise Unreadable("a name is not a string")
    return clean(name)[:255]


def _time(parent: Json, key: str) -> datetime:
    try:
        found = datetime.fromisoformat(str_of(parent, key))
    except ValueError:
        raise Unreadable(f"{key} is not a time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def object_of(parent: Json, key: str) -> Json:
    """The object under `key`."""
    value = parent.get(key)
    if not isinstance(value, dict):
        raise Unreadable(f"{key} is not an object")
    return value


def _list(parent: Json, key: str) -> list[Any]:
    value = parent.get(key)
    if value is not None and not isinstance(value, list):
        raise Unreadable(f"{key} is not a list")
    return value or []


def objects_of(parent: Json, key: str) -> Iterator[Json]:
    """The objects in the list under `key`; none where there is no list."""
    for value in _list(parent, key):
        if not isinstance(value, dict):
            raise Unreadable(f"{key} holds something else than objects")
        yield value


def id_of(parent: Json, key: str) -> str:
    """A snowflake: a number in a string."""
    value = parent.get(key)
    known = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20
    if not known or int(str(value)) >= 2**64:
        raise Unreadable(f"{key} is not an id")
    return str(value)


def int_of(parent: Json, key: str, default: int | None = None) -> int:
    """An integer of a sane size."""
    value = parent.get(key, default)
    if type(value) is not int or abs(value) >= 2**63:  # a bool is an int to isinstance
        raise Unreadable(f"{key} is not an integer")
    return value


def str_of(parent: Json, key: str, default: str | None = None) -> str:
    """A string; `default` also where it is null."""
    value = parent.get(key)
    value = default if value is None else value
    if not isinstance(value, str):
        raise Unreadable(f"{key} is not a string")
    return value
