"""Which model the settings choose: a server of one's own, or a provider of pydantic-ai."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator

import pytest

from pi.brain import Brain
from pi.config import PROVIDERS, Config, ConfigError
from tests.pi.conftest import KEY, Start, ask, events
from tests.pi.messages_server import MessagesServer
from tests.pi.model_server import ModelServer

CLAUDE = "anthropic:claude-sonnet-5-5"


@pytest.fixture
async def anthropic() -> AsyncIterator[MessagesServer]:
    server = MessagesServer()
    await server.start()
    yield server
    await server.stop()


async def test_anthropic_streams_tokens_and_calls_tools(
    start: Start, anthropic: MessagesServer
) -> None:
    pi = await start(Config(model=CLAUDE, base_url=anthropic.url, api_key=KEY))
    body = ask("What is 17% of 240?", person={"name": "Ann"})
    heard = events((await pi.post("/rpc/message", json=body)).text)
    assert heard[0][1] == {"name": "calculate", "arguments": {"expression": "17% of 240"}}
    assert heard[1] == ("tool_result", {"name": "calculate", "result": "40.8"})
    assert [data["text"] for name, data in heard if name == "token"] == ["It is ", "40.8."]
    last = heard[-1][1]
    assert last["content"] == "It is 40.8." and last["metadata"]["model"] == CLAUDE
    used = last["metadata"]["usage"]
    assert (used["input_tokens"], used["output_tokens"], used["requests"]) == (40, 14, 2)
    assert 0 < used["cost"] < 0.01
    headers, first = anthropic.calls[0]
    assert headers["authorization"] == f"Bearer {KEY}" and first["model"] == "claude-sonnet-5-5"
    assert "Name: Ann" in json.dumps(first["system"])


@pytest.mark.parametrize(("status", "calls"), [(529, 3), (401, 1)])
async def test_anthropic_that_refuses(
    start: Start, anthropic: MessagesServer, status: int, calls: int
) -> None:
    anthropic.failing = status
    pi = await start(Config(model=CLAUDE, base_url=anthropic.url, api_key=KEY))
    ((name, data),) = events((await pi.post("/rpc/message", json=ask("hi"))).text)
    assert name == "error" and data["retryable"] is (calls > 1)
    assert len(anthropic.calls) == calls and KEY not in data["message"]


async def test_chat_models_of_openai_by_provider(start: Start, models: ModelServer) -> None:
    pi = await start(Config(model="openai-chat:gpt-4o", base_url=models.url, api_key=KEY))
    heard = events((await pi.post("/rpc/message", json=ask("hi"))).text)
    assert heard[-1][1]["content"] == "Hello from the model."
    assert models.calls[0][1]["model"] == "gpt-4o"
    assert models.calls[0][0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("llama3.2", "", "llama3.2"),
        ("llama3.2:3b", "", "llama3.2:3b"),
        ("server:mistral:7b", "", "mistral:7b"),
        ("mistral:mistral-small", "mistral", "mistral-small"),
        (CLAUDE, "anthropic", "claude-sonnet-5-5"),
        ("openrouter:meta/llama:free", "openrouter", "meta/llama:free"),
    ],
)
def test_name_of_a_model(model: str, provider: str, name: str) -> None:
    config = Config(model=model)
    assert (config.provider, config.model_name) == (provider, name)


def test_provider_without_its_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    for name in [n for n in sys.modules if n.startswith("pydantic_ai.providers.anthropic")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match="needs the package of anthropic"):
        Brain(Config(model=CLAUDE))
    with pytest.raises(ConfigError, match="server:mistral:7b"):
        Brain(Config(model="mistral:7b"))


def test_every_provider_is_one_of_pydantic_ai() -> None:
    import inspect

    from pydantic_ai import providers

    source = inspect.getsource(providers.infer_provider_class)
    known = set(re.findall(r"'([a-z-]+)'", " ".join(re.findall(r"case (.+):", source))))
    others = {"elevenlabs", "voyageai", "sentence-transformers", "typesafe", "system-one"}
    assert known - others - {"openai-decisions", "google-decisions"} == PROVIDERS


@pytest.mark.parametrize("model", ["anthropic:claude-x", "openai:gpt-x"])
def test_provider_without_a_key_says_so_at_the_start(
    monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="OPENCLAW_LLM_API_KEY"):
        Brain(Config(model=model))
