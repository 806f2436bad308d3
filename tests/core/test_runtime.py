"""The runtime: what it does now and then, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from django.db import OperationalError
from pytest_django.fixtures import Settings

from adapters.base import Outbound, Receipt
from gateway import runtime as runtime_module
from gateway.loops import Loops
from gateway.models import Delivery, Turn
from gateway.runtime import Runtime
from sessions_app import clock
from tests.core.house import at_points
from tests.core.kit import Verbs, inbound, queue, until

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


async def test_a_turn_taken_away_is_noticed_after_a_look_that_failed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's stop must not wait until somebody else writes something."""
    looks: list[Sequence[str]] = []
    cancelled: list[str] = []

    def look(running: Sequence[str]) -> list[str]:
        looks.append(running)
        if len(looks) == 1:
            raise OperationalError("database is locked")
        return list(running)

    monkeypatch.setattr(runtime_module, "taken_away", look)
    monkeypatch.setattr(runtime.runner, "running", lambda: ["turn_x"])
    monkeypatch.setattr(runtime.runner, "cancel", cancelled.append)
    runtime._data_version = None  # somebody has written
    await until(lambda: cancelled)
    assert len(looks) >= 2
    monkeypatch.undo()


async def test_a_look_that_always_fails_holds_up_nobody_elses_work(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process writes was claimed only after somebody wrote here, too."""
    pokes: list[str] = []

    async def look() -> None:
        raise ValueError("a row that cannot be read")

    monkeypatch.setattr(runtime, "_look", look)
    monkeypatch.setattr(runtime.ledger, "poke", lambda: pokes.append("claim"))
    monkeypatch.setattr(runtime.sender, "schedule", lambda: pokes.append("send"))
    runtime._data_version = before = -1
    with pytest.raises(ValueError, match="cannot be read"):
        await runtime._notice()
    assert {"claim", "send"} <= set(pokes)
    assert runtime._data_version == before
    monkeypatch.undo()


# --- the end ------------------------------------------------------------------------------------


async def test_what_is_claimed_as_the_gateway_stops_is_still_sent(settings: Settings) -> None:
    """A send that began after the drain was cut off, and came twice."""
    settings.OPENCLAW_CHANNELS = ["webchat"]
    runtime = Runtime()
    await runtime.start()
    line, seen = runtime.lines["webchat"], []
    entered, go = threading.Event(), threading.Event()

    async def send(outbound: Outbound) -> Receipt:
        await asyncio.sleep(0.05)
        seen.append("sent")
        return Receipt("r1")

    async def close() -> None:
        seen.append("closed")

    def hold(name: str) -> None:
        if name == "start_deliveries:before_commit":
            entered.set()
            go.wait(20)

    line.adapter.send, line.adapter.close = send, close  # type: ignore[method-assign]  # a slow one
    await until(lambda: line.state == "up")
    with at_points(hold):
        await runtime.ledger.call(lambda: queue("a", channel="webchat"))
        runtime.ledger.poke()
        await until(entered.is_set)
        stopping = asyncio.create_task(runtime.stop())
        await until(lambda: "start_turns" not in {one.name for one in runtime.ledger._claimers})
        go.set()
        await stopping
    assert seen == ["sent", "closed"]
    after = Runtime()
    after.ledger.start()
    states = await after.ledger.call(lambda: list(Delivery.objects.values_list("state", flat=True)))
    await after.ledger.stop()
    assert states == ["sent"]


async def test_a_planned_end_counts_as_no_crash_however_it_goes_on(settings: Settings) -> None:
    """Programs of agents may take their time to end, and be cut short by a second signal."""
    settings.OPENCLAW_CHANNELS = []
    runtime = Runtime()
    await runtime.start()

    def begin() -> None:
        verbs = Verbs(runtime.owner)
        verbs.take_in(inbound("1"))
        assert verbs.claim_one()

    await runtime.ledger.call(begin)
    stop, seen = runtime.fleet.stop, []

    async def look() -> None:
        seen.extend(await runtime.ledger.call(lambda: list(Turn.objects.values_list("state"))))
        await stop()

    runtime.fleet.stop = look  # type: ignore[method-assign]  # the moment in question
    await runtime.stop()
    assert seen == [("queued",)]


# --- loops --------------------------------------------------------------------------------------


async def test_a_loop_that_ends_by_itself_is_said_loudly(caplog: pytest.LogCaptureFixture) -> None:
    loops = Loops()

    async def broken() -> None:
        raise RuntimeError("out of order")

    async def lasting() -> None:
        await asyncio.Event().wait()

    loops.spawn(broken(), "the broken one")
    loops.spawn(lasting(), "the lasting one")
    await until(lambda: caplog.records)
    await loops.stop()
    (record,) = caplog.records
    assert (record.levelname, "the broken one" in record.message) == ("CRITICAL", True)


async def test_a_failure_leaves_the_next_time_alone(caplog: pytest.LogCaptureFixture) -> None:
    loops, times = Loops(), []

    async def act() -> None:
        times.append(1)
        if len(times) == 1:
            raise RuntimeError("once")

    loops.every(0.001, act, "now and then")
    await until(lambda: len(times) > 1)
    await loops.stop()
    assert [record.message for record in caplog.records] == ["now and then failed"]
