"""OpenAI-compatible chat completions: Ollama, llama.cpp, vLLM and the like as the agent.

The fields are those of OpenAI's API reference, "Create chat completion" and
"The chat completion chunk object". Reasoning is no part of it; servers name it
`reasoning_content` (vLLM, DeepSeek, llama.cpp) or `reasoning` (Ollama, OpenRouter).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import orjson

from gateway.agents.base import AgentError, Final, Question, Target, Trace
from gateway.agents.http import shortened
from gateway.agents.parse import ServerSentEvents, load_object, malformed
from gateway.agents.reader import Batch, Reader, spoken, unfinished
from gateway.agents.rpc import WholeReader, encode, get, parsed_url, post

ACCEPT = "text/event-stream, application/json"
_ENDPOINT = "/chat/completions"
_RETRIED_CODES = {408, 429}
_ASSISTANT, _USER = b'{"role":"assistant"', b'{"role":"user"'
_LEFT = "left unanswered, and not to be answered or done now"


def request(target: Target, question: Question) -> httpx.Request:
    """The call of a model. Attachments become notes in the text; other messages go as they are."""
    options: dict[str, Any] = {"model": target.model, "stream": target.stream}
    if target.stream:
        options["stream_options"] = {"include_usage": True}
    messages = b",".join(_conversation(question))
    body = b'%b,"messages":[%b]}' % (encode(options)[:-1], messages)
    headers = {"accept": ACCEPT, "idempotency-key": question.turn, **_authorization(target)}
    return post(_url(target, _ENDPOINT), body, headers)


def health(target: Target) -> httpx.Request:
    """The list of models: the cheapest thing every such server can answer."""
    return get(_url(target, "/models"), _authorization(target))


def reader(content_type: str) -> Reader:
    """What reads an answer of this type. Raises `AgentError` malformed."""
    if content_type == "text/event-stream":
        return CompletionStreamReader()
    if content_type == "application/json":
        return CompletionReader()
    raise malformed(f"content type {shortened(content_type) or 'missing'!r}")


class CompletionReader(WholeReader):
    """The answer in one object."""

    def _answer(self, batch: Batch, data: dict[str, Any]) -> None:
        _raise_reported(data)
        choice = _first_choice(data)
        if choice is None:
            raise malformed("no choices")
        message = _mapping(choice.get("message"))
        for call in _mappings(message.get("tool_calls")):
            batch.add(Trace("tool_call", call))
        for text in _reasoning(message):
            batch.add(Trace("reasoning", {"text": text}))
        metadata = _metadata(data) | _known(choice, "finish_reason")
        batch.add(Final(spoken(_said(message), "the completion"), metadata=metadata))


class CompletionStreamReader(Reader):
    """The answer in chunks. `[DONE]` or a finish reason makes it complete."""

    def __init__(self) -> None:
        self._events = ServerSentEvents()
        self._parts: list[str] = []
        self._metadata: dict[str, Any] = {}
        self._tool_calls: dict[object, dict[str, Any]] = {}

    def _read(self, batch: Batch, chunk: bytes) -> None:
        for _, data in self._events.feed(chunk):
            if data.strip() == b"[DONE]":
                self._complete(batch)
                return
            self._chunk(batch, load_object(data, "a chunk"))

    def _finish(self, batch: Batch, cut: AgentError | None) -> None:
        too_large = cut is not None and cut.code == "too_large"
        if too_large or "finish_reason" not in self._metadata:
            raise cut or unfinished("a finish reason or `[DONE]`")
        self._complete(batch)

    def _chunk(self, batch: Batch, data: dict[str, Any]) -> None:
        _raise_reported(data)
        self._metadata |= _metadata(data)
        choice = _first_choice(data)
        if choice is None:
            return
        delta = _mapping(choice.get("delta"))
        for text in _reasoning(delta):
            batch.add(Trace("reasoning", {"text": text}))
        if text := _said(delta):
            self._parts.append(text)
            batch.token(text)
        for piece in _mappings(delta.get("tool_calls")):
            self._gather(piece)
        self._metadata |= _known(choice, "finish_reason")

    def _gather(self, piece: Mapping[str, Any]) -> None:
        """Put a tool call together: its name comes first, its arguments in pieces."""
        index = piece.get("index")
        key = index if isinstance(index, int) else len(self._tool_calls)
        call = self._tool_calls.setdefault(key, {"id": "", "name": "", "arguments": ""})
        function = _mapping(piece.get("function"))
        for name, value in (("id", piece.get("id")), *function.items()):
            if name in call and isinstance(value, str):
                call[name] += value

    def _complete(self, batch: Batch) -> None:
        for call in self._tool_calls.values():
            batch.add(Trace("tool_call", call))
        content = spoken("".join(self._parts), "the completion")
        batch.add(Final(content, metadata=self._metadata))


def _url(target: Target, path: str) -> httpx.URL:
    """`target.url` is the base (`…/v1`) or already the endpoint; a query is kept."""
    url = parsed_url(target.url)
    base = url.path.rstrip("/").removesuffix(_ENDPOINT)
    return url.copy_with(path=base + path)


def _authorization(target: Target) -> dict[str, str]:
    return {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}


def _conversation(question: Question) -> Iterator[bytes]:
    """The messages. A model answers all that follows its last answer, so that what is not
    to be answered there (it was stopped, or it failed) says so."""
    messages = question.history
    due = left = len(messages) - question.waiting
    while left and not messages[left - 1].startswith(_ASSISTANT):
        left -= 1
    for at, message in enumerate(messages):
        yield _portable(message, unanswered=left <= at < due and message.startswith(_USER))


def _portable(message: bytes, *, unanswered: bool = False) -> bytes:
    """A message of the history in the fields that models know.

    What is ours becomes lines of text: the context before what was said, the
    attachments behind it.
    """
    if not unanswered and b'"attachments"' not in message and b'"context"' not in message:
        return message
    fields = load_object(message, "a message")
    context, attachments = fields.pop("context", None), fields.pop("attachments", None)
    lines = [*_around(_mapping(context)), fields.get("content"), *map(_note, attachments or ())]
    text = "\n".join(line for line in lines if line)
    fields["content"] = f"[{_LEFT}: {text}]" if unanswered else text
    return orjson.dumps(fields)


def _around(context: Mapping[str, Any]) -> Iterator[str]:
    """What was said around a message, a line each."""
    for one in _mappings(context.get("overheard")):
        yield f"[said in the chat by {one.get('name')}] {one.get('text')}"
    if quote := _mapping(context.get("quote")):
        whose = f" to {quote['sender_name']}" if quote.get("sender_name") else ""
        yield f"[in reply{whose}] {quote.get('text')}"
    if context.get("forwarded"):
        yield f"[forwarded from {context['forwarded']}]"
    if context.get("undelivered"):
        yield "[this did not reach the person]"
    if context.get("name"):
        yield f"[{context['name']} says]"


def _note(attachment: Mapping[str, Any]) -> str:
    names = ("kind", "name", "url", "error")
    words = [attachment.get(name) or ("file" if name == "kind" else "") for name in names]
    return f"[{' '.join(str(word) for word in words if word)}]"


def _first_choice(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Choice 0: others are never asked for. None in a chunk that brings only usage."""
    for choice in _mappings(data.get("choices")):
        if choice.get("index", 0) in (0, None):
            return choice
    return None


def _said(message: Mapping[str, Any]) -> str:
    """The text of a message or delta. A refusal is an answer too; parts may come as a list."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in _mappings(content) if part.get("type") == "text")
        return "".join(text for text in texts if isinstance(text, str))
    raise malformed("content is not text")


def _reasoning(message: Mapping[str, Any]) -> Iterator[str]:
    text = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(text, str) and text:
        yield text


def _metadata(data: Mapping[str, Any]) -> dict[str, Any]:
    return _known(data, "usage") | _known(data, "model")


def _known(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: value} if (value := data.get(name)) else {}


def _raise_reported(data: Mapping[str, Any]) -> None:
    """Servers report errors in mid-stream as `{"error": {"message", "code"}}` or as a text."""
    if not (error := data.get("error")):
        return
    fields = error if isinstance(error, dict) else {"message": error}
    message, code = fields.get("message"), fields.get("code")
    status = code if isinstance(code, int) else 0
    raise AgentError(
        "reported",
        shortened(message) if isinstance(message, str) else "no reason given",
        retryable=status in _RETRIED_CODES or status >= 500,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
