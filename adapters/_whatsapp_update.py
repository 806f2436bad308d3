"""A webhook call of the Cloud API as JSON -> messages, statuses and what is known of people.

Field names: developers.facebook.com/docs/whatsapp/cloud-api/webhooks
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from adapters._fields import Json, moment, number, obj, objects, text
from adapters._rest import excerpt
from adapters._text import clean
from adapters._whatsapp_errors import WINDOW
from adapters.base import (
    Arriving,
    Inbound,
    Media,
    Quote,
    Rejected,
    SamePerson,
    Status,
    Unreadable,
    Unsupported,
)

_MEDIA = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "document": "file",
    "sticker": "sticker",
}
_STATES: dict[str, Any] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",
    "failed": "failed",
}


def read_webhook(body: Json, phone_number_id: str, *, has_template: bool = False) -> list[Arriving]:
    """Everything in it that is for our number; what cannot be read stands there as `Rejected`.

    `has_template`: what came too late for a free text can go out as one.
    """
    found: list[Arriving] = []
    for change in _changes(body):
        value = change.get("value")
        if change.get("field") != "messages" or not isinstance(value, dict):
            continue
        metadata = value.get("metadata")
        if isinstance(metadata, dict) and metadata.get("phone_number_id") == phone_number_id:
            people = _People(value, metadata)
            found += _each(value, "messages", lambda item, p=people: read_message(item, p))  # type: ignore[misc]  # p is bound here
            found += _each(value, "statuses", lambda item: _status(item, has_template))
    return found


def _changes(body: Json) -> Iterator[Json]:
    for entry in _objects(body.get("entry")):
        yield from _objects(entry.get("changes"))


def _objects(value: Any) -> list[Json]:
    """The objects in a list; what else there may be around messages is not worth a complaint."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _each(value: Json, key: str, read: Callable[[Json], Arriving]) -> Iterator[Arriving]:
    """Each item by itself: one that cannot be read does not take the others with it."""
    items = value.get(key) or []
    for item in items if isinstance(items, list) else [items]:
        try:
            if not isinstance(item, dict):
                raise Unreadable("not an object")
            yield read(item)
        except Unsupported:
            continue
        except Unreadable as error:
            name = item.get("id") if isinstance(item, dict) else None
            known = clean(name)[:200] if isinstance(name, str) else ""
            yield Rejected(f"{key}:{known}" if known else "", error.reason, excerpt(item))


class _People:
    """Who wrote, by every id that the call gives: `contacts` holds names and both ids."""

    def __init__(self, value: Json, metadata: Json) -> None:
        self._contacts = _objects(value.get("contacts"))
        self._ours = _digits(metadata.get("display_phone_number"))

    def is_us(self, number: Any) -> bool:
        """Whether this is our own number, in whatever writing."""
        return bool(self._ours) and _digits(number) == self._ours

    def ids(self, message: Json) -> tuple[str, str]:
        """(business-scoped id, phone number), either of which may be empty."""
        scoped, phone = text(message, "from_user_id", ""), text(message, "from", "")
        for contact in self._contacts:
            same = (scoped and contact.get("user_id") == scoped) or (
                phone and contact.get("wa_id") == phone
            )
            if same:
                scoped = scoped or text(contact, "user_id", "")
                phone = phone or text(contact, "wa_id", "")
        if not (scoped or phone):
            raise Unreadable("a message from nobody")
        return scoped, phone

    def name(self, scoped: str, phone: str) -> str:
        """The name they gave themselves."""
        for contact in self._contacts:
            if contact.get("user_id") == scoped or contact.get("wa_id") == phone:
                profile = contact.get("profile")
                if isinstance(profile, dict):
                    return text(profile, "name", "")
        return ""


def _digits(number: Any) -> str:
    return "".join(filter(str.isdecimal, number)) if isinstance(number, str) else ""


def read_message(message: Json, people: _People) -> Inbound | SamePerson:
    """One message. Raises `Unsupported` for kinds that are nothing for us, or `Unreadable`."""
    kind = text(message, "type")
    if kind == "system":
        return _renamed(message)
    external_id = text(message, "id")
    scoped, phone = people.ids(message)
    read = _KINDS.get(kind)
    if read is None:
        raise Unsupported(f"message of type {clean(kind)[:40]}")
    words, media = read(message)
    group = text(message, "group_id", "")
    target: Json = {"message_id": external_id}
    if group:
        target["reply_to"] = external_id
    quote, forwarded = _context(message)
    is_edit = kind == "edit"
    return Inbound(
        external_id=text(obj(message, "edit"), "original_message_id") if is_edit else external_id,
        user_id=clean(scoped or phone),
        aliases=(clean(phone),) if scoped and phone else (),
        chat_id=clean(group or phone or scoped),
        text=clean(words),
        sender_name=clean(people.name(scoped, phone))[:255],
        sent_at=_sent_at(message),
        is_group=bool(group),
        addressed=not group or kind in ("interactive", "button") or _answers(message, people),
        is_edit=is_edit,
        passive=kind == "reaction",
        by_hand=kind in ("interactive", "button"),
        target=target,
        media=media,
        quote=quote,
        forwarded=forwarded,
    )


def _answers(message: Json, people: _People) -> bool:
    """Whether it replies to a message of ours."""
    context = message.get("context")
    return isinstance(context, dict) and people.is_us(context.get("from"))


def _sent_at(message: Json) -> Any:
    stamp = text(message, "timestamp", "")
    if not stamp.isdecimal():
        raise Unreadable("timestamp is not a number")
    return moment(int(stamp))


def _context(message: Json) -> tuple[Quote | None, str]:
    if message["type"] == "reaction":
        about = text(obj(message, "reaction"), "message_id", "")
        return (Quote("", external_id=clean(about)[:200]) if about else None), ""
    context = message.get("context")
    if not isinstance(context, dict):
        return None, ""
    forwarded = context.get("forwarded") or context.get("frequently_forwarded")
    quoted = text(context, "id", "")
    quote = Quote("", external_id=clean(quoted)[:200]) if quoted else None
    return quote, "somebody" if forwarded else ""


def _renamed(message: Json) -> SamePerson:
    """The person has another number or another id now."""
    system = obj(message, "system")
    if text(system, "type", "") not in ("user_changed_number", "user_changed_user_id"):
        raise Unsupported("system message")
    now = _ids(text(system, "user_id", ""), text(system, "wa_id", ""))
    before = _ids(text(message, "from_user_id", ""), text(message, "from", ""))
    if not now or not before or {*now} <= {*before}:
        raise Unsupported("a change that changes nothing")
    first, *beside = now
    return SamePerson(first, before, beside)


def _ids(scoped: str, phone: str) -> list[str]:
    """Those that are there, the business-scoped one first: it is the surer."""
    return [clean(one) for one in (scoped, phone) if one]


def _status(status: Json, has_template: bool) -> Status:
    state = _STATES.get(text(status, "status"))
    if state is None:
        raise Unsupported("status of another kind")
    late = any(item.get("code") == WINDOW for item in objects(status, "errors"))
    details = [
        f"{item.get('code')}: {item.get('title') or item.get('message') or ''}"
        for item in objects(status, "errors")
    ]
    key = text(status, "biz_opaque_callback_data", "")
    detail, fallback = clean("; ".join(details)), has_template and late and state == "failed"
    return Status(clean(key), clean(text(status, "id")), state, detail, fallback)


# --- kinds ------------------------------------------------------------------

Read = tuple[str, list[Media]]


def _text(message: Json) -> Read:
    return text(obj(message, "text"), "body"), []


def _file(message: Json) -> Read:
    name = text(message, "type")
    file = obj(message, name)
    kind = "voice" if file.get("voice") is True else _MEDIA[name]
    mime = text(file, "mime_type", "").partition(";")[0].strip()
    media = Media(kind, text(file, "id"), clean(mime), clean(text(file, "filename", "")))
    return text(file, "caption", ""), [media]


def _location(message: Json) -> Read:
    place = obj(message, "location")
    said = f"location: {number(place, 'latitude')}, {number(place, 'longitude')}"
    names = [name for key in ("name", "address") if (name := text(place, key, ""))]
    return said + (f" ({', '.join(names)})" if names else ""), []


def _contacts(message: Json) -> Read:
    lines = []
    for contact in objects(message, "contacts"):
        name = contact.get("name")
        shown = text(name, "formatted_name", "") if isinstance(name, dict) else ""
        phones = [text(phone, "phone", "") for phone in objects(contact, "phones")]
        lines.append("contact: " + ", ".join(part for part in (shown, *phones) if part))
    if not lines:
        raise Unreadable("contacts without a contact")
    return "\n".join(lines), []


def _interactive(message: Json) -> Read:
    """A press of a button of ours says what the button was for; a list row what it shows."""
    interactive = obj(message, "interactive")
    kind = text(interactive, "type")
    if kind not in ("button_reply", "list_reply"):
        raise Unsupported(f"interactive of type {clean(kind)[:40]}")
    reply = obj(interactive, kind)
    return text(reply, "id", "") or text(reply, "title"), []


def _button(message: Json) -> Read:
    button = obj(message, "button")
    return text(button, "payload", "") or text(button, "text"), []


def _reaction(message: Json) -> Read:
    emoji = text(obj(message, "reaction"), "emoji", "")
    if not emoji:
        raise Unsupported("a reaction was taken back")
    return f"reacted {emoji}", []


def _order(message: Json) -> Read:
    order = obj(message, "order")
    items = [
        f"{item.get('quantity', 1)} x {text(item, 'product_retailer_id', '?')}"
        for item in objects(order, "product_items")
    ]
    note = text(order, "text", "")
    return "\n".join(["order: " + ", ".join(items), *([note] if note else [])]), []


def _edit(message: Json) -> Read:
    """New words: of a text, or under a file that stays what it is."""
    new = obj(obj(message, "edit"), "message")
    kind = text(new, "type", "text")
    if kind == "text":
        return _text(new)
    if kind not in _MEDIA:
        raise Unsupported(f"edited message of type {clean(kind)[:40]}")
    return text(obj(new, kind), "caption", ""), []


_KINDS: dict[str, Callable[[Json], Read]] = {
    "text": _text,
    **dict.fromkeys(_MEDIA, _file),
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "reaction": _reaction,
    "order": _order,
    "edit": _edit,
}
