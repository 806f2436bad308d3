"""Reading a request: who asks, for whom, and what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from adapters._text import clean
from adapters.base import Inbound
from gateway.entrance.wire import Refusal
from gateway.models import ApiToken
from sessions_app import clock
from sessions_app.ids import new_id

MAX_NAME = 128
"""Characters of `user` and of `metadata.session`."""

MAX_ID = 200
"""Characters of a person's id before it becomes a hash."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that can be answered."""

    inbound: Inbound
    model: str
    stream: bool
    with_usage: bool


def read(body: bytes, token: ApiToken, key: str) -> Asked:
    """The request. `key` is its Idempotency-Key, or empty. Raises `Refusal`."""
    data = _object(body)
    person = person_of(data, token)
    stream = data.get("stream") or False
    if not isinstance(stream, bool):
        raise _wrong("stream must be true or false", "stream")
    if data.get("n") not in (None, 1):
        raise _wrong("there is one answer to a question: n must be 1", "n")
    options = data.get("stream_options")
    user = data.get("user")
    inbound = Inbound(
        external_id=_external_id(token, person, key),
        user_id=person,
        chat_id=person,
        text=_last_text(data.get("messages")),
        sender_name=clean(user)[:MAX_NAME] if isinstance(user, str) and user else token.name,
        sent_at=clock.now(),
        by_hand=True,  # a token was shown and is counted: no bot that we talk to by mistake
    )
    model = data.get("model")
    return Asked(
        inbound=inbound,
        model=clean(model)[:MAX_NAME] if isinstance(model, str) and model else "openclaw",
        stream=stream,
        with_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def person_of(data: Mapping[str, Any], token: ApiToken) -> str:
    """Whose conversation: the token's `user`, in the `session` they name. Raises `Refusal`.

    A token's own number comes first, and what the caller says is escaped, so that nothing
    said under one token leads to a conversation of another.
    """
    if token.contact is not None:
        return token.contact.user_id
    metadata = data.get("metadata")
    session = metadata.get("session") if isinstance(metadata, dict) else None
    parts = [_name(data.get("user"), "user"), _name(session, "metadata.session")]
    while parts and not parts[-1]:
        parts.pop()
    told = ":".join(quote(part, safe="") for part in parts)
    named = f"token{token.pk}:{told}" if told else f"token{token.pk}"
    if len(named) <= MAX_ID:
        return named
    return f"token{token.pk}:={hashlib.sha256(told.encode()).hexdigest()}"


def _name(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise _wrong(f"{where} must be a text of at most {MAX_NAME} characters", where)
    return clean(value)


def _external_id(token: ApiToken, person: str, key: str) -> str:
    said = f"{token.pk} {person} {key or new_id('ask')}"
    return hashlib.sha256(said.encode()).hexdigest()


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _wrong("the body is not JSON") from None
    if not isinstance(data, dict):
        raise _wrong("the body must be a JSON object")
    return data


def _last_text(messages: object) -> str:
    """What the last user message says."""
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages must be a list with at least one message", "messages")
    if not all(isinstance(message, dict) for message in messages):
        raise _wrong("a message must be an object", "messages")
    if messages[-1].get("role") != "user":
        raise _wrong("the last message must be the user's", "messages")
    text = clean(_text(messages[-1].get("content")))
    if not text.strip():
        raise _wrong("the last message says nothing", "messages")
    return text


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise _wrong("content must be a text or a list of parts", "messages")
    return "\n".join(_part(part) for part in content)


def _part(part: Mapping[str, Any]) -> str:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise _wrong("only parts of type text are understood", "messages")


def _wrong(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, message, "invalid_request", param=param)
