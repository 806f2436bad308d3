"""/healthz and /readyz: the process is up; it can work, part by part."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from django.db import connection

from gateway import health
from gateway import runtime as runtime_module
from gateway.agents.base import Target
from gateway.channels import Rules
from gateway.health import QUIET_SECONDS, WORKER_SECONDS, healthz, readyz
from gateway.lag import KEPT_SECONDS, LOOK_SECONDS, WORST_SECONDS, LoopLag
from gateway.ledger.recovery import WORKER, beat
from gateway.lines import Line
from gateway.models import Heartbeat
from sessions_app.sql import run
from tests.conftest import Clock
from tests.core.house import House
from tests.core.kit import TestChat, until

pytestmark = pytest.mark.usefixtures("agent")


class PollingChat(TestChat):
    """A channel with a listener."""

    listens = True

    async def listen(self, inlet: Any) -> None: ...


class Probes:
    """Agents that are up unless a reason is given."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.asked = 0

    async def probe(self, target: Target) -> str | None:
        self.asked += 1
        return self.reasons.get(target.name)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> AsyncIterator[House]:
    """A gateway in which everything is well."""
    monkeypatch.setattr(health, "_probed", (float("-inf"), {}))
    async with House() as house:
        polled = Line("polled", PollingChat(), Rules(), state="up", alive_at=clock())
        called = Line("called", TestChat(), Rules(), state="up", alive_at=clock())
        fake = SimpleNamespace(
            ledger=house.ledger,
            lines={"polled": polled, "called": called},
            left_out={},
            router=house.router,
            lag=LoopLag(),
            agents=Probes(),
        )
        monkeypatch.setattr(runtime_module, "_current", fake)
        await house.read(lambda: beat(WORKER))
        yield house


async def _get(app: Any = readyz) -> tuple[int, Any]:
    sent: list[dict[str, Any]] = []

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    await app({}, receive, send)
    body = sent[1]["body"]
    return sent[0]["status"], body if app is healthz else orjson.loads(body)


def _parts() -> Any:
    return runtime_module.current()


async def test_the_process_is_up(house: House) -> None:
    assert await _get(healthz) == (200, b"ok")


async def test_where_all_is_well_it_is_ready(house: House) -> None:
    status, said = await _get()
    assert (status, said["ready"]) == (200, True)
    assert said["core"]["database"] == {"ok": True}
    assert said["core"]["worker"] == {"ok": True, "seen_seconds_ago": 0.0}
    assert {name: part["ok"] for name, part in said["channels"].items()} == {
        "polled": True,
        "called": True,
    }
    assert said["agents"] == {"one": {"ok": True}}


async def test_a_worker_that_is_not_heard_of(house: House, clock: Clock) -> None:
    clock.advance(WORKER_SECONDS + 1)
    _parts().lines.clear()
    status, said = await _get()
    assert (status, said["core"]["worker"]["ok"]) == (503, False)
    await house.read(lambda: Heartbeat.objects.all().delete())
    assert (await _get())[1]["core"]["worker"] == {"ok": False, "seen_seconds_ago": None}


@pytest.mark.parametrize("state", ["starting", "failing", "down"])
async def test_a_channel_that_does_not_work(house: House, state: str) -> None:
    _parts().lines["called"].state = state
    _parts().lines["called"].detail = "token revoked"
    status, said = await _get()
    assert status == 503
    assert said["channels"]["called"]["ok"] is False
    assert said["channels"]["called"]["detail"] == "token revoked"
    assert said["channels"]["polled"]["ok"] is True


async def test_a_listener_that_has_not_come_back_does_not_listen(
    house: House, clock: Clock
) -> None:
    """OC 78422: inbound dies while the channel says "connected"."""
    clock.advance(QUIET_SECONDS + 1)
    await house.read(lambda: beat(WORKER))
    status, said = await _get()
    assert status == 503
    assert said["channels"]["polled"]["ok"] is False
    assert said["channels"]["called"]["ok"] is True  # nobody has to call a webhook
    _parts().lines["polled"].alive()
    assert (await _get())[0] == 200


async def test_an_event_loop_that_was_frozen_is_said_for_a_minute(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """OC 75330: event loop frozen for 32 s by synchronous I/O; loop lag is a metric."""
    _parts().lag.note(WORST_SECONDS + 1)
    status, said = await _get()
    assert status == 503
    assert said["core"]["loop"] == {"ok": False, "lag_ms": 3000.0, "worst_lag_ms": 3000.0}
    assert "the event loop stood still for 3.0 s" in caplog.text
    for _ in range(int(KEPT_SECONDS / LOOK_SECONDS)):
        _parts().lag.note(0.001)
    status, said = await _get()
    assert (status, said["core"]["loop"]["worst_lag_ms"]) == (200, 1.0)


async def test_whoever_blocks_the_loop_shows_as_lag() -> None:
    lag = LoopLag()
    watching = asyncio.create_task(lag.run())
    await asyncio.sleep(0.01)
    time.sleep(LOOK_SECONDS + 0.1)
    await until(lambda: lag.report()["worst_lag_ms"] >= 80)
    watching.cancel()


async def test_a_channel_that_was_left_out(house: House) -> None:
    """OC 25595: a bad channel stops alone, and says so."""
    _parts().left_out["broken"] = ["a problem"]
    status, said = await _get()
    assert (status, said["channels"]["broken"]["ok"]) == (503, False)


async def test_an_agent_that_does_not_answer(house: House) -> None:
    _parts().agents.reasons["one"] = "refused connection"
    status, said = await _get()
    assert status == 503
    assert said["agents"]["one"] == {"ok": False, "detail": "refused connection"}


async def test_no_agent_at_all(house: House) -> None:
    house.router._targets = {}
    status, said = await _get()
    assert status == 503
    assert not next(iter(said["agents"].values()))["ok"]


async def test_asking_often_is_no_load_on_the_agents(house: House) -> None:
    for _ in range(5):
        await _get()
    assert _parts().agents.asked == 1


async def test_a_ledger_without_rounds_is_said(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reads go on when nothing is written any more."""
    assert (await _get())[1]["core"]["ledger"]["ok"] is True
    monkeypatch.setattr(health, "LEDGER_SECONDS", 0.0)
    status, said = await _get()
    assert (status, said["core"]["database"]["ok"], said["core"]["ledger"]["ok"]) == (
        503,
        True,
        False,
    )


async def test_a_locked_database_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "DATABASE_SECONDS", 30.0)
    await house.ledger.call(lambda: run("PRAGMA busy_timeout = 30000"), atomic=False)
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await _get())[0] == 200  # somebody writes: that keeps nobody from reading
        house.ledger.poke()
        await until(house.ledger._round_lock.locked)  # but a round of ours waits
        monkeypatch.setattr(health, "DATABASE_SECONDS", 0.05)
        status, said = await _get()
        other.execute("ROLLBACK")
    assert status == 503
    assert said["core"]["database"]["ok"] is False
    assert said["core"]["database"]["detail"]
