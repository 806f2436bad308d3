"""/ws/live/ on a real gateway: what staff see of running turns."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.web.agent import Call
from tests.web.house import SECONDS, House, Visitor, grow

MEGABYTE = 1024 * 1024
WATCHERS = 12


class Eyes:
    """A watcher that checks every offset."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.texts: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.frames: list[dict[str, Any]] = []

    async def until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                frame = json.loads(await self.socket.recv())
                self.frames.append(frame)
                if "turn" in frame:
                    grow(self.texts, frame)
                    self.states[frame["turn"]] = frame["state"]


async def test_watcher_sees_every_turn_as_it_is_written(house: House) -> None:
    async with house.login("staff").connect("/ws/live/") as socket:
        eyes = Eyes(socket)
        async with house.guest("Ada").page() as ada, house.guest("Bob").page() as bob:
            await ada.say("a")
            one = await house.agent.call()
            await bob.say("b")
            two = await house.agent.call()
            one.think("plan")
            one.say("for Ada")
            two.say("for Bob")
            await eyes.until(lambda: set(eyes.texts.values()) >= {"for Ada", "for Bob"})
            one.finish()
            two.finish()
            await eyes.until(lambda: [*eyes.states.values()].count("done") >= 2)
        first = next(f for f in eyes.frames if f.get("turn") == one.turn)
        assert first["offset"] == 0
        assert first["channel"] == "webchat"
        assert first["agent"] and first["started"]
        traces = [item for frame in eyes.frames for item in frame.get("trace", [])]
        assert any("plan" in json.dumps(item) for item in traces)
        assert any(f.get("event") == "message" and f["session"] == one.session for f in eyes.frames)


async def test_watcher_of_one_session_sees_only_that_one(house: House) -> None:
    async with house.guest("Ada").page() as ada, house.guest("Bob").page() as bob:
        await ada.say("a")
        one = await house.agent.call()
        await bob.say("b")
        two = await house.agent.call()
        staff = house.login("staff")
        async with staff.connect(f"/ws/live/?session={two.session}") as socket:
            eyes = Eyes(socket)
            one.say("for Ada")
            two.say("for Bob")
            await eyes.until(lambda: eyes.texts.get(two.turn) == "for Bob")
            assert set(eyes.texts) == {two.turn}


async def test_late_joiner_gets_a_snapshot_and_then_the_tail(house: House) -> None:
    async with house.guest().page() as page:
        await page.say("long")
        call = await house.agent.call()
        for number in range(500):
            call.say(f"word{number} \U0001f99e ")
        await page.until(lambda: page.live.get(call.turn) == call.text)
        async with house.login("staff").connect("/ws/live/") as socket:
            eyes = Eyes(socket)
            await eyes.until(lambda: eyes.texts.get(call.turn) == call.text)
            assert next(f["offset"] for f in eyes.frames if f.get("turn") == call.turn) == 0
            call.say("the tail")
            await eyes.until(lambda: eyes.texts.get(call.turn) == call.text)
            assert eyes.frames[-1]["text"] == "the tail"


async def test_resync_starts_again_at_the_beginning(house: House) -> None:
    async with (
        house.guest().page() as page,
        house.login("staff").connect("/ws/live/") as socket,
    ):
        eyes = Eyes(socket)
        await page.say("x")
        call = await house.agent.call()
        call.say("told once")
        await eyes.until(lambda: eyes.texts.get(call.turn) == "told once")
        for wish in (call.turn, None):
            eyes.texts.clear()
            await socket.send(json.dumps({"resync": wish}))
            await eyes.until(lambda: eyes.texts.get(call.turn) == "told once")
            assert eyes.frames[-1]["offset"] == 0


async def test_agent_may_stream_half_a_surrogate_pair(house: House) -> None:
    async with (
        house.guest().page() as page,
        house.login("staff").connect("/ws/live/") as socket,
    ):
        eyes = Eyes(socket)
        await page.say("x")
        call = await house.agent.call()
        call.say("a\ud83e")
        call.say("\udd9eb")
        await eyes.until(lambda: eyes.texts.get(call.turn, "").endswith("b"))
        call.finish("done")
        await eyes.until(lambda: eyes.states[call.turn] == "done")
        assert eyes.texts[call.turn] == "done"


@pytest.mark.parametrize("frame", ["x", "[]", "{}", '{"resync": 7}', '{"resync": ["turn_x"]}'])
async def test_bad_frames_are_answered(house: House, frame: str) -> None:
    async with house.login("staff").connect("/ws/live/") as socket:
        await socket.send(frame)
        eyes = Eyes(socket)
        await eyes.until(lambda: any(f.get("type") == "error" for f in eyes.frames))


async def test_only_staff_may_watch(house: House) -> None:
    nobody = Visitor(house, "", "")
    for visitor in (nobody, house.guest(), house.login("person")):
        with pytest.raises(InvalidStatus) as refused:
            async with visitor.connect("/ws/live/"):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("demoted", "UPDATE auth_user SET is_staff = 0 WHERE username = 'demoted'"),
        ("leaver", "DELETE FROM django_session"),
    ],
)
async def test_watcher_is_put_out_when_the_permission_goes(
    house: House, name: str, statement: str
) -> None:
    kept = house.sql("SELECT session_key, session_data, expire_date FROM django_session")
    async with house.login(name).connect("/ws/live/") as socket:
        house.sql(statement)
        with pytest.raises(ConnectionClosed) as closed:
            await Eyes(socket).until(lambda: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
    for row in kept:
        house.sql("INSERT OR IGNORE INTO django_session VALUES (?, ?, ?)", *row)


async def test_slow_watcher_gets_all_of_it_delays_nobody_and_costs_little(house: House) -> None:
    staff = house.login("staff")
    async with house.guest("Reader").page() as page, contextlib.AsyncExitStack() as stack:
        slow = [
            await stack.enter_async_context(
                staff.connect("/ws/live/", max_queue=1, close_timeout=0.1)
            )
            for _ in range(WATCHERS)
        ]
        await page.say("much")
        call = await house.agent.call()
        before = house.memory()
        block = "0123456789abcdef" * 1024
        for _ in range(20):
            for _ in range(16):
                call.say(block)
            await page.until(lambda: len(page.live.get(call.turn, "")) == len(call.text))
        grown = house.memory() - before
        assert len(call.text) == 5 * MEGABYTE
        # Twelve queues of frames would hold some 60 MB; the text itself is 5.
        assert grown < 35 * MEGABYTE, f"{grown / MEGABYTE:.0f} MB"
        await _someone_else_is_answered_at_once(house)
        await asyncio.gather(*(_reads_all_of(call, socket) for socket in slow))


async def _someone_else_is_answered_at_once(house: House) -> None:
    async with house.guest("Another").page() as other:
        await other.say("quick")
        quick = await house.agent.call()
        quick.finish("at once")
        await other.until(lambda: ("assistant", "at once") in other.shown)


async def _reads_all_of(call: Call, socket: ClientConnection) -> None:
    parts: list[str] = []
    size, state = 0, "running"
    async with asyncio.timeout(60):
        while state == "running":
            frame = json.loads(await socket.recv())
            if frame.get("turn") != call.turn:
                continue
            assert frame["offset"] == size
            parts.append(frame["text"])
            size, state = size + len(frame["text"]), frame["state"]
            if size == len(call.text):
                call.finish()
    assert state == "done"
    assert "".join(parts) == call.text
