"""A real gateway notices by itself what an operator does in another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.process import manage
from tests.web.agent import Call
from tests.web.house import SECRET, House, Page

PATIENT_SECONDS = 60.0
"""Until something happens at all: a process has to start in between."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House.open(OPENCLAW_AGENT_ATTEMPTS="1", OPENCLAW_DRAIN_SECONDS="0.5") as house:
        yield house


def operate(house: House, verb: str, *ids: Any) -> None:
    """Run a verb in a process of its own, as `manage.py` does."""
    code = f"from gateway.ledger import operate; print(operate.{verb}('boss', {list(ids)!r}))"
    env = {"OPENCLAW_SECRET_KEY": SECRET}
    done = manage("shell", "-v", "0", "-c", code, data_dir=house.gateway.data_dir, env=env)
    assert int(done) == len(ids)


@asynccontextmanager
async def asked(house: House, name: str, text: str) -> AsyncIterator[tuple[Page, Call]]:
    async with house.guest(name).page() as page:
        await page.say(text)
        yield page, await house.agent.call()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENT_SECONDS):
        while not holds():
            await asyncio.sleep(0.005)


async def test_cancelled_turn_hangs_up_on_the_agent(house: House) -> None:
    async with asked(house, "Ada", "tell me everything") as (page, call):
        call.say("Once upon")
        await page.until(lambda: page.live.get(call.turn) == "Once upon")
        await asyncio.to_thread(operate, house, "cancel_turns", call.turn)
        await until(lambda: call not in house.agent._open)
        await page.until(lambda: page.states.get(call.turn) == "cancelled")
        await page.say("something else")
        follow_up = await house.agent.call()
        follow_up.say("gladly")
        follow_up.finish()
        await page.until(lambda: ("assistant", "gladly") in page.shown)
    ends = house.sql("SELECT state, partial_text FROM gateway_turn WHERE id = ?", call.turn)
    assert ends == [("cancelled", "Once upon")]
    rows = house.sql(
        "SELECT text, disposition FROM sessions_app_message WHERE session_id = ? AND role = 'user' "
        "ORDER BY seq",
        call.session,
    )
    assert rows == [("tell me everything", "silent"), ("something else", "answered")]


async def test_ended_session_hangs_up_on_the_agent(house: House) -> None:
    async with asked(house, "Bob", "hello") as (_, call):
        await asyncio.to_thread(operate, house, "terminate_sessions", call.session)
        await until(lambda: call not in house.agent._open)


async def test_failed_turn_asked_again_is_answered(house: House) -> None:
    async with asked(house, "Cleo", "hello") as (page, call):
        call.say("well")
        await page.until(lambda: page.live.get(call.turn) == "well")
        call.break_off()
        await page.until(lambda: page.states.get(call.turn) == "failed")
        await asyncio.to_thread(operate, house, "requeue_turns", call.turn)
        again = await asyncio.to_thread(house.agent.wait_call, PATIENT_SECONDS)
        assert again.turn == call.turn
        again.say("here I am")
        again.finish()
        await page.until(lambda: page.shown[-1] == ("assistant", "here I am"))
