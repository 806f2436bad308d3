"""One gateway for all tests of the web chat: they keep apart by being different people."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.house import House


@pytest.fixture(scope="session")
def shared_house() -> Iterator[House]:
    limits = {"OPENCLAW_DRAIN_SECONDS": "0.5", "OPENCLAW_AGENT_MAX_BYTES": str(16 * 1024 * 1024)}
    with House.open(**limits) as house:
        yield house


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The gateway, with nothing unfinished from another test."""
    yield shared_house
    shared_house.part()
