"""Agent protocol v1: the request, and the four forms of an answer. See docs/agent-protocol.md."""

from __future__ import annotations

import codecs
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import lru_cache
from typing import Any

import httpx
import orjson

from gateway.agents.base import AgentError, Final, Question, Target, Trace
from gateway.agents.http import shortened
from gateway.agents.parse import (
    Lines,
    ServerSentEvents,
    clean,
    load_object,
    malformed,
)
from gateway.agents.reader import Batch, Reader, spoken, unfinished

ACCEPT = "text/event-stream, application/x-ndjson, application/json"
_TRACES = {"reasoning", "tool_call", "tool_result", "attachment"}
_EVENTS = {name.encode(): name for name in ("token", "final", "error", *_TRACES)}
_COMMON = {"user-agent": "openclaw-gateway", "accept-encoding": "identity"}
_PIECE_BYTES = 256 * 1024
_NO_HEADERS: Mapping[str, str] = {}
_NDJSON = {"application/x-ndjson", "application/ndjson", "application/jsonl"}


def request(target: Target, question: Question) -> httpx.Request:
    """The call of an agent. History is joined as it is, not encoded anew."""
    fields = encode(
        {
            "sessionId": question.session,
            "waiting": question.waiting,
            "stream": target.stream,
            "turnId": question.turn,
            "channel": question.channel,
            "userId": question.user_id,
            "chatId": question.chat_id,
            "origin": question.origin,
            "context": dict(question.context),
            **({"gateway": dict(question.gateway)} if question.gateway else {}),
            **({"person": dict(question.person)} if question.person else {}),
        }
    )
    body = b'%b,"messages":[%b]}' % (fields[:-1], b",".join(question.history))
    return post(parsed_url(target.url), body, {"accept": ACCEPT, "idempotency-key": question.turn})


def health(target: Target) -> httpx.Request:
    """The question whether the agent is up: `/health` in place of `/rpc/message`."""
    url = parsed_url(target.url)
    before, found, after = url.path.rpartition("/rpc/message")
    path = f"{before}/health" if found and not after else "/health"
    return get(url.copy_with(path=path, query=None))


def reader(content_type: str) -> Reader:
    """What reads an answer of this type. Raises `AgentError` malformed."""
    if content_type == "text/event-stream":
        return EventStreamReader()
    if content_type == "application/json":
        return JsonReader()
    if content_type in _NDJSON:
        return NdjsonReader()
    if content_type == "text/plain":
        return TextReader()
    raise malformed(f"content type {shortened(content_type) or 'missing'!r}")


class _StreamReader(Reader):
    """Named events, however they are framed; `final` must be the last."""

    def _take(self, batch: Batch, name: str, data: Mapping[str, Any]) -> None:
        if name == "token":
            batch.token(_text_of(data))
        elif name in _TRACES:
            batch.add(Trace(name, data))
        elif name == "final":
            batch.add(answer(data))
        else:
            raise _reported(data)

    def _finish(self, batch: Batch, cut: AgentError | None) -> None:
        raise cut or unfinished("`final`")


class EventStreamReader(_StreamReader):
    """text/event-stream."""

    def __init__(self) -> None:
        self._events = ServerSentEvents()

    def _read(self, batch: Batch, chunk: bytes) -> None:
        for name, data in self._events.feed(chunk):
            if known := _EVENTS.get(name):
                self._take(batch, known, load_object(data, f"data of `{known}`"))
                if batch.final:
                    return


class NdjsonReader(_StreamReader):
    """application/x-ndjson: one object per line, `type` holds the event's name."""

    def __init__(self) -> None:
        self._lines = Lines()

    def _read(self, batch: Batch, chunk: bytes) -> None:
        self._take_lines(batch, self._lines.feed(chunk))

    def _finish(self, batch: Batch, cut: AgentError | None) -> None:
        if cut is None:
            self._take_lines(batch, [self._lines.rest()])
        if not batch.final:
            super()._finish(batch, cut)

    def _take_lines(self, batch: Batch, lines: Iterable[bytes]) -> None:
        for line in lines:
            if not line.strip():
                continue
            data = load_object(line, "a line")
            name = data.pop("type", None)
            if not isinstance(name, str):
                raise malformed("a line has no `type`")
            if name.encode() in _EVENTS:
                self._take(batch, name, data)
            if batch.final:
                return


class TextReader(Reader):
    """text/plain: the text itself; complete when the response ends cleanly."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []

    def _read(self, batch: Batch, chunk: bytes) -> None:
        self._say(batch, self._decoder.decode(chunk))

    def _finish(self, batch: Batch, cut: AgentError | None) -> None:
        if cut:
            raise cut
        self._say(batch, self._decoder.decode(b"", final=True))
        batch.add(Final(spoken("".join(self._parts), "the text")))

    def _say(self, batch: Batch, text: str) -> None:
        text = clean(text)
        self._parts.append(text)
        batch.token(text)


class WholeReader(Reader):
    """An answer that only makes sense when it is all there."""

    def __init__(self) -> None:
        self._body = bytearray()

    def _read(self, batch: Batch, chunk: bytes) -> None:
        self._body += chunk

    def _finish(self, batch: Batch, cut: AgentError | None) -> None:
        if cut:
            raise cut
        self._answer(batch, load_object(self._body, "the answer"))

    @abstractmethod
    def _answer(self, batch: Batch, data: dict[str, Any]) -> None:
        """Add what the whole answer says."""


class JsonReader(WholeReader):
    """application/json: the answer in one object."""

    def _answer(self, batch: Batch, data: dict[str, Any]) -> None:
        batch.add(answer(data))


def answer(data: Mapping[str, Any]) -> Final:
    """The answer object as an event. Raises `AgentError` malformed.

    Optional fields may be null. `content` may be missing or empty only where the
    answer is silent or carries attachments.
    """
    silent = _field(data, "silent", bool, False)
    attachments = _field(data, "attachments", list, ())
    for item in attachments:
        if not isinstance(item, dict) or not _is_attachment(item):
            raise malformed("an attachment is not an object with a `url`")
    buttons = _field(data, "buttons", list, ())
    for item in buttons:
        if not isinstance(item, dict) or not isinstance(item.get("text"), str):
            raise malformed("a button is not an object with a `text`")
    content = _field(data, "content", str, "")
    if not silent and not attachments:
        spoken(content, "`content`")
    metadata = _field(data, "metadata", dict, {})
    return Final(content, attachments, silent, metadata, buttons)


def _is_attachment(item: Mapping[str, Any]) -> bool:
    """A file by its link, or a place by its numbers."""
    if item.get("kind") != "location":
        return isinstance(item.get("url"), str)
    return all(type(item.get(name)) in (int, float) for name in ("latitude", "longitude"))


def encode(value: Mapping[str, Any]) -> bytes:
    """JSON. What orjson refuses (halves of surrogate pairs, huge integers) goes out escaped."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def post(url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> httpx.Request:
    """A JSON request. Compressed answers are not wanted: their size says nothing."""
    fields = {**_COMMON, "content-type": "application/json", **headers}
    if len(body) <= _PIECE_BYTES:
        return httpx.Request("POST", url, headers=fields, content=body)
    fields["content-length"] = str(len(body))
    return httpx.Request("POST", url, headers=fields, content=_pieces(body))


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A long history piece by piece: other sessions' turns go on between two of them."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


def get(url: httpx.URL, headers: Mapping[str, str] = _NO_HEADERS) -> httpx.Request:
    """A request without a body."""
    return httpx.Request("GET", url, headers={**_COMMON, **headers})


@lru_cache(maxsize=256)
def parsed_url(url: str) -> httpx.URL:
    """`url`, parsed once. Raises `httpx.InvalidURL`."""
    return httpx.URL(url)


def _field(data: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise malformed(f"`{name}` is {type(value).__name__}, not {kind.__name__}")
    return value


def _text_of(data: Mapping[str, Any]) -> str:
    text = data.get("text")
    if not isinstance(text, str):
        raise malformed("a token has no `text`")
    return text


def _reported(data: Mapping[str, Any]) -> AgentError:
    message = data.get("message")
    detail = shortened(message) if isinstance(message, str) else ""
    return AgentError(
        "reported", detail or "no reason given", retryable=data.get("retryable") is True
    )
