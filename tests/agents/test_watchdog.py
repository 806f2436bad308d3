"""Deadlines around waits: they end the wait, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from gateway.agents.watchdog import Expired, Watchdog


async def test_wait_that_outlasts_its_deadline_expires() -> None:
    dog, loop = Watchdog(), asyncio.get_running_loop()
    with pytest.raises(Expired), dog.until(loop.time() + 0.02):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_later_deadline_moves_the_timer_and_an_earlier_one_too() -> None:
    dog, loop = Watchdog(), asyncio.get_running_loop()
    started = loop.time()
    with dog.until(started + 0.4):
        await asyncio.sleep(0)
    with dog.until(started + 60):
        await asyncio.sleep(0.5)  # beyond the first deadline, which is no more
    with pytest.raises(Expired), dog.until(loop.time() + 0.02):
        await asyncio.Event().wait()
    assert loop.time() - started < 30
    dog.close()


async def test_nothing_happens_between_waits() -> None:
    dog, loop = Watchdog(), asyncio.get_running_loop()
    with dog.until(loop.time() + 0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    with pytest.raises(Expired), dog.until(loop.time() - 1):
        await asyncio.sleep(1)


async def test_task_cancelled_from_outside_stays_cancelled() -> None:
    async def wait() -> None:
        with Watchdog().until(asyncio.get_running_loop().time() + 0.02):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_and_expired_at_once_is_cancelled() -> None:
    loop = asyncio.get_running_loop()
    dog = Watchdog()

    async def wait() -> None:
        with dog.until(loop.time() + 60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    dog._deadline = 0.0
    dog._ring()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_of_the_wait_pass_through() -> None:
    with pytest.raises(KeyError), Watchdog().until(asyncio.get_running_loop().time() + 60) as _:
        raise KeyError
