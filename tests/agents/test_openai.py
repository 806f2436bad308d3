"""OpenAI-compatible servers as the agent, streaming or not."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.agents.base import Final, Target, Token, Trace
from gateway.agents.client import AgentClient
from tests.agents.conftest import Heard, hear, hear_bytes, question
from tests.fakes.agent import FakeAgent

USAGE = {"prompt_tokens": 7, "completion_tokens": 20, "total_tokens": 27}


def model(fake: FakeAgent, **changes: Any) -> Target:
    fields = {"url": fake.openai_url, "model": "fake-1", "api_key": "not-a-key", **changes}
    return Target("model", protocol="openai", **fields)


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


async def stream(*chunks: bytes, size: int = 0) -> Heard:
    return await hear_bytes(b"".join(chunks), "text/event-stream", size, "openai")


@pytest.mark.parametrize("streamed", [True, False])
async def test_model_answers(fake: FakeAgent, client: AgentClient, streamed: bool) -> None:
    fake.behave(tokens=20)
    heard = await hear(client, model(fake, stream=streamed), question("hi"))
    assert heard.final.content.startswith("ack hi w0 w1")
    assert heard.final.metadata == {"usage": USAGE, "model": "fake-1", "finish_reason": "stop"}
    assert heard.text == (heard.final.content if streamed else "")


@pytest.mark.parametrize("suffix", ["", "/", "/chat/completions", "/chat/completions/"])
async def test_url_may_be_the_base_or_the_endpoint(
    fake: FakeAgent, client: AgentClient, suffix: str
) -> None:
    target = model(fake, url=fake.openai_url + suffix)
    assert (await hear(client, target)).final.content == "ack hello"
    assert await client.probe(target) is None


async def test_request_is_what_such_servers_expect(fake: FakeAgent, client: AgentClient) -> None:
    history = [
        b'{"role":"system","content":"be brief"}',
        b'{"role":"user","content":"look"}',
        orjson.dumps(
            {
                "role": "user",
                "content": "at this",
                "attachments": [
                    {"kind": "image", "name": "cat.png", "url": "http://example.com/cat.png"},
                    {"kind": "", "name": None},
                ],
            }
        ),
        b'{"role":"user","content":"the word \\"attachments\\" alone"}',
    ]
    await hear(client, model(fake), question(history=history, waiting=3))
    call = fake.calls[0]
    assert call.payload == {
        "model": "fake-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "look"},
            {
                "role": "user",
                "content": "at this\n[image cat.png http://example.com/cat.png]\n[file]",
            },
            {"role": "user", "content": 'the word "attachments" alone'},
        ],
    }
    assert call.headers["authorization"] == "Bearer not-a-key"
    await hear(client, model(fake, api_key="", stream=False))
    assert "authorization" not in fake.calls[1].headers
    assert "stream_options" not in fake.calls[1].payload


async def test_what_was_left_unanswered_says_so(fake: FakeAgent, client: AgentClient) -> None:
    """A model answers all that follows its last answer; it does not know what was stopped."""
    said = [("user", "hi"), ("assistant", "ho"), ("user", "cancel all"), ("user", "the time?")]
    history = [orjson.dumps({"role": role, "content": text}) for role, text in said]
    await hear(client, model(fake), question(history=history, waiting=1))
    assert [one["content"] for one in fake.calls[0].messages] == [
        "hi",
        "ho",
        "[left unanswered, and not to be answered or done now: cancel all]",
        "the time?",
    ]


@pytest.mark.parametrize("size", [0, 1])
async def test_reasoning_tools_and_usage(size: int) -> None:
    look = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": ""}}
    heard = await stream(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning": "so"}),
        chunk({"content": "a"}),
        chunk({"tool_calls": [look]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        chunk({}, "tool_calls", usage=None),
        b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n',
        b"data: [DONE]\n\n",
        size=size,
    )
    assert heard.events == [
        Trace("reasoning", {"text": "hm"}),
        Trace("reasoning", {"text": "so"}),
        Token("a"),
        Trace("tool_call", {"id": "c1", "name": "look", "arguments": '{"x":1}'}),
        Final("a", metadata={"finish_reason": "tool_calls", "usage": {"total_tokens": 3}}),
    ]


@pytest.mark.parametrize(
    "end", [chunk({}, "stop"), chunk(None, "length"), b"data: [DONE]\n\n", b"data:[DONE]\n\n"]
)
async def test_finish_reason_or_done_makes_it_complete(end: bytes) -> None:
    assert (await stream(chunk({"content": "a"}), end)).final.content == "a"


async def test_stream_without_an_end_is_interrupted() -> None:
    heard = await stream(chunk({"content": "a"}))
    assert (heard.code, heard.text) == ("interrupted", "a")


async def test_complete_answer_survives_a_broken_end(fake: FakeAgent, client: AgentClient) -> None:
    fake.behave(fault="short", body=chunk({"content": "all of it"}, "stop"))
    assert (await hear(client, model(fake))).final.content == "all of it"


@pytest.mark.parametrize(
    ("error", "detail", "retryable"),
    [
        ({"message": "too hot", "code": 503}, "too hot", True),
        ({"message": "too fast", "code": 429}, "too fast", True),
        ({"message": "too long", "code": "context_length_exceeded"}, "too long", False),
        ("plain", "plain", False),
        ({"message": None}, "no reason given", False),
    ],
)
async def test_errors_the_server_reports(error: object, detail: str, retryable: bool) -> None:
    body = json.dumps({"error": error}).encode()
    for heard in (
        await stream(chunk({"content": "a"}), b"data: " + body + b"\n\n"),
        await hear_bytes(body, "application/json", protocol="openai"),
    ):
        assert heard.error is not None
        found = (heard.error.code, heard.error.detail, heard.error.retryable)
        assert found == ("reported", detail, retryable)


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "a"}, "a"),
        ({"content": None, "refusal": "I would rather not"}, "I would rather not"),
        ({"content": [{"type": "thinking"}, {"type": "text", "text": "a"}, "?"]}, "a"),
    ],
)
async def test_text_of_a_message(message: dict[str, Any], content: str) -> None:
    body = json.dumps({"choices": [{"message": message}]}).encode()
    heard = await hear_bytes(body, "application/json", protocol="openai")
    assert heard.final.content == content
    assert (await stream(chunk(message, "stop"))).final.content == content


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": 7},
        {"choices": [{}]},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": "text"}]},
    ],
)
async def test_malformed_completions(body: dict[str, Any]) -> None:
    heard = await hear_bytes(json.dumps(body).encode(), "application/json", protocol="openai")
    assert heard.code == "malformed"


@pytest.mark.parametrize(
    "chunks",
    [
        (b"data: {\n\n",),
        (b"data: 7\n\n",),
        (chunk({"content": 7}),),
        (chunk({"content": " "}, "stop"),),
        (b"data: [DONE]\n\n",),
        (chunk({"tool_calls": [{}]}, "tool_calls"),),
    ],
)
async def test_malformed_streams(chunks: tuple[bytes, ...]) -> None:
    assert (await stream(*chunks)).code == "malformed"


async def test_unknown_content_type() -> None:
    assert (await hear_bytes(b"a", "text/plain", protocol="openai")).code == "malformed"


async def test_faults_of_the_fake_in_this_protocol_too(
    fake: FakeAgent, client: AgentClient
) -> None:
    fake.behave(fault="close_middle", reply="a b c d")
    heard = await hear(client, model(fake))
    assert (heard.code, heard.text) == ("interrupted", "a b")
    fake.behave(fault="error")
    assert (await hear(client, model(fake))).code == "reported"
