"""One real gateway with the entrance open, a fake agent behind it, and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import openai
import pytest

from gateway.api.tokens import digest
from tests.e2e.probe import Probe
from tests.fakes.agent import FakeAgent
from tests.process import Gateway, fresh_data_dir

_numbers = count(1)


@dataclass
class Place:
    """The gateway, its agent, its rows."""

    gateway: Gateway
    agent: FakeAgent
    probe: Probe
    clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def base(self) -> str:
        """The base URL that clients are given."""
        return f"{self.gateway.url}/v1"

    def token(self, *scopes: str, **values: Any) -> str:
        """A new token."""
        secret = f"oc_{next(_numbers)}"
        wanted = list(scopes or ("chat",))
        self.probe.create(
            "gateway.ApiToken", name=secret, digest=digest(secret), scopes=wanted, **values
        )
        return secret

    def client(self, token: str | None = None, **options: Any) -> openai.OpenAI:
        """The real package, with a token of its own."""
        made = openai.OpenAI(
            base_url=self.base, api_key=token or self.token(), timeout=20, max_retries=0, **options
        )
        self.clients.append(made)
        return made

    def messages(self, **filters: Any) -> list[dict[str, Any]]:
        """The entrance's messages."""
        fields = ("session", "role", "text", "disposition", "sender")
        return self.probe.rows("sessions_app.Message", *fields, channel="openai", **filters)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Up once for all tests of a file: each has tokens and conversations of its own."""
    folder = tmp_path_factory.mktemp("entrance")
    with ExitStack() as stack:
        agent = stack.enter_context(FakeAgent.in_thread())
        settings = {
            "OPENCLAW_CHANNELS": "openai",
            "OPENCLAW_AGENT_URL": agent.url,
            "OPENCLAW_AGENT_RETRY_SECONDS": "0.05",
            "OPENCLAW_AGENT_ATTEMPTS": "2",
            "OPENCLAW_FAILURE_NOTICE": "Sorry.",
        }
        data_dir = fresh_data_dir(folder)
        probe = Probe(data_dir)
        stack.callback(probe.close)
        gateway = Gateway.start(settings, data_dir=data_dir)
        stack.callback(gateway.remove)
        yield Place(gateway, agent, probe)


@pytest.fixture
def place(house: Place) -> Iterator[Place]:
    """The same, with an agent that behaves."""
    house.agent.reset()
    yield house
    while house.clients:
        house.clients.pop().close()
