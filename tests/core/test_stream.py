"""The live stream: whoever watches, whenever and however slowly, ends with exactly the text."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.stream import MAX_EVENTS, LiveTurn, Stream, Watcher
from gateway.traces import MAX_TRACES

Frame = dict[str, Any]


class Screen:
    """The far end of a watcher: it believes only what frames say, and checks their offsets."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, int], str] = {}
        self.states: dict[tuple[str, int], str] = {}
        self.traces: dict[tuple[str, int], int] = {}
        self.events: list[Frame] = []

    def show(self, frames: list[Frame]) -> None:
        for frame in frames:
            if "event" in frame:
                self.events.append(frame)
                continue
            key = frame["turn"], frame["attempt"]
            if frame["offset"] == 0:
                self.texts[key] = ""
            if "started" in frame:
                self.traces[key] = 0
            assert frame["offset"] == len(self.texts[key]), "a gap"
            self.texts[key] += frame["text"]
            self.states[key] = frame["state"]
            self.traces[key] += len(frame.get("trace", ()))


async def _read(watcher: Watcher) -> list[Frame]:
    """What is new now; nothing where nothing is."""
    try:
        async with asyncio.timeout(0.05):
            return await watcher.frames()
    except TimeoutError:
        return []


def _open(hub: Stream, turn: str = "t1", attempt: int = 1, session: str = "s1") -> LiveTurn:
    return hub.open(turn, attempt, session, "testchat", "one")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2), st.text(max_size=5)),
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("join")),
        st.tuples(st.just("resync"), st.integers(0, 3)),
        st.tuples(st.just("trace"), st.integers(0, 2)),
        st.tuples(st.just("replace"), st.integers(0, 2), st.text(max_size=8)),
        st.tuples(st.just("end"), st.integers(0, 2)),
        st.tuples(st.just("retry"), st.integers(0, 2)),
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_snapshot_and_tail_are_the_text_in_every_order_of_events(
    steps: list[tuple[Any, ...]],
) -> None:
    """OW 29596, OW 23733: refresh in mid-stream truncates; offsets, snapshot and tail do not."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[Any, ...]]) -> None:
    hub = Stream()
    lives = [_open(hub, f"t{n}", session=f"s{n}") for n in range(3)]
    eyes: list[tuple[Watcher, Screen]] = [(hub.watch(gather_seconds=0), Screen())]

    async def look(watcher: Watcher, screen: Screen) -> None:
        if watcher._wake.is_set():
            screen.show(await watcher.frames())

    for step in steps:
        kind = step[0]
        if kind == "join" and len(eyes) < 4:
            eyes.append((hub.watch(gather_seconds=0), Screen()))
        elif kind in ("read", "resync") and step[1] < len(eyes):
            watcher, screen = eyes[step[1]]
            if kind == "resync":
                watcher.resync()
            else:
                await look(watcher, screen)
        elif kind in ("say", "trace", "replace", "end", "retry"):
            live = lives[step[1]]
            if live.state != "running":
                continue
            if kind == "say":
                live.append(step[2])
            elif kind == "trace":
                live.trace("tool_call", {})
            elif kind == "replace":
                live.replace(step[2])
            elif kind == "end":
                live.close("done")
            else:
                live.close("queued")
                lives[step[1]] = _open(hub, live.turn, live.attempt + 1, live.session)
    for live in lives:
        if live.state == "running":
            live.close("done")
    for watcher, screen in eyes:
        await look(watcher, screen)
        assert not watcher._places
    first = eyes[0][1]
    for live in lives:
        key = live.turn, live.attempt
        assert (first.texts[key], first.states[key]) == (live.text, live.state)
        assert first.traces[key] == len(live.traces)
        for _, screen in eyes:  # who joined later saw all of what still ran then
            assert screen.texts.get(key, live.text) == live.text
            assert screen.states.get(key, live.state) == live.state


async def test_a_slow_watcher_gets_larger_pieces_and_no_gaps() -> None:
    """Channels' group_send dropped 50 of 150 frames for a slow reader."""
    hub = Stream()
    watcher, screen, live = hub.watch(gather_seconds=0), Screen(), _open(hub)
    for number in range(10_000):
        live.append(f"{number} ")
    frames = await watcher.frames()
    assert len(frames) == 1
    screen.show(frames)
    live.append("end")
    live.close("done")
    screen.show(await watcher.frames())
    assert screen.texts["t1", 1] == live.text
    assert hub.turns() == []


async def test_tokens_are_gathered_for_a_moment() -> None:
    hub = Stream()
    watcher, live = hub.watch(gather_seconds=0.2), _open(hub)

    async def speak() -> None:
        for _ in range(5):
            live.append("x")
            await asyncio.sleep(0)

    frames, _ = await asyncio.gather(watcher.frames(), speak())
    assert [frame["text"] for frame in frames] == ["xxxxx"]


async def test_who_joins_late_gets_a_snapshot_first() -> None:
    hub = Stream()
    live = _open(hub)
    live.append("so far")
    live.trace("tool_call", {"name": "clock"})
    (frame,) = await hub.watch(gather_seconds=0).frames()
    assert (frame["offset"], frame["text"], frame["state"]) == (0, "so far", "running")
    assert (frame["agent"], frame["channel"], frame["session"]) == ("one", "testchat", "s1")
    assert frame["trace"] == [{"kind": "tool_call", "data": {"name": "clock"}}]
    assert frame["started"] == live.started.isoformat()


async def test_only_the_first_frame_tells_what_does_not_change() -> None:
    hub = Stream()
    watcher, live = hub.watch(gather_seconds=0), _open(hub)
    live.append("a")
    await watcher.frames()
    live.append("b")
    (frame,) = await watcher.frames()
    assert (frame["offset"], frame["text"]) == (1, "b")
    assert not {"agent", "started", "trace"} & set(frame)


async def test_a_new_attempt_starts_again_at_0() -> None:
    hub = Stream()
    watcher, first = hub.watch(gather_seconds=0), _open(hub)
    first.append("half an ans")
    await watcher.frames()
    first.close("queued")
    _open(hub, attempt=2).append("whole")
    old, new = await watcher.frames()
    assert (old["attempt"], old["state"], old["text"]) == (1, "queued", "")
    assert (new["attempt"], new["offset"], new["text"]) == (2, 0, "whole")


async def test_the_end_of_a_stale_attempt_does_not_hide_the_running_one() -> None:
    hub = Stream()
    stale = _open(hub)
    fresh = _open(hub, attempt=2)
    stale.close("cancelled")
    assert hub.turns() == [fresh]


async def test_a_final_text_that_differs_rewinds_and_one_that_does_not_costs_nothing() -> None:
    hub = Stream()
    watcher, live = hub.watch(gather_seconds=0), _open(hub)
    live.append("draft")
    await watcher.frames()
    live.replace("draft")
    assert await _read(watcher) == []
    live.replace("fair")
    (frame,) = await watcher.frames()
    assert (frame["offset"], frame["text"]) == (0, "fair")


async def test_a_watcher_that_noticed_a_gap_starts_again() -> None:
    hub = Stream()
    watcher, one, two = hub.watch(gather_seconds=0), _open(hub), _open(hub, "t2")
    one.append("abc")
    two.append("xyz")
    await watcher.frames()
    watcher.resync("t1")
    (frame,) = await watcher.frames()
    assert (frame["turn"], frame["offset"], frame["text"]) == ("t1", 0, "abc")
    watcher.resync()
    assert [frame["text"] for frame in await watcher.frames()] == ["abc", "xyz"]


async def test_a_session_shows_its_own_turns_only() -> None:
    hub = Stream()
    before = _open(hub, "t0", session="s2")
    watcher = hub.watch("s1", gather_seconds=0)
    _open(hub, "t1", session="s1").append("mine")
    _open(hub, "t2", session="s2").append("theirs")
    before.close("done")
    hub.grew("s2", 1)
    watcher.resync("t2")
    assert [frame["turn"] for frame in await watcher.frames()] == ["t1"]


async def test_too_many_unread_events_become_one_reload() -> None:
    """OC 91588: bounded everything, also for a watcher that never reads."""
    hub = Stream()
    watcher, live = hub.watch(gather_seconds=0), _open(hub)
    live.append("text")
    for number in range(MAX_EVENTS + 300):
        hub.grew("s1", number)
    assert len(watcher._events) == MAX_EVENTS
    frames = await watcher.frames()
    assert frames[0]["text"] == "text"
    assert frames[1:] == [{"event": "reload"}]
    hub.grew("s1", 7)
    assert await watcher.frames() == [{"event": "message", "session": "s1", "message": 7}]


async def test_events_come_in_order_and_once() -> None:
    hub = Stream()
    watcher = hub.watch(gather_seconds=0)
    for number in range(MAX_EVENTS):
        hub.grew("s1", number)
    assert [frame["message"] for frame in await watcher.frames()] == list(range(MAX_EVENTS))
    assert await _read(watcher) == []


async def test_traces_are_bounded() -> None:
    hub = Stream()
    live = _open(hub)
    for _ in range(MAX_TRACES + 50):
        live.trace("reasoning", {})
    (frame,) = await hub.watch(gather_seconds=0).frames()
    assert len(frame["trace"]) == MAX_TRACES


async def test_a_closed_watcher_costs_nothing() -> None:
    hub = Stream()
    watcher, live = hub.watch(gather_seconds=0), _open(hub)
    await watcher.frames()
    watcher.close()
    live.append("x")
    hub.grew("s1", 1)
    assert await _read(watcher) == []
    assert hub._watchers == set()


async def test_the_first_token_has_its_time() -> None:
    hub = Stream()
    live = _open(hub)
    assert live.first_token_at is None
    live.append("a")
    first = live.first_token_at
    live.append("b")
    assert first is not None
    assert live.first_token_at == first >= live.started
