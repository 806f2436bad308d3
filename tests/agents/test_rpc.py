"""The agent protocol's four forms of an answer, and the request, over real sockets."""

from __future__ import annotations

import json

import pytest

from gateway.agents.base import Event, Final, Target, Token, Trace
from gateway.agents.client import AgentClient
from tests.agents.conftest import hear, hear_bytes, question
from tests.fakes.agent import FakeAgent

FORMS = ["sse", "ndjson", "text", "json"]


@pytest.mark.parametrize("form", FORMS)
async def test_each_form_gives_the_same_answer(
    fake: FakeAgent, client: AgentClient, target: Target, form: str
) -> None:
    fake.behave(form=form, tokens=20)
    heard = await hear(client, target, question("one", "two ☃"))
    assert heard.final.content.startswith("ack one two ☃ w0")
    assert heard.text == ("" if form == "json" else heard.final.content)
    assert fake.calls[0].finished


@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_may_come_byte_by_byte(
    fake: FakeAgent, client: AgentClient, target: Target, form: str
) -> None:
    fake.behave(form=form, reply="grün ist 🌳, \r\n\n: data: \\ud83d", chunk=1)
    heard = await hear(client, target)
    assert heard.final.content == "grün ist 🌳, \r\n\n: data: \\ud83d"


async def test_request_says_who_asks_what_and_where(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    await hear(client, target, question("hi", origin="schedule"))
    call = fake.calls[0]
    assert call.payload == {
        "sessionId": "sess_1",
        "messages": [{"role": "user", "content": "hi"}],
        "waiting": 1,
        "stream": True,
        "turnId": "turn_1",
        "channel": "telegram",
        "userId": "u1",
        "chatId": "c1",
        "origin": "schedule",
        "context": {"mood": "good"},
    }
    assert call.key == "turn_1"
    assert call.headers["accept"] == "text/event-stream, application/x-ndjson, application/json"
    assert call.headers["accept-encoding"] == "identity"


async def test_agent_that_does_not_stream_is_not_asked_to(
    fake: FakeAgent, client: AgentClient
) -> None:
    heard = await hear(client, Target("fake", fake.url, stream=False), question("hi"))
    assert heard.events == [Final("ack hi")]
    assert fake.calls[0].payload["stream"] is False


async def test_history_of_strange_text_arrives_unchanged(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    history = [b'{"role": "user", "content": "nul \\u0000, half \\ud83d, \xf0\x9f\x8c\xb3"}']
    await hear(
        client, target, question(history=history, user_id="half \ud83d", context={"n": 2**99})
    )
    payload = fake.calls[0].payload
    assert payload["messages"] == [json.loads(history[0])]
    assert (payload["userId"], payload["context"]) == ("half \ud83d", {"n": 2**99})


SSE = b"""event: reasoning
data: {"text": "hm"}

event: token
data: {"text": "a"}

event: tool_call
data: {"name": "look", "arguments": {"x": 1}}

event: from_the_future
data: not even JSON

event: token
data: {"text": "b"}

event: token
data: {"text": ""}

event: attachment
data: {"url": "http://example.com/a.png"}

event: final
data: {"content": "A", "attachments": [{"url": "http://example.com/a.png"}],
data:  "metadata": {"usage": {"tokens": 3}}, "silent": null}

event: token
data: {"text": "too late"}

"""
EVENTS: list[Event] = [
    Trace("reasoning", {"text": "hm"}),
    Token("a"),
    Trace("tool_call", {"name": "look", "arguments": {"x": 1}}),
    Token("b"),
    Trace("attachment", {"url": "http://example.com/a.png"}),
    Final("A", [{"url": "http://example.com/a.png"}], False, {"usage": {"tokens": 3}}),
]


@pytest.mark.parametrize("size", [0, 1, 7])
async def test_every_event_arrives_in_order_and_final_wins_over_tokens(size: int) -> None:
    heard = await hear_bytes(SSE, "text/event-stream", size)
    assert heard.events == EVENTS


@pytest.mark.parametrize("size", [0, 1, 7])
async def test_ndjson_carries_the_same_events(size: int) -> None:
    lines = [
        {"type": "reasoning", "text": "hm"},
        {"type": "token", "text": "a"},
        {"type": "tool_call", "name": "look", "arguments": {"x": 1}},
        {"type": "from_the_future", "text": 7},
        {"type": "token", "text": "b"},
        {"type": "attachment", "url": "http://example.com/a.png"},
        {
            "type": "final",
            "content": "A",
            "attachments": [{"url": "http://example.com/a.png"}],
            "metadata": {"usage": {"tokens": 3}},
        },
    ]
    body = "\r\n\n".join(json.dumps(line) for line in lines)  # the last line has no end
    assert (await hear_bytes(body.encode(), "application/x-ndjson", size)).events == EVENTS


async def test_tokens_that_came_together_are_one() -> None:
    body = b'{"type":"token","text":"a"}\n' * 20 + b'{"type":"final","content":"a"}\n'
    heard = await hear_bytes(body, "application/x-ndjson")
    assert heard.events == [Token("a" * 20), Final("a")]


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        ({"silent": True}, Final("", silent=True)),
        ({"silent": True, "content": None}, Final("", silent=True)),
        ({"content": "x", "attachments": None, "metadata": None}, Final("x")),
        ({"content": "", "attachments": [{"url": "u"}]}, Final("", [{"url": "u"}])),
        ({"content": "x", "metadata": {"context": {"a": 1}}, "more": 1}, None),
    ],
)
async def test_what_an_answer_may_leave_out(
    fake: FakeAgent, client: AgentClient, target: Target, answer: dict[str, object], final: Final
) -> None:
    for form in ("sse", "ndjson", "json"):
        fake.behave(form=form, reply="", final=answer)
        heard = await hear(client, target)
        assert heard.final == (final or Final("x", metadata={"context": {"a": 1}}))


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b'{"content": "a\\ud800b"}', "a\ufffdb"),
        (b'{"content": "a\\ud83d\\ude00b"}', "a😀b"),
        (b'{"content": "a\xffb"}', "a\ufffdb"),
        (b'{"content": "a\\u0000b"}', "a\ufffdb"),
    ],
)
async def test_what_cannot_be_text_is_replaced(body: bytes, content: str) -> None:
    assert (await hear_bytes(body, "application/json")).final.content == content


async def test_plain_text_that_is_no_text_is_replaced() -> None:
    heard = await hear_bytes(b"a\xffb\x00c\xf0\x9f\x98", "text/plain", 1)
    assert heard.final.content == heard.text == "a\ufffdb\ufffdc\ufffd"


async def test_connection_is_used_again(
    fake: FakeAgent, client: AgentClient, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.agents.client._DRAIN_SECONDS", 10.0)
    for form in [*FORMS, *FORMS]:
        fake.behave(form=form)
        (await hear(client, target)).final  # noqa: B018 (asserts that there is one)
        await fake.until(lambda: not client._drains)
    assert len({call.peer for call in fake.calls}) == 1


async def test_long_history_arrives_whole(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    long = "ä" * 3_000_000
    fake.behave(reply="read it")
    assert (await hear(client, target, question(long, "and?"))).final.content == "read it"
    assert fake.calls[0].asked == [long, "and?"]
    assert fake.calls[0].headers["content-length"] == str(len(fake.calls[0].body))
