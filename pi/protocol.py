"""Agent protocol v1, the agent's side: reading a request, writing an answer.

Errors::

    BadRequest(status, message)   the request cannot be answered: 400 or 422
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import orjson

T = TypeVar("T")
Role = Literal["user", "assistant", "system"]
KINDS: Mapping[type, str] = {bool: "a boolean", str: "a string", dict: "an object"}
ROLES: tuple[Role, ...] = ("user", "assistant", "system")


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the history. `attachments` holds what each is called, for people to read."""

    role: Role
    content: str
    attachments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to use the gateway's API for this turn, within this conversation only."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: the history, its last message not the assistant's.

    The last `waiting` messages are to be answered; None where the gateway does not say.
    `person` is what the gateway tells of who asks (name, preferences, notes),
    `context` what Pi asked to be kept with the session.
    """

    messages: Sequence[Message]
    waiting: int | None = None
    stream: bool = True
    session: str = ""
    turn: str = ""
    origin: str = "user"
    grant: Grant | None = None
    person: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an answer: token, reasoning, tool_call, tool_result, final or error."""

    name: str
    data: Mapping[str, Any]


class BadRequest(Exception):
    """A request that cannot be answered; the message is for its author."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def token(text: str) -> Event:
    """A piece of the answer's text."""
    return Event("token", {"text": text})


def tool_call(name: str, arguments: Mapping[str, Any]) -> Event:
    """A tool is about to be used."""
    return Event("tool_call", {"name": name, "arguments": arguments})


def tool_result(name: str, result: str) -> Event:
    """What a tool gave."""
    return Event("tool_result", {"name": name, "result": result})


def final(content: str, metadata: Mapping[str, Any]) -> Event:
    """The whole answer."""
    data = {"content": content, "attachments": [], "silent": False, "metadata": metadata}
    return Event("final", data)


def error(message: str, *, retryable: bool) -> Event:
    """The answer will not come; `retryable` where the same call may work a little later."""
    return Event("error", {"message": message, "retryable": retryable})


def encode_event(event: Event) -> bytes:
    """One event of an event stream (HTML standard, "Server-sent events")."""
    return b"event: %b\ndata: %b\n\n" % (event.name.encode(), orjson.dumps(event.data))


def encode_line(event: Event) -> bytes:
    """One line of newline-delimited JSON; `type` holds the event's name."""
    return orjson.dumps({"type": event.name, **event.data}) + b"\n"


def read_ask(body: bytes) -> Ask:
    """The request in `body`. Raises `BadRequest`: 400 for no JSON, 422 for wrong content."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise BadRequest(400, f"the body is not JSON: {problem}") from None
    if not isinstance(data, dict):
        raise BadRequest(422, "the body must be a JSON object")
    return Ask(
        messages=_messages(data.get("messages")),
        waiting=_waiting(data.get("waiting")),
        stream=_optional(data, "stream", bool, True),
        session=_optional(data, "sessionId", str, ""),
        turn=_optional(data, "turnId", str, ""),
        origin=_optional(data, "origin", str, "user"),
        grant=_grant(_optional(data, "gateway", dict, {})),
        person=_optional(data, "person", dict, {}),
        context=_optional(data, "context", dict, {}),
    )


def _grant(value: Mapping[str, Any]) -> Grant | None:
    if not value:
        return None
    url, token = value.get("url"), value.get("token")
    if not isinstance(url, str) or not isinstance(token, str) or not token.isascii():
        raise BadRequest(422, "gateway must hold a url and a token")
    if not url.startswith(("http://", "https://")) or not token.isprintable():
        raise BadRequest(422, "gateway.url must begin with http:// or https://")
    return Grant(url.rstrip("/"), token)


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise BadRequest(422, "messages must be a list with at least one message")
    messages = [_message(item, f"messages[{index}]") for index, item in enumerate(value)]
    if messages[-1].role == "assistant":
        raise BadRequest(422, "the last message is the assistant's: there is nothing to answer")
    return messages


def _waiting(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRequest(422, "waiting must be a number of messages")
    return value


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise BadRequest(422, f"{where} must be an object")
    if value.get("role") not in ROLES:
        raise BadRequest(422, f"{where}.role must be one of {', '.join(ROLES)}")
    attachments = _attachments(value.get("attachments"), f"{where}.attachments")
    content = value.get("content", "" if attachments else None)
    if not isinstance(content, str):
        raise BadRequest(422, f"{where}.content must be a string")
    return Message(cast(Role, value["role"]), content, attachments)


def _attachments(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequest(422, f"{where} must be a list of objects")
    return tuple(_attachment_label(item) for item in value)


def _attachment_label(item: dict[str, Any]) -> str:
    words = [item[key] for key in ("kind", "name", "mime") if isinstance(item.get(key), str)]
    return " ".join(word for word in words if word) or "file"


def _optional(data: dict[str, Any], key: str, kind: type[T], default: T) -> T:
    value = data.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise BadRequest(422, f"{key} must be {KINDS[kind]}")
    return value
