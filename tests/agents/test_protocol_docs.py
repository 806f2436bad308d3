"""docs/agent-protocol.md and its schemas, held against what really goes over the wire."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gateway.agents import base, rpc
from gateway.agents.base import AgentError, Final, Target, Token
from gateway.agents.client import AgentClient
from gateway.agents.parse import ServerSentEvents
from tests.agents.conftest import hear, hear_bytes, question
from tests.fakes.agent import FakeAgent
from tests.process import free_port

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "agent-protocol.md").read_text()
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in DOCS.glob("schemas/agent-*.json")}
REGISTRY: Registry[Any] = Registry().with_resources(
    [(schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()]
)


def check(schema: str, value: object) -> None:
    Draft202012Validator(SCHEMAS[schema], registry=REGISTRY).validate(value)


def fits(schema: str, value: object) -> bool:
    return bool(Draft202012Validator(SCHEMAS[schema], registry=REGISTRY).is_valid(value))


def blocks(info: str) -> list[str]:
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_schemas_are_schemas() -> None:
    assert set(SCHEMAS) == {"agent-request", "agent-answer", "agent-event"}
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_example_is_of_a_kind_that_is_checked() -> None:
    kinds = set(re.findall(r"^```(.+)$", PAGE, re.MULTILINE))
    checked = {"json request", "json answer", "text text/event-stream", "text application/x-ndjson"}
    assert kinds == {"python", *checked}


@pytest.mark.parametrize("kind", ["request", "answer"])
def test_json_examples_fit_their_schema(kind: str) -> None:
    found = blocks(f"json {kind}")
    assert found
    for example in found:
        check(f"agent-{kind}", json.loads(example))


def test_request_example_has_exactly_the_fields_that_are_sent() -> None:
    asked = question(gateway={"url": "u", "token": "t"}, person={"name": "Ann"})
    sent = json.loads(rpc.request(Target("a", "http://127.0.0.1/"), asked).content)
    documented = json.loads(blocks("json request")[0])
    assert set(sent) == set(documented) == set(SCHEMAS["agent-request"]["properties"])


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson"])
async def test_stream_examples_are_answers(kind: str) -> None:
    (example,) = blocks(f"text {kind}")
    heard = await hear_bytes(example.encode(), kind)
    assert heard.final.content == heard.text == "That is a cat."
    for event in events_of(kind, example.encode()):
        check("agent-event", event)


async def test_answer_examples_are_answers() -> None:
    for example in blocks("json answer"):
        assert (await hear_bytes(example.encode(), "application/json")).final


async def test_request_fits_its_schema(
    fake: FakeAgent, client: AgentClient, target: Target
) -> None:
    attachment = {"kind": "image", "mime": "", "name": "", "size": None, "url": "http://x"}
    failed = {"kind": "voice", "mime": "", "name": "", "size": 5, "error": "it is gone"}
    context = {
        "name": "Ann",
        "quote": {"text": "a", "sender_name": ""},
        "forwarded": "Bea",
        "undelivered": True,
        "overheard": [{"name": "Cy", "text": "hm"}],
    }
    message = {"role": "user", "content": "", "attachments": [attachment, failed]}
    message["context"] = context
    await hear(client, target)
    await hear(client, target, question(history=[orjson.dumps(message)], origin="schedule"))
    person = {"preferences": {"timezone": "Europe/Paris"}, "notes": {"cat": "Tom"}}
    await hear(client, target, question(gateway={"url": "u", "token": "t"}, person=person))
    for call in fake.calls:
        check("agent-request", call.payload)


@pytest.mark.parametrize("form", ["sse", "ndjson", "json"])
async def test_answers_of_the_fake_fit_their_schema(
    fake: FakeAgent, transport: Any, form: str
) -> None:
    fake.behave(form=form, tokens=5)
    async with httpx.AsyncClient(transport=transport) as http:
        response = await http.post(
            fake.url, content=rpc.request(Target("a", fake.url), question()).content
        )
    if form == "json":
        check("agent-answer", response.json())
        return
    found = list(events_of(response.headers["content-type"].split(";")[0], response.content))
    assert [event["type"] for event in found] == ["token"] * 5 + ["final"]
    for event in found:
        check("agent-event", event)


def events_of(kind: str, body: bytes) -> Iterator[dict[str, Any]]:
    if kind == "application/x-ndjson":
        yield from (json.loads(line) for line in body.splitlines() if line.strip())
    else:
        for name, data in ServerSentEvents().feed(body):
            yield {"type": name.decode(), **json.loads(data)}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"content": "a"},
        {"content": " \n"},
        {"content": None},
        {"content": 7},
        {"content": "a", "silent": True},
        {"content": "a", "silent": None, "attachments": None, "metadata": None},
        {"content": "a", "silent": "yes"},
        {"content": "a", "metadata": []},
        {"content": "a", "more": "fields"},
        {"silent": True},
        {"silent": False},
        {"silent": True, "content": 7},
        {"attachments": []},
        {"attachments": [{"url": "x"}]},
        {"attachments": [{}], "content": "a"},
        {"attachments": [{"kind": "location", "latitude": 1, "longitude": 2.5}]},
        {"attachments": [{"kind": "location", "latitude": 1}], "content": "a"},
        {"attachments": [{"kind": "location", "url": "x"}], "content": "a"},
        {"attachments": [{"kind": "location", "latitude": "1", "longitude": 2}], "content": "a"},
        {"content": "a", "buttons": [{"text": "Yes", "value": "y"}, {"text": "No"}]},
        {"content": "a", "buttons": [{"value": "y"}]},
        {"content": "a", "buttons": [{"text": " "}]},
        {"content": "a", "buttons": None},
        {"buttons": [{"text": "Yes"}]},
        {"attachments": ["x"], "content": "a"},
        {"attachments": [{"url": 7}], "content": "a"},
        {"attachments": {}, "content": "a"},
    ],
)
def test_schema_and_client_agree_on_what_an_answer_is(answer: dict[str, Any]) -> None:
    try:
        taken = isinstance(rpc.answer(answer), Final)
    except AgentError:
        taken = False
    assert fits("agent-answer", answer) == taken
    assert fits("agent-event", {"type": "final", **answer}) == taken


@pytest.mark.parametrize("token", [{}, {"text": None}, {"text": 7}, {"text": ""}, {"text": "a"}])
def test_schema_and_client_agree_on_what_a_token_is(token: dict[str, Any]) -> None:
    line = {"type": "token", **token}
    batch = rpc.NdjsonReader().feed(orjson.dumps(line) + b"\n")
    assert fits("agent-event", line) == (batch.failure is None)


def test_every_error_code_is_documented() -> None:
    assert base.__doc__
    codes = re.findall(r"^        (\w+)  ", base.__doc__, re.MULTILINE)
    assert len(codes) == 10
    for code in codes:
        assert f"| `{code}` |" in PAGE


def test_every_limit_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `OPENCLAW_AGENT_(\w+)` \| (\d+) \|", PAGE, re.MULTILINE))
    limits = {name.upper(): f"{value:g}" for name, value in asdict(base.Limits()).items()}
    limits["MAX_BYTES"] = str(base.Limits().max_bytes)
    assert {name: rows.get(name) for name in limits} == limits
    assert set(rows) - set(limits) == {"ATTEMPTS", "RETRY_SECONDS"}


async def test_agent_of_the_first_page_works(client: AgentClient) -> None:
    (source,) = blocks("python")
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 16
    port = free_port()
    assert "9000" in source
    code = source.replace("9000", str(port))
    with subprocess.Popen([sys.executable, "-I", "-c", code], stderr=subprocess.DEVNULL) as agent:
        try:
            await listening(port)
            target = Target("a", f"http://127.0.0.1:{port}/rpc/message")
            assert await client.probe(target) is None
            heard = await hear(client, target, question("ignored", "grün"))
        finally:
            agent.kill()
    assert isinstance(heard.events[0], Token)
    assert heard.final.content == "You said: grün"


async def listening(port: int) -> None:
    """Wait until somebody listens at `port`."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
