"""Pi as the gateway sees it: its own client, and the documented schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gateway.agents.base import AgentError, Event, Final, Limits, Question, Target, Token
from gateway.agents.client import AgentClient
from gateway.http import make_transport
from pi.config import Config
from tests.pi.conftest import Start, ask, events
from tests.pi.model_server import ModelServer, refuse

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"


@pytest.fixture
async def agents() -> AsyncIterator[AgentClient]:
    transport = make_transport()
    client = AgentClient(transport, Limits(first_token_seconds=60))
    yield client
    await client.aclose()
    await transport.aclose()


def target(pi: httpx.AsyncClient, stream: bool = True) -> Target:
    return Target(name="pi", url=str(pi.base_url.join("/rpc/message")), stream=stream)


def question(*texts: str) -> Question:
    history: Sequence[bytes] = [orjson.dumps({"role": "user", "content": t}) for t in texts]
    return Question("turn_1", "sess_1", "webchat", "u1", "c1", history)


async def heard(agents: AgentClient, of: Target, question: Question) -> list[Event]:
    return [event async for event in agents.ask(of, question)]


@pytest.mark.parametrize("stream", [True, False])
async def test_gateway_hears_the_answer(start: Start, agents: AgentClient, stream: bool) -> None:
    pi = await start()
    *said, last = await heard(agents, target(pi, stream), question("17% of 240"))
    assert isinstance(last, Final) and last.content == "17% of 240 = 40.8"
    assert "".join(token.text for token in said if isinstance(token, Token)) in (last.content, "")
    assert bool(said) is stream


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("status", "retryable"), [(503, True), (401, False)])
async def test_gateway_learns_whether_to_ask_again(
    start: Start,
    models: ModelServer,
    agents: AgentClient,
    stream: bool,
    status: int,
    retryable: bool,
) -> None:
    models.behaviour = refuse(status)
    pi = await start(Config(model="fake", base_url=models.url))
    with pytest.raises(AgentError) as caught:
        await heard(agents, target(pi, stream), question("hi"))
    assert caught.value.retryable is retryable
    assert f"status {status}" in caught.value.detail


async def test_gateway_finds_pi_healthy(start: Start, agents: AgentClient) -> None:
    assert await agents.probe(target(await start())) is None


def validator(name: str) -> Draft202012Validator:
    schemas = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (key, Resource.from_contents(schema)) for key, schema in schemas.items()
    )
    return Draft202012Validator(schemas[name], registry=registry)


async def test_answers_are_what_the_schemas_say(start: Start, models: ModelServer) -> None:
    with_model = await start(Config(model="fake", base_url=models.url))
    for pi in (await start(), with_model):
        whole = await pi.post("/rpc/message", json=ask("hello", stream=False))
        validator("agent-answer.json").validate(whole.json())
        streamed = await pi.post("/rpc/message", json=ask("hello"))
        for name, data in events(streamed.text):
            validator("agent-event.json").validate({"type": name, **data})
    models.behaviour = refuse(500)
    streamed = await with_model.post("/rpc/message", json=ask("hello"))
    ((name, data),) = events(streamed.text)
    assert name == "error"
    validator("agent-event.json").validate({"type": name, **data})
