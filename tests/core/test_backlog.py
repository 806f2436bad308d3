"""Durability `batched`: what is answered first is bounded, and a listener waits for the commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from django.db import connection

from adapters.base import Inbound
from gateway import backlog
from gateway.ingest import Inlet
from gateway.ledger import Unavailable
from gateway.ledger.recovery import sync_to_disk
from sessions_app.models import Message
from sessions_app.sql import run
from tests.core.house import House, at_points
from tests.core.kit import inbound, statements, texts, until

pytestmark = pytest.mark.usefixtures("agent")


@contextmanager
def locked() -> Iterator[None]:
    """Another process holds the write lock."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def held_up() -> Iterator[threading.Event]:
    """Commits of what comes in wait until the event is set."""
    go = threading.Event()
    try:
        with at_points(lambda name: name == "ingest:before_commit" and go.wait(10)):
            yield go
    finally:
        go.set()


async def _impatient(house: House) -> None:
    await house.ledger.call(lambda: run("PRAGMA busy_timeout = 10"), atomic=False)


async def _push(house: House, *arrivals: Inbound) -> None:
    await house.ingress.take(house.line, arrivals)


async def test_what_is_pushed_is_answered_before_the_commit() -> None:
    async with House(answer_first=True) as house:
        with held_up() as go:
            async with asyncio.timeout(5):
                await _push(house, inbound("1", "a"))
            go.set()
        await house.said(1)
        assert await house.read(texts) == ["a", "fine"]


async def test_a_polled_channel_loses_nothing_its_offset_moves_after_the_commit() -> None:
    """NB 2652: the platform forgets what the next poll confirms, so the poll waits."""
    async with House(answer_first=True) as house:
        inlet = Inlet(house.line, house.ingress, house.ledger)
        with held_up() as go:
            polled = asyncio.create_task(inlet.accept([inbound("1", "a")], cursor="41"))
            done, _ = await asyncio.wait([polled], timeout=0.1)
            assert not done
            go.set()
            await polled
        await _impatient(house)
        with locked(), pytest.raises(Unavailable):
            await inlet.accept([inbound("2", "b")], cursor="42")
        found = await inlet.cursor()
        assert found is not None and found.value == "41"


async def test_while_the_database_refuses_the_platform_is_told_to_try_again() -> None:
    """Memory 350 MB to 15 GB: an outage must not be acknowledged for hours."""
    async with House(answer_first=True) as house:
        await _impatient(house)
        with locked():
            await _push(house, inbound("1", "a"))
            await until(lambda: house.ingress._backlog._refused)
            for number in range(20):
                with pytest.raises(Unavailable):
                    await _push(house, inbound(f"x{number}", "later", user="u2"))
        await house.said(1)
        await _push(house, inbound("2", "b"))
        await house.said(2)
        assert await house.read(texts) == ["a", "fine", "b", "fine"]


@pytest.mark.parametrize("bound", ["MAX_ARRIVALS", "MAX_CHARACTERS"])
async def test_only_so_much_is_answered_first(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(backlog, bound, 2)
    async with House(answer_first=True) as house:
        with held_up() as go:
            await _push(house, inbound("1", "a"))
            await _push(house, inbound("2", "b", user="u2"))
            third = asyncio.create_task(_push(house, inbound("3", "c", user="u3")))
            done, _ = await asyncio.wait([third], timeout=0.1)
            assert not done
            go.set()
            await third
        assert await house.read(Message.objects.filter(role="user").count) == 3


async def test_no_more_than_the_last_second_is_at_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "AT_RISK_SECONDS", 0.05)
    async with House(answer_first=True) as house:
        with held_up() as go:
            await _push(house, inbound("1", "a"))
            await asyncio.sleep(0.06)
            late = asyncio.create_task(_push(house, inbound("2", "b", user="u2")))
            done, _ = await asyncio.wait([late], timeout=0.1)
            assert not done
            go.set()
            await late


async def test_stopping_does_not_wait_for_ever_for_a_database_that_is_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with House(answer_first=True) as house:
        await _impatient(house)
        with locked():
            await _push(house, inbound("1", "a"))
            async with asyncio.timeout(5):
                assert await house.ingress._backlog.flush(0.1) == 1
        assert "1 acknowledged arrivals could not be written" in caplog.text


async def test_what_was_written_is_synced_to_the_disk_now_and_then() -> None:
    """OPENCLAW_FLUSH_SECONDS: one commit with fsync takes all before it along."""
    async with House(answer_first=True) as house:

        def flushed() -> list[str]:
            with statements() as seen:
                sync_to_disk()
            return seen

        seen = await house.ledger.call(flushed, atomic=False)
        assert seen[0] == "PRAGMA synchronous = FULL"
        assert any("gateway_heartbeat" in sql for sql in seen[1:-1])
        assert seen[-1] == "PRAGMA synchronous = NORMAL"
