"""Worlds for the end-to-end tests: one per file where the tests leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.world import MODES, World, world


@pytest.fixture(scope="module")
def webhook_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway called by webhook."""
    with world(tmp_path_factory.mktemp("webhook"), "webhook") as made:
        yield made


@pytest.fixture(scope="module", params=MODES)
def either_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A gateway called by webhook, then one that polls."""
    with world(tmp_path_factory.mktemp(request.param), request.param) as made:
        yield made
