"""How the fake agent answers, well or badly: the forms of an answer and the faults."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

from aiohttp import web

CONTENT_TYPES = {
    "sse": "text/event-stream; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
    "openai": "text/event-stream",
    "completion": "application/json",
}
HUGE_BYTES = 100 * 1024 * 1024
_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Behaviour:
    """What to answer, and what to do wrong. Seconds, bytes.

    form     sse, ndjson, text or json; "" for what was asked
    reply    the text; None for "ack " and the texts of the messages to be answered
    tokens   pad the reply with w0, w1, … to this many tokens
    delay    pause before each token and after each chunk
    first    pause before the answer begins
    chunk    write pieces of this many bytes, each on its own
    fault    a name from FAULTS           status  anything but 200 refuses
    final    the answer object, instead of {"content": reply}
    body     these very bytes, as content_type; framing and reply do not matter then
    """

    form: str = ""
    reply: str | None = None
    tokens: int = 0
    delay: float = 0.0
    first: float = 0.0
    chunk: int = 0
    fault: str = ""
    status: int = 200
    retry_after: str = ""
    final: dict[str, Any] | None = None
    body: bytes | None = None
    content_type: str = ""

    def with_directives(self, text: str) -> Behaviour:
        """Changed by words like `#fault=hang` or `#tokens=50` in what the person wrote."""
        kinds = {item.name: type(getattr(Behaviour, item.name)) for item in fields(self)}
        changes: dict[str, Any] = {
            name: kinds[name](value)
            for name, value in re.findall(r"#(\w+)=(\S+)", text)
            if kinds.get(name) in (str, int, float)
        }
        return replace(self, **changes) if changes else self


@dataclass(frozen=True)
class Answer:
    """An answer ready to be written: `tokens` one by one, then `end`."""

    request: web.Request
    behaviour: Behaviour
    form: str
    tokens: list[bytes]
    end: bytes

    async def begin(self, **headers: str) -> web.StreamResponse:
        """The status line and headers."""
        kind = self.behaviour.content_type or CONTENT_TYPES[self.form]
        response = web.StreamResponse(headers={"Content-Type": kind, **headers})
        await response.prepare(self.request)
        return response

    async def say(self, response: web.StreamResponse, pieces: list[bytes]) -> None:
        """Write `pieces`, with the pauses and in the sizes the behaviour wants."""
        if not self.behaviour.delay:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            await asyncio.sleep(self.behaviour.delay)
            size = self.behaviour.chunk or len(piece) or 1
            for start in range(0, len(piece), size):
                await response.write(piece[start : start + size])
                if self.behaviour.chunk:
                    await asyncio.sleep(self.behaviour.delay)

    @property
    def half(self) -> list[bytes]:
        """The first half of the tokens."""
        return self.tokens[: len(self.tokens) // 2]


def compose(request: web.Request, behaviour: Behaviour, form: str, reply: str) -> Answer:
    """The answer that says `reply` in `form`."""
    words = re.findall(r"\s*\S+|\s+$", reply)
    padding = range(behaviour.tokens - len(words))
    words += [f" w{number}" for number in padding]
    text = "".join(words)
    final = {"content": text} if behaviour.final is None else behaviour.final
    tokens = [_token(form, word) for word in words]
    return Answer(request, behaviour, form, [t for t in tokens if t], _end(form, final, words))


async def give(answer: Answer) -> web.StreamResponse:
    """Answer, or do what the fault says."""
    behaviour = answer.behaviour
    await asyncio.sleep(behaviour.first)
    if behaviour.status != 200:
        return _refusal(behaviour)
    if behaviour.fault:
        return await FAULTS[behaviour.fault](answer)
    response = await answer.begin()
    if behaviour.body is not None:
        await answer.say(response, [behaviour.body])
    else:
        await answer.say(response, [*answer.tokens, answer.end])
    await response.write_eof()
    return response


def _refusal(behaviour: Behaviour) -> web.Response:
    headers = {"Retry-After": behaviour.retry_after} if behaviour.retry_after else {}
    body = {"error": {"message": "refused by the fake"}, "input": "private words"}
    return web.json_response(body, status=behaviour.status, headers=headers)


def _event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _line(name: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": name, **data}).encode() + b"\n"


def _completion_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"object": "chat.completion.chunk", "model": "fake-1", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _token(form: str, word: str) -> bytes:
    if form == "sse":
        return _event("token", {"text": word})
    if form == "ndjson":
        return _line("token", {"text": word})
    if form == "openai":
        return _completion_chunk({"content": word})
    return word.encode() if form == "text" else b""


def _end(form: str, final: dict[str, Any], words: list[str]) -> bytes:
    if form == "sse":
        return _event("final", final)
    if form == "ndjson":
        return _line("final", final)
    if form == "json":
        return json.dumps(final).encode()
    usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
    if form == "openai":
        last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
        tail = b"data: " + json.dumps(last).encode() + b"\n\n"
        return _completion_chunk({}, "stop") + tail + b"data: [DONE]\n\n"
    if form == "completion":
        message = {"role": "assistant", "content": final["content"]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"model": "fake-1", "choices": [choice], "usage": usage}).encode()
    return b""


async def _for_ever() -> NoReturn:
    """Until the client goes away: the server then cancels the handler."""
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets was set")


def _break(answer: Answer, data: bytes = b"", *, reset: bool = False) -> None:
    """Close the connection below HTTP, by FIN or by RST, after some last bytes."""
    transport = answer.request.transport
    assert transport is not None
    if data:
        transport.write(data)
    if reset:
        linger = struct.pack("ii", 1, 0)  # linger for 0 seconds: close sends RST
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    else:
        transport.close()


async def _hang(answer: Answer) -> NoReturn:
    await _for_ever()


async def _hang_headers(answer: Answer) -> NoReturn:
    await answer.begin()
    await _for_ever()


async def _hang_middle(answer: Answer) -> NoReturn:
    response = await answer.begin()
    await answer.say(response, answer.half)
    await _for_ever()


async def _hang_after(answer: Answer) -> NoReturn:
    response = await answer.begin()
    await answer.say(response, [*answer.tokens, answer.end])
    await _for_ever()


async def _close(answer: Answer) -> NoReturn:
    _break(answer)
    await _for_ever()


async def _garbage(answer: Answer) -> NoReturn:
    _break(answer, b"\x00\xff\x17this is not HTTP\r\n\r\n")
    await _for_ever()


async def _close_middle(answer: Answer, *, reset: bool = False) -> NoReturn:
    response = await answer.begin()
    await answer.say(response, answer.half)
    await response.write((answer.tokens or [answer.end])[-1][:12])
    if reset:  # it may overtake what was written: let that arrive first
        await asyncio.sleep(0.5)
    _break(answer, reset=reset)
    await _for_ever()


async def _reset_middle(answer: Answer) -> NoReturn:
    await _close_middle(answer, reset=True)


async def _short(answer: Answer) -> NoReturn:
    body = answer.behaviour.body or answer.end
    response = await answer.begin(**{"Content-Length": str(len(body) + 1000)})
    await response.write(body)
    _break(answer)
    await _for_ever()


async def _flood(answer: Answer, block: bytes, total: int | None) -> web.StreamResponse:
    """Write `block` again and again, up to `total` bytes or without an end."""
    response = await answer.begin()
    written = 0
    while total is None or written < total:
        await response.write(block)
        written += len(block)
    await response.write_eof()
    return response


async def _huge(answer: Answer) -> web.StreamResponse:
    block = (answer.tokens or [b"x" * 64])[0]
    return await _flood(answer, block * (_BLOCK // len(block)), HUGE_BYTES)


async def _huge_line(answer: Answer) -> web.StreamResponse:
    return await _flood(answer, b"x" * _BLOCK, HUGE_BYTES)


async def _drip(answer: Answer, pieces: Callable[[], AsyncIterator[bytes]]) -> web.StreamResponse:
    response = await answer.begin()
    async for piece in pieces():
        await response.write(piece)
        await asyncio.sleep(0.02)
    return response


async def _endless(answer: Answer) -> web.StreamResponse:
    async def tokens() -> AsyncIterator[bytes]:
        while True:
            yield answer.tokens[0]

    return await _drip(answer, tokens)


async def _keepalive(answer: Answer) -> web.StreamResponse:
    async def comments() -> AsyncIterator[bytes]:
        while True:
            yield b": still thinking\n\n"

    return await _drip(answer, comments)


async def _garbage_body(answer: Answer) -> web.StreamResponse:
    response = await answer.begin()
    await response.write(bytes(range(256)) * 16 + b"\nevent: token\ndata: \xff\x00{\n\n")
    await response.write(b'event: token\ndata: {"text": 7}\n\n')
    await response.write_eof()
    return response


async def _wrong_type(answer: Answer) -> web.StreamResponse:
    return web.Response(text="<h1>It works</h1>", content_type="text/html")


async def _gzip(answer: Answer) -> web.StreamResponse:
    response = web.json_response({"content": "a" * 1000})
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def _redirect(answer: Answer) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/elsewhere"})


async def _no_final(answer: Answer) -> web.StreamResponse:
    response = await answer.begin()
    await answer.say(response, answer.tokens)
    await response.write_eof()
    return response


async def _error(answer: Answer, *, said: list[bytes] | None = None) -> web.StreamResponse:
    response = await answer.begin()
    error = {"message": "the model is tired", "retryable": True}
    end = _line("error", error) if answer.form == "ndjson" else _event("error", error)
    if answer.form == "openai":
        end = b'data: {"error": {"message": "the model is tired", "code": 503}}\n\n'
    await answer.say(response, [*(answer.half if said is None else said), end])
    await response.write_eof()
    return response


async def _error_first(answer: Answer) -> web.StreamResponse:
    return await _error(answer, said=[])


FAULTS: dict[str, Callable[[Answer], Awaitable[web.StreamResponse]]] = {
    "hang": _hang,
    "hang_headers": _hang_headers,
    "hang_middle": _hang_middle,
    "hang_after": _hang_after,
    "close": _close,
    "close_middle": _close_middle,
    "reset_middle": _reset_middle,
    "short": _short,
    "huge": _huge,
    "huge_line": _huge_line,
    "endless": _endless,
    "keepalive": _keepalive,
    "garbage": _garbage,
    "garbage_body": _garbage_body,
    "wrong_type": _wrong_type,
    "gzip": _gzip,
    "redirect": _redirect,
    "no_final": _no_final,
    "error": _error,
    "error_first": _error_first,
}
"""What can go wrong. `close` comes before a word, `…_middle` after half the tokens."""
