"""Bytes of an answer to lines, events and JSON, however the network cuts them.

Nothing here goes back over what it has read: an answer that arrives one byte at
a time costs no more than one that arrives whole. What cannot be text (invalid
UTF-8, NUL, half a surrogate pair) becomes U+FFFD.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from gateway.agents.base import AgentError

MAX_DEPTH = 100
"""Levels of objects and lists in what an agent says: it has to be written again, and kept."""

_BOM = b"\xef\xbb\xbf"
_CR, _LF = b"\r", b"\n"


class Lines:
    """Splits chunks into lines that end with LF, CR or CRLF; drops a byte order mark."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(_LF):
                chunk = chunk[1:]
        end = max(chunk.rfind(_LF), chunk.rfind(_CR)) + 1
        if not end:
            self._tail += chunk
            return []
        self._after_cr = end == len(chunk) and chunk.endswith(_CR)
        if self._tail:
            self._tail += chunk[:end]
            whole = bytes(self._tail)
            self._tail.clear()
        else:
            whole = chunk[:end]
        self._tail += chunk[end:]
        return self._without_bom(whole).splitlines()

    def rest(self) -> bytes:
        """What came after the last line end."""
        return self._without_bom(bytes(self._tail))

    def _without_bom(self, data: bytes) -> bytes:
        if self._first:
            self._first = False
            return data.removeprefix(_BOM)
        return data


class ServerSentEvents:
    """Splits chunks into (event name, data), as the WHATWG HTML standard says (section 9.2.6).

    Comments, `id` and `retry` are dropped; an event cut off by the end of the
    stream is none.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._name = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The events that `chunk` completes. The name is `message` where none was given."""
        events = []
        for line in self._lines.feed(chunk):
            if line:
                self._field(line)
            else:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else _LF.join(self._data)
                    events.append((self._name or b"message", data))
                    self._data = []
                self._name = b""
        return events

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")


def loads(data: bytes | bytearray) -> Any:
    """JSON to Python, its texts made clean. Raises `AgentError` malformed."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _loads_leniently(bytes(data))
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _is_deep(value, MAX_DEPTH):
        raise malformed(f"nested more than {MAX_DEPTH} levels deep")
    return _cleaned(value) if b"\\u0000" in data else value


def _is_deep(value: Any, levels: int) -> bool:
    """Whether there are more than `levels` levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(one, levels - 1) for one in inner)


def load_object(data: bytes | bytearray, what: str) -> dict[str, Any]:
    """The same for what has to be a JSON object; `what` names it in the error."""
    value = loads(data)
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a JSON object")
    return value


def clean(text: str) -> str:
    """`text` without NUL and without halves of surrogate pairs."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    # UTF-16 joins halves that belong together; those that stay alone are replaced.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def malformed(detail: str) -> AgentError:
    """The error for an answer that is not what the protocol says."""
    return AgentError("malformed", detail)


def _loads_leniently(data: bytes) -> Any:
    """For what orjson refuses: invalid UTF-8 and halves of surrogate pairs."""
    try:
        text = data.decode("utf-8", "replace")
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        return orjson.loads(orjson.dumps(_cleaned(value)))
    except (ValueError, TypeError, RecursionError):
        raise malformed("not valid JSON") from None


def _finite(number: str) -> float:
    """JSON has no infinity; neither has the database."""
    if not math.isfinite(value := float(number)):
        raise ValueError(number)
    return value


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    return value
