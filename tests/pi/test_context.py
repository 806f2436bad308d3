"""A long conversation: what goes to the model stays within its context."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from pi.config import Config
from pi.context import CUT, fit, model_size, shorten, tokens
from tests.pi.conftest import Start, ask
from tests.pi.gateway_api import GatewayApi
from tests.pi.model_server import ModelServer, in_turn, refuse, say, use

WINDOW = 3000


def request_size(body: dict[str, Any]) -> int:
    """About how many tokens a request has, all of it: messages, tools and names of fields."""
    texts = [json.dumps(one, ensure_ascii=False) for one in body["messages"]]
    return (len("".join(texts)) + len(json.dumps(body.get("tools", [])))) // 4


@pytest.fixture
async def pi(start: Start, models: ModelServer) -> httpx.AsyncClient:
    return await start(Config(model="fake", base_url=models.url, context_tokens=WINDOW))


class Chat:
    """Holds a conversation with Pi as the gateway does: history and context."""

    def __init__(self, pi: httpx.AsyncClient) -> None:
        self.pi = pi
        self.history: list[dict[str, str]] = []
        self.context: dict[str, Any] = {}

    async def say(self, text: str, **fields: Any) -> dict[str, Any]:
        self.history.append({"role": "user", "content": text})
        body = {**ask(stream=False, context=self.context, **fields), "messages": self.history}
        answer = (await self.pi.post("/rpc/message", json=body)).json()
        self.history.append({"role": "assistant", "content": answer["content"]})
        self.context |= answer["metadata"].get("context", {})
        return dict(answer["metadata"])


@pytest.mark.heavy
async def test_200_exchanges_stay_within_the_context(
    pi: httpx.AsyncClient, models: ModelServer
) -> None:
    chat, summaries = Chat(pi), 0

    async def answer(request: Any, body: Any) -> Any:
        nonlocal summaries
        summaries += not body["stream"]
        text = f"Summary {summaries}: Ann is called Ann." if not body["stream"] else "Well. " * 30
        return await say(text)(request, body)

    models.behaviour = answer
    for number in range(200):
        await chat.say(f"Question {number}: " + "what about it then? " * 10)
    sizes = [request_size(body) for _, body in models.calls]
    assert max(sizes) <= WINDOW
    assert 5 < summaries < 100  # kept with the session, not made anew each turn
    streamed = [body["messages"] for _, body in models.calls if body["stream"]]
    assert f"Summary {summaries}: Ann" in streamed[-1][0]["content"]
    assert "Question 199" in streamed[-1][-1]["content"]
    assert all(messages[1]["role"] == "user" for messages in streamed)
    kept = chat.context["pi"]
    assert kept["summary"].startswith(f"Summary {summaries}") and 300 < kept["upto"] < 400


async def test_everything_is_read_once(pi: httpx.AsyncClient, models: ModelServer) -> None:
    """Each question went to the model word by word, or into a summary, and none into both."""
    chat = Chat(pi)
    for number in range(25):
        await chat.say(f"<Question {number}> " + "what about it then? " * 10)
    read = [body["messages"][-1]["content"] for _, body in models.calls if not body["stream"]]
    last = [str(one["content"]) for one in models.calls[-1][1]["messages"]]
    for number in range(25):
        found = sum(f"<Question {number}>" in text for text in [*read, *last])
        assert found == 1, number


async def test_window_of_the_gateway_moves_and_the_summary_still_fits(
    pi: httpx.AsyncClient, models: ModelServer
) -> None:
    chat = Chat(pi)
    for number in range(25):
        await chat.say(f"<Question {number}> " + "what about it then? " * 10)
        chat.history = chat.history[-30:]  # as with OPENCLAW_HISTORY_MESSAGES
    assert max(request_size(body) for _, body in models.calls) <= WINDOW
    first = models.calls[-1][1]["messages"][1]["content"]
    read = [body["messages"][-1]["content"] for _, body in models.calls if not body["stream"]]
    assert not any(first.split(">")[0] in text for text in read)


async def test_summary_that_fails_does_not_keep_the_answer_away(
    pi: httpx.AsyncClient, models: ModelServer
) -> None:
    chat = Chat(pi)

    async def answer(request: Any, body: Any) -> Any:
        return await (say("Yes.") if body["stream"] else refuse(400))(request, body)

    models.behaviour = answer
    for number in range(20):
        await chat.say(f"Question {number}: " + "what about it then? " * 10)
    assert chat.history[-1]["content"] == "Yes." and "pi" not in chat.context
    assert max(request_size(body) for _, body in models.calls) <= WINDOW


@pytest.mark.parametrize("text", ["word " * 50_000, "日本" * 30_000, "😀" * 20_000])
async def test_one_message_larger_than_the_context_is_cut_in_its_middle(
    pi: httpx.AsyncClient, models: ModelServer, text: str
) -> None:
    await Chat(pi).say("START " + text + " END")
    sent = models.calls[-1][1]["messages"][-1]["content"]
    assert sent.startswith("START") and sent.endswith("END") and CUT in sent
    assert tokens(sent) <= WINDOW


async def test_tool_results_of_one_turn_stay_within_it_with_their_calls(
    pi: httpx.AsyncClient, models: ModelServer, api: GatewayApi
) -> None:
    api.ann.notes = {f"n{number}": "x" * 400 for number in range(100)}
    models.behaviour = in_turn(*[use(("read_notes", "{}"))] * 6, say("Done."))
    chat = Chat(pi)
    await chat.say("look at it all", gateway=api.grant())
    for _, body in models.calls:
        assert request_size(body) <= WINDOW
        called = [c["id"] for one in body["messages"] for c in one.get("tool_calls") or []]
        given = [one["tool_call_id"] for one in body["messages"] if one["role"] == "tool"]
        assert len(called) == len(given)
    assert chat.history[-1]["content"] == "Done."


async def test_what_somebody_else_kept_in_the_context_is_ignored(
    pi: httpx.AsyncClient, models: ModelServer
) -> None:
    for context in ({"pi": 7}, {"pi": {"summary": 1, "upto": "x", "mark": None}}, {"other": {}}):
        answer = await pi.post("/rpc/message", json=ask("hi", stream=False, context=context))
        assert answer.json()["content"] == "Hello from the model."


@pytest.mark.parametrize("text", ["", "short", "x" * 5000, "é" * 5000, "😀" * 5000])
def test_shortening_keeps_within_the_size(text: str) -> None:
    assert tokens(shorten(text, 100)) <= 100


def test_fitting_drops_the_oldest_and_never_half_of_a_pair() -> None:
    from pydantic_ai import messages as m

    messages: list[m.ModelMessage] = []
    for number in range(10):
        messages += [
            m.ModelRequest(parts=[m.UserPromptPart(f"q{number} " + "x" * 300)]),
            m.ModelResponse(parts=[m.ToolCallPart("t", {}, tool_call_id=f"c{number}")]),
            m.ModelRequest(parts=[m.ToolReturnPart("t", "y" * 900, tool_call_id=f"c{number}")]),
            m.ModelResponse(parts=[m.TextPart("a")]),
        ]
    fitted = fit(messages, 800)
    assert model_size(fitted) <= 800 and fitted[-1] == messages[-1]
    kinds = [type(part).__name__ for message in fitted for part in message.parts]
    assert kinds.count("ToolCallPart") == kinds.count("ToolReturnPart") > 0
    assert kinds[0] == "UserPromptPart"
