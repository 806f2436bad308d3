"""The commit points that the crash suite kills at are all there are."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from gateway import points
from gateway.runtime import Runtime

pytestmark = pytest.mark.usefixtures("agent")


async def test_every_verb_and_claim_of_the_running_gateway_is_a_named_point(
    settings: Settings,
) -> None:
    """A verb that is added here and not there would never be killed at its commit."""
    settings.OPENCLAW_CHANNELS = []
    runtime = Runtime()
    await runtime.start()
    try:
        verbs = list(runtime.ledger._verbs)
        claims = [claimer.name for claimer in runtime.ledger._claimers]
    finally:
        await runtime.stop()
    assert sorted([*verbs, *claims]) == sorted([*points.VERBS, *points.BESIDE])
    assert [name for name in [*verbs, *claims] if name in points.VERBS] == list(points.VERBS)
