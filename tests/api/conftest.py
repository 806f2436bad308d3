"""The verbs of the core, for what goes on between the API and the rest."""

from __future__ import annotations

import pytest

from gateway.api import limits
from gateway.models import Agent
from tests.conftest import Clock
from tests.core.kit import Verbs


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    """Each test begins with full buckets."""
    limits._buckets.clear()


@pytest.fixture
def verbs(db: None, clock: Clock) -> Verbs:
    """The five verbs; `clock` stands still."""
    Agent.objects.create(name="one", url="http://127.0.0.1:1/rpc/message", is_default=True, pk=1)
    return Verbs()
