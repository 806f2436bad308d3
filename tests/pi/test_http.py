"""Pi over a real socket, without a model."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import zlib
from typing import Any

import httpx
import pytest

from pi.app import MAX_BODY_BYTES
from pi.mind import MAX_ANSWER_CHARS
from pi.protocol import token
from pi.rules import Rules
from pi.skills.small_talk import ATTACHMENT, EMPTY, UNKNOWN
from tests.pi.conftest import NOON, Start, ask, events, no_sleep

SSE = {"Accept": "text/event-stream, application/x-ndjson, application/json"}


async def test_answer_streams_tokens_then_final(start: Start) -> None:
    pi = await start()
    response = await pi.post("/rpc/message", json=ask("what is 17% of 240"), headers=SSE)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    call, result, *tokens, last = events(response.text)
    assert call == ("tool_call", {"name": "calculate", "arguments": {"expression": "17% of 240"}})
    assert result == ("tool_result", {"name": "calculate", "result": "40.8"})
    assert len(tokens) == 5 and {name for name, _ in tokens} == {"token"}
    assert last == (
        "final",
        {
            "content": "17% of 240 = 40.8",
            "attachments": [],
            "silent": False,
            "metadata": {"brain": "rules"},
        },
    )
    assert "".join(data["text"] for _, data in tokens) == last[1]["content"]


async def test_first_word_arrives_while_the_rest_is_unsaid(start: Start) -> None:
    gate = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()

    pi = await start(using=Rules(clock=lambda: NOON, sleep=sleep))
    async with pi.stream("POST", "/rpc/message", json=ask("thanks"), headers=SSE) as response:
        chunks = response.aiter_text()
        first = await anext(chunks)
        assert events(first) == [("token", {"text": "You "})]
        gate.set()
        rest = "".join([chunk async for chunk in chunks])
    assert events(rest)[-1][1]["content"] == "You are welcome."


@pytest.mark.parametrize(
    ("accept", "stream", "content_type"),
    [
        ("*/*", None, "text/event-stream"),
        ("text/event-stream", True, "text/event-stream"),
        ("application/x-ndjson", True, "application/x-ndjson"),
        ("application/json", True, "application/json"),
        ("text/event-stream", False, "application/json"),
        ("image/png", True, "application/json"),
    ],
)
async def test_kind_of_answer(
    start: Start, accept: str, stream: bool | None, content_type: str
) -> None:
    pi = await start()
    body = ask("2+2", stream=stream)
    response = await pi.post("/rpc/message", json=body, headers={"Accept": accept})
    assert response.headers["content-type"] == content_type
    if content_type == "application/json":
        final = response.json()
    elif content_type == "application/x-ndjson":
        lines = [json.loads(line) for line in response.text.splitlines()]
        assert lines[0]["type"] == "tool_call"
        assert lines[2] == {"type": "token", "text": "2 "}
        assert lines[-1].pop("type") == "final"
        final = lines[-1]
    else:
        final = events(response.text)[-1][1]
    assert final["content"] == "2 + 2 = 4"
    assert final["silent"] is False and final["attachments"] == []


async def test_waiting_messages_are_answered_together_and_old_ones_are_not(start: Start) -> None:
    pi = await start()
    messages = [
        {"role": "user", "content": "3+3"},
        {"role": "assistant", "content": "3 + 3 = 6"},
        {"role": "user", "content": "2+2"},
        {"role": "user", "content": "what day is it"},
    ]
    response = await pi.post("/rpc/message", json={"messages": messages, "stream": False})
    assert response.json()["content"] == "2 + 2 = 4\n\nToday is Sunday, 22 November 2026."


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (
            {"role": "user", "content": "", "attachments": [{"kind": "image", "name": "a.png"}]},
            ATTACHMENT,
        ),
        ({"role": "user", "attachments": [{}], "content": "2+2"}, f"2 + 2 = 4\n\n{ATTACHMENT}"),
        ({"role": "user", "attachments": [{"name": 7}]}, ATTACHMENT),
        ({"role": "user", "content": ""}, EMPTY),
        ({"role": "user", "content": "\0\x01\u2028\ufffe"}, None),
        ({"role": "user", "content": "😀 𝔘 \U0010fffd"}, UNKNOWN),
        ({"role": "user", "content": "word " * 200_000}, UNKNOWN),
        ({"role": "system", "content": "Say hello."}, None),
    ],
)
async def test_unusual_messages_get_an_answer(
    start: Start, message: dict[str, Any], content: str | None
) -> None:
    pi = await start()
    response = await pi.post("/rpc/message", json={"messages": [message], "stream": False})
    assert response.status_code == 200
    assert response.json()["content"] == content or content is None


USER = {"role": "user", "content": "2+2"}
DEEP = b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


async def test_only_what_waits_is_answered(start: Start) -> None:
    """What the person stopped is not done with the next message."""
    pi = await start()
    asked = ask("17% of 240", "2+2", waiting=1, stream=False)
    assert (await pi.post("/rpc/message", json=asked)).json()["content"] == "2 + 2 = 4"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe\x00", 400, "not JSON"),
        (b'{"messages":[{"role":"user","content":"\\ud800"}]}', 400, "not JSON"),
        (b'{"messages": NaN}', 400, "not JSON"),
        (DEEP, 400, "not JSON"),
        (b"[]", 422, "must be a JSON object"),
        (b"null", 422, "must be a JSON object"),
        ({}, 422, "messages must be a list"),
        ({"messages": []}, 422, "messages must be a list"),
        ({"messages": {"0": USER}}, 422, "messages must be a list"),
        ({"messages": ["hi"]}, 422, "messages[0] must be an object"),
        ({"messages": [USER, {"role": "root", "content": ""}]}, 422, "messages[1].role"),
        ({"messages": [{"role": ["user"], "content": ""}]}, 422, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, 422, "messages[0].content must be a string"),
        ({"messages": [{"role": "user", "content": None}]}, 422, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, 422, "messages[0].content"),
        ({"messages": [USER | {"attachments": {}}]}, 422, "messages[0].attachments"),
        ({"messages": [USER | {"attachments": [1]}]}, 422, "messages[0].attachments"),
        ({"messages": [{"role": "assistant", "content": "4"}]}, 422, "nothing to answer"),
        ({"messages": [USER], "stream": "yes"}, 422, "stream must be a boolean"),
        ({"messages": [USER], "sessionId": 5}, 422, "sessionId must be a string"),
        ({"messages": [USER], "turnId": {}}, 422, "turnId must be a string"),
        ({"messages": [USER], "waiting": True}, 422, "waiting must be a number"),
        ({"messages": [USER], "waiting": -1}, 422, "waiting must be a number"),
    ],
)
async def test_bad_request_is_refused_with_a_reason(
    start: Start, body: Any, status: int, said: str
) -> None:
    pi = await start()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await pi.post("/rpc/message", content=content)
    assert (response.status_code, said in response.json()["error"]) == (status, True)
    assert (await pi.get("/health")).status_code == 200


async def test_unknown_fields_are_ignored(start: Start) -> None:
    pi = await start()
    body = ask("2+2", stream=False, context={"a": [1]}, origin="user", future={"x": None})
    assert (await pi.post("/rpc/message", json=body)).status_code == 200


async def test_mutilated_requests_never_break_pi(start: Start) -> None:
    pi = await start()
    chance = random.Random(7)
    whole = bytearray(json.dumps(ask("2+2", "time in Tokyo", stream=False)).encode())
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        response = await pi.post("/rpc/message", content=bytes(body), headers={"Accept": "x/y"})
        assert response.status_code in (200, 400, 422)


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_over_the_limit_is_refused(start: Start, chunked: bool) -> None:
    pi = await start()
    size = MAX_BODY_BYTES + 1

    async def pieces() -> Any:
        for _ in range(0, size, 1 << 20):
            yield b" " * (1 << 20)
        yield b" "

    try:
        response = await pi.post("/rpc/message", content=pieces() if chunked else b" " * size)
    except (httpx.WriteError, httpx.ReadError):
        pass  # refused while it was still being sent
    else:
        assert response.status_code == 413
        assert "larger than" in response.json()["error"]
    assert (await pi.get("/health")).status_code == 200


async def test_size_is_refused_before_the_body_is_sent(start: Start) -> None:
    pi = await start()
    reader, writer = await asyncio.open_connection(pi.base_url.host, pi.base_url.port)
    writer.write(b"POST /rpc/message HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 30)
    writer.close()


async def test_compressed_body_cannot_grow_over_the_limit(start: Start) -> None:
    pi = await start()
    bomb = zlib.compress(b" " * (MAX_BODY_BYTES * 4))
    response = await pi.post("/rpc/message", content=bomb, headers={"Content-Encoding": "deflate"})
    assert response.status_code in (400, 413)
    assert (await pi.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/rpc/message", 405), ("POST", "/health", 405), ("GET", "/", 404)],
)
async def test_other_paths_and_methods_are_json_errors(
    start: Start, method: str, path: str, status: int
) -> None:
    response = await (await start()).request(method, path)
    assert response.status_code == status
    assert response.json()["error"]


async def test_pages_in_a_browser_may_not_call(start: Start) -> None:
    pi = await start()
    headers = {"Origin": "https://example.com", "Content-Type": "text/plain"}
    response = await pi.post("/rpc/message", json=ask("hi"), headers=headers)
    assert response.status_code == 403


async def test_health_without_a_model(start: Start) -> None:
    response = await (await start()).get("/health")
    assert response.json() == {"status": "ok", "brain": "rules", "model": None}


async def test_client_that_leaves_ends_the_answer(start: Start) -> None:
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    pi = await start(using=Rules(clock=lambda: NOON, sleep=sleep))
    async with pi.stream("POST", "/rpc/message", json=ask("2+2"), headers=SSE) as response:
        await anext(response.aiter_raw())
    await asyncio.wait_for(ended.wait(), 30)


async def test_a_hundred_at_once_each_get_their_own_answer(start: Start) -> None:
    pi = await start(using=Rules(clock=lambda: NOON, sleep=no_sleep))

    async def one(number: int) -> None:
        response = await pi.post("/rpc/message", json=ask(f"{number} + 1"), headers=SSE)
        assert events(response.text)[-1][1]["content"] == f"{number} + 1 = {number + 1}"

    await asyncio.gather(*(one(number) for number in range(100)))


async def test_garbage_instead_of_http_is_refused(start: Start) -> None:
    pi = await start()
    with socket.create_connection((pi.base_url.host, pi.base_url.port or 0)) as raw:
        raw.sendall(b"\x16\x03\x01 not http\r\n\r\n")
    assert (await pi.get("/health")).status_code == 200


async def test_client_that_vanishes_while_words_are_written_ends_the_answer(start: Start) -> None:
    ended = asyncio.Event()
    said = 0

    class Talker(Rules):
        async def answer(self, text: Any, toolbox: Any, clock: Any = None) -> Any:
            nonlocal said
            try:
                while True:
                    said += 1
                    yield token("x")
                    await asyncio.sleep(0)
            finally:
                ended.set()

    pi = await start(using=Talker())
    body = json.dumps(ask("hi")).encode()
    reader, writer = await asyncio.open_connection(pi.base_url.host, pi.base_url.port)
    writer.write(b"POST /rpc/message HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    await asyncio.wait_for(reader.readuntil(b"event: token"), 30)
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 30)
    assert 0 < said < MAX_ANSWER_CHARS / 10
