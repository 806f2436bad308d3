"""The runtime: what it does now and then, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pytest_django.fixtures import Settings

from gateway.models import Delivery
from gateway.runtime import Runtime
from sessions_app import clock
from tests.core.kit import queue

pytestmark = pytest.mark.usefixtures("agent")


@pytest.fixture
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """A whole gateway without a channel."""
    settings.OPENCLAW_CHANNELS = []
    runtime = Runtime()
    await runtime.start()
    yield runtime
    await runtime.stop()


async def test_parts_expire_where_no_channel_is_open(runtime: Runtime) -> None:
    """A channel that was taken out of the settings holds no conversation open for ever."""

    def fill() -> None:
        queue("old", channel="removed", created_at=clock.now() - timedelta(days=30))
        queue("fresh", channel="removed")

    await runtime.ledger.call(fill)
    await runtime._beat()
    states = await runtime.ledger.call(lambda: dict(Delivery.objects.values_list("text", "state")))
    assert states == {"old": "expired", "fresh": "queued"}
