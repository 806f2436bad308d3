"""The verbs on a database of their own, with a clock that stands still."""

from __future__ import annotations

import pytest

from gateway.models import Agent
from tests.conftest import Clock
from tests.core.kit import Verbs


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """The default agent. Nobody is there: these tests do not call it."""
    return Agent.objects.create(
        name="one", url="http://127.0.0.1:1/rpc/message", is_default=True, pk=1
    )


@pytest.fixture
def verbs(agent: Agent, clock: Clock) -> Verbs:
    """The five verbs; `clock` stands still."""
    return Verbs()
