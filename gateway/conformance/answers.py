"""Checks of what an answer is made of: its form, its type, its events and its characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from gateway.agents.base import AgentError
from gateway.agents.parse import Lines, ServerSentEvents, load_object
from gateway.conformance.base import Check, Failed, Warned
from gateway.conformance.subject import Exchange, Subject, failure, mark, question, shown

GREETING = "Hello! Please answer in one short sentence."
STREAMS = {"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl"}
WHOLE = {"application/json", "text/plain"}
SAMPLE = "ä ß ñ Ω Ж א ع ह 漢 한 é 😀 👩‍👩‍👧 𝒳 𐍈 🇵🇪"
"""Two-, three- and four-byte characters, right-to-left, combining and joined ones."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream. `data` as it was sent."""

    name: str
    data: bytes


async def check_plain(subject: Subject) -> str:
    """One question, one answer, no stream asked for."""
    heard = await subject.ask(question(GREETING), stream=False)
    return f"{shown(heard.final.content, 40)} in {heard.seconds:.1f} s"


async def check_content_type(subject: Subject) -> str:
    """The answer says truly what it is, with and without a stream."""
    seen = []
    for stream in (False, True):
        got = await _exchanged(subject, GREETING, stream=stream)
        _require_known_type(subject, got)
        seen.append(got.content_type)
    return " and ".join(dict.fromkeys(seen))


async def check_stream(subject: Subject) -> str:
    """Events in order, tokens that make up the answer, one end, nothing behind it."""
    got = await _exchanged(subject, GREETING, stream=True)
    if got.content_type in WHOLE:
        await subject.ask(question(GREETING), stream=True)
        if got.content_type == "text/plain":
            return "plain text"
        raise Warned(
            "a stream was asked for, one JSON object came",
            "It works, but people see the text only when it is whole.",
        )
    _require_known_type(subject, got)
    heard = await subject.ask(question(GREETING), stream=True)
    if not subject.is_rpc:
        return _completion_seen(got)
    return _events_seen(got, heard.first_seconds)


async def check_unicode(subject: Subject) -> str:
    """Every plane of Unicode goes in and comes out whole."""
    before, after = mark(), mark()
    text = f"Please repeat exactly: {before} {SAMPLE} {after}"
    for stream in (False, True):
        got = await _exchanged(subject, text, stream=stream)
        _require_utf8(got)
        heard = await subject.ask(question(text), stream=stream)
        _require_intact(heard.final.content, before, after)
    if before in heard.final.content:
        return "came back as it went in"
    return "understood; the answer does not repeat it"


async def _exchanged(subject: Subject, text: str, *, stream: bool) -> Exchange:
    request = subject.request(question(text), stream=stream)
    return await subject.exchange(request, lambda body: _is_complete(subject, body))


def _is_complete(subject: Subject, body: bytes) -> bool:
    """Whether the last event of a stream is there."""
    if not subject.is_rpc:
        return b"[DONE]" in body
    return b'"final"' in body or b"event: final" in body or b"event:final" in body


def _require_known_type(subject: Subject, got: Exchange) -> None:
    if not 200 <= got.status < 300:
        raise Failed(f"HTTP {got.status}", "Answer with status 200.")
    if got.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Failed("a compressed answer", "The gateway asks for identity; do not compress.")
    try:
        subject.protocol.reader(got.content_type)
    except AgentError as error:
        raise failure(error) from None


def _events_seen(got: Exchange, first_seconds: float) -> str:
    events = list(events_of(got))
    _require_one_end(events, got)
    tokens = [_text(event) for event in events if event.name == "token"]
    final = load_object(events[-1].data, "`final`")
    content = final.get("content") or ""
    if tokens and "".join(tokens) != content:
        raise Failed(
            f"tokens {shown(''.join(tokens), 24)}, final {shown(content, 24)}",
            "`final` repeats what the tokens said: people would see the text change.",
        )
    if not tokens and content:
        raise Warned("a stream without tokens", "Send the text in `token` events as it is made.")
    return f"{len(tokens)} tokens, the first after {first_seconds:.2f} s, then `final`"


def _require_one_end(events: list[Event], got: Exchange) -> None:
    finals = [place for place, event in enumerate(events) if event.name == "final"]
    if len(finals) != 1:
        raise Failed(f"{len(finals)} `final` events", "End each stream with exactly one `final`.")
    if behind := events[finals[0] + 1 :]:
        raise Failed(f"`{behind[0].name}` after `final`", "`final` is the last event.")
    if not got.ended:
        raise Failed(f"after `final`: {got.cut}", "End the response right after `final`.")


def _completion_seen(got: Exchange) -> str:
    ends = bytes(got.body).count(b"data: [DONE]")
    if ends > 1:
        raise Failed(f"`[DONE]` {ends} times", "End each stream with exactly one `[DONE]`.")
    if not got.ended:
        raise Failed(f"after the end: {got.cut}", "End the response right after `[DONE]`.")
    if not ends:
        raise Warned("no `[DONE]`", "A finish reason is enough for the gateway, not for others.")
    return f"{bytes(got.body).count(b'data: ') - 1} chunks, then `[DONE]`"


def events_of(got: Exchange) -> Iterator[Event]:
    """The events of our protocol in a stream's bytes, also those behind its end."""
    known = {"token", "reasoning", "tool_call", "tool_result", "attachment", "final", "error"}
    split = _server_sent if got.content_type == "text/event-stream" else _lines
    return (event for event in split(bytes(got.body)) if event.name in known)


def _server_sent(body: bytes) -> Iterator[Event]:
    for name, data in ServerSentEvents().feed(body):
        yield Event(name.decode("utf-8", "replace"), data)


def _lines(body: bytes) -> Iterator[Event]:
    lines = Lines()
    for line in [*lines.feed(body), lines.rest()]:
        if line.strip():
            yield Event(str(load_object(line, "a line").get("type")), line)


def _text(event: Event) -> str:
    return str(load_object(event.data, "a token").get("text"))


def _require_utf8(got: Exchange) -> None:
    try:
        text = bytes(got.body).decode()
    except UnicodeDecodeError:
        raise Failed("bytes that are not UTF-8", "Encode the answer as UTF-8.") from None
    if "�" in text or "\\ufffd" in text.lower():
        raise Failed("a replaced character (U+FFFD)", "Never cut text between bytes.")
    for piece in _json_pieces(got):
        try:
            orjson.loads(piece)
        except orjson.JSONDecodeError:
            raise Failed(
                "JSON that is not clean Unicode", "Half a surrogate pair is no character."
            ) from None


def _json_pieces(got: Exchange) -> list[bytes]:
    if got.content_type in STREAMS:
        return [event.data for event in events_of(got)]
    return [bytes(got.body)] if got.content_type == "application/json" else []


def _require_intact(content: str, before: str, after: str) -> None:
    """Where the sample is repeated, it has to be the same."""
    _, found, rest = content.partition(before)
    between, ended, _ = rest.partition(after)
    if found and ended and between.strip() != SAMPLE:
        raise Failed(f"came back as {shown(between, 40)}", "Read and write UTF-8 everywhere.")


CHECKS = (
    Check("plain", check_plain),
    Check("content type", check_content_type),
    Check("stream", check_stream),
    Check("unicode", check_unicode),
)
