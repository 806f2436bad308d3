"""What the chat page may say, checked: one small type per frame.

{"type": "hello", "after": <message id, 0 for none>}
{"type": "say", "id": <the page's own id>, "text": "…"}
{"type": "earlier", "before": <message id>}
{"type": "resync", "turn": <turn id>}
{"type": "ping"}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

MAX_TEXT_BYTES = 32 * 1024
"""Longest message from the page, in bytes of UTF-8."""

_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_ID = 2**63 - 1
_UNSTORABLE = {0: "�", **dict.fromkeys(range(0xD800, 0xE000), "�")}
"""NUL and halves of surrogate pairs: JSON can carry them, a database cannot keep them."""


class BadFrame(Exception):
    """A frame that is not understood. The message says what is wrong with it."""


class BadMessage(Exception):
    """A message that is understood and not taken. `client_id` names it to the page."""

    def __init__(self, client_id: str, reason: str) -> None:
        super().__init__(reason)
        self.client_id = client_id
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Hello:
    """The page is here, and knows everything up to message `after`."""

    after: int


@dataclass(frozen=True, slots=True)
class Say:
    """A message the person wrote. `client_id` stays the same when it is sent again."""

    client_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """The page wants what was before message `before`."""

    before: int


@dataclass(frozen=True, slots=True)
class Resync:
    """The page missed something of a running turn."""

    turn: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The page wants to know whether we are still here."""


Frame = Hello | Say | Earlier | Resync | Ping


def parse(frame: dict[str, Any]) -> Frame:
    """The typed frame. Raises `BadFrame` or `BadMessage`."""
    match frame:
        case {"type": "say", "id": str(client_id), "text": str(text)}:
            return _say(client_id, text)
        case {"type": "hello", "after": int(after)} if _is_id(after):
            return Hello(after)
        case {"type": "earlier", "before": int(before)} if _is_id(before):
            return Earlier(before)
        case {"type": "resync", "turn": str(turn)}:
            return Resync(turn)
        case {"type": "ping"}:
            return Ping()
    raise BadFrame(f"not understood: {str(frame.get('type'))[:40]}")


def _is_id(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= _MAX_ID


def _say(client_id: str, text: str) -> Say:
    if not _CLIENT_ID.fullmatch(client_id):
        raise BadFrame("an id is 1 to 64 letters, digits, - or _")
    text = text.translate(_UNSTORABLE)
    if not text.strip():
        raise BadMessage(client_id, "empty")
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise BadMessage(client_id, f"longer than {MAX_TEXT_BYTES // 1024} KB")
    return Say(client_id, text)
