"""Whether an agent is up, by `/health` or the list of models."""

from __future__ import annotations

from time import monotonic

import httpx
import pytest

from gateway.agents import client as client_module
from gateway.agents.base import Target
from gateway.agents.client import AgentClient
from tests.agents.conftest import LIMITS, hear
from tests.fakes.agent import FakeAgent


def targets(fake: FakeAgent) -> list[Target]:
    return [Target("a", fake.url), Target("b", fake.openai_url, "openai")]


async def test_agent_that_is_up(fake: FakeAgent, client: AgentClient) -> None:
    assert [await client.probe(target) for target in targets(fake)] == [None, None]


async def test_agent_that_says_it_is_not(fake: FakeAgent, client: AgentClient) -> None:
    fake.healthy = False
    assert [await client.probe(target) for target in targets(fake)] == ["HTTP 503", "HTTP 503"]


async def test_agent_that_is_down(fake: FakeAgent, client: AgentClient) -> None:
    await fake.refuse()
    for target in targets(fake):
        reason = await client.probe(target)
        assert reason is not None
        assert reason.startswith("unreachable: ")


async def test_agent_that_says_nothing(
    fake: FakeAgent, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PROBE_SECONDS", 0.05)
    fake.health_seconds = 60.0
    started = monotonic()
    assert await client.probe(targets(fake)[0]) == "no answer within 0.05 seconds"
    assert monotonic() - started < 30


@pytest.mark.parametrize(
    ("url", "protocol", "asked"),
    [
        ("http://127.0.0.1/rpc/message", "rpc", "http://127.0.0.1/health"),
        ("http://127.0.0.1:9/a/b/rpc/message?x=1", "rpc", "http://127.0.0.1:9/a/b/health"),
        ("http://127.0.0.1/answer", "rpc", "http://127.0.0.1/health"),
        ("http://127.0.0.1/v1/", "openai", "http://127.0.0.1/v1/models"),
        ("http://127.0.0.1/v1?x=1", "openai", "http://127.0.0.1/v1/models?x=1"),
    ],
)
async def test_where_health_is_asked(url: str, protocol: str, asked: str) -> None:
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(204)

    client = AgentClient(httpx.MockTransport(handle), LIMITS)
    assert await client.probe(Target("a", url, protocol)) is None
    assert seen == [asked]


@pytest.mark.parametrize("healthy", [True, False])
async def test_a_5xx_from_something_unhealthy_means_that_nobody_is_there(
    fake: FakeAgent, client: AgentClient, healthy: bool
) -> None:
    """A proxy in front of an agent that is down answers for it, with 502 or 503."""
    fake.behave(status=502)
    fake.healthy = healthy
    for target in targets(fake):
        error = (await hear(client, target)).error
        assert error is not None
        assert error.retryable
        assert error.code == ("status_5xx" if healthy else "unreachable")
        assert ("health: HTTP 503" in error.detail) is not healthy


@pytest.mark.parametrize(
    ("health", "code"),
    [(404, "status_5xx"), (405, "status_5xx"), (401, "status_5xx"), (500, "unreachable")],
)
async def test_who_has_no_page_for_its_health_is_there_all_the_same(health: int, code: str) -> None:
    """Else one poisonous message stopped an agent without /health for everybody."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(health if request.url.path == "/health" else 500)

    client = AgentClient(httpx.MockTransport(handle), LIMITS)
    error = (await hear(client, Target("a", "http://127.0.0.1/rpc/message"))).error
    assert error is not None
    assert error.code == code
    assert await client.probe(Target("a", "http://127.0.0.1/rpc/message")) == f"HTTP {health}"
