"""What an agent did beside its answer: kept in order, bounded, and the same for every watcher."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.agents.base import Event, Final, Question, Trace
from gateway.models import Turn
from gateway.replay.asking import Said, _take
from gateway.stream import Stream, Watcher
from gateway.traces import MAX_EVENT, MAX_THOUGHT, MAX_TRACES, Traces, counted, merged
from tests.core.house import House
from tests.core.kit import inbound, until

CALL = {"id": "c1", "name": "clock", "arguments": "{}"}
WORDS = [f"word{number} " for number in range(1000)]


def told(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a page makes of the traces in these frames."""
    return merged([event for frame in frames for event in frame.get("trace", ())])


async def frames(watcher: Watcher) -> list[dict[str, Any]]:
    return await watcher.frames() if watcher._wake.is_set() else []


async def test_a_thousand_words_of_reasoning_push_out_no_tool_call() -> None:
    hub = Stream()
    live = hub.open("t1", 1, "s1", "testchat", "one")
    early, seen = hub.watch(gather_seconds=0), []
    for number, word in enumerate(WORDS):
        live.trace("reasoning", {"text": word})
        if number == 500:
            live.trace("tool_call", CALL)
            late = hub.watch(gather_seconds=0)
        if number % 7 == 0:
            seen += await frames(early)
    live.trace("tool_call", {"name": "last"})
    seen += await frames(early)
    expected = [
        {"kind": "reasoning", "data": {"text": "".join(WORDS[:501])}},
        {"kind": "tool_call", "data": CALL},
        {"kind": "reasoning", "data": {"text": "".join(WORDS[501:])}},
        {"kind": "tool_call", "data": {"name": "last"}},
    ]
    assert live.traces.end() == expected
    assert told(seen) == told(await frames(late)) == expected
    assert told(await frames(hub.watch(gather_seconds=0))) == expected
    assert counted(expected) == "2 tool events and reasoning"


@pytest.mark.usefixtures("agent")
async def test_a_turns_row_keeps_its_reasoning_as_one_and_its_tool_calls() -> None:
    async def say(question: Question) -> AsyncIterator[Event]:
        for word in WORDS:
            yield Trace("reasoning", {"text": word})
        yield Trace("tool_call", CALL)
        yield Trace("tool_call", CALL)
        yield Final("noon")

    async with House(say) as house:
        await house.write(inbound("1", "hi"))
        await house.said(1)
        await until(lambda: not house.runner.running())
        turn = await house.read(Turn.objects.get)
        assert turn.events == [
            {"kind": "reasoning", "data": {"text": "".join(WORDS)}},
            {"kind": "tool_call", "data": CALL},
            {"kind": "tool_call", "data": CALL},
        ]


def test_a_replay_keeps_them_too() -> None:
    said = Said()
    for word in WORDS:
        _take(said, Trace("reasoning", {"text": word}))
    _take(said, Trace("tool_call", CALL))
    assert [event["kind"] for event in said.traces.end()] == ["reasoning", "tool_call"]


async def test_what_is_not_kept_is_counted_and_every_watcher_is_told() -> None:
    hub = Stream()
    live = hub.open("t1", 1, "s1", "testchat", "one")
    early = hub.watch(gather_seconds=0)
    seen = await frames(early)
    for number in range(MAX_TRACES + 50):
        live.trace("tool_call", {"name": f"tool {number}"})
    live.trace("reasoning", {"text": "x" * (MAX_THOUGHT + 7)})
    live.trace("reasoning", {"text": "y"})
    seen += await frames(early)
    kept = live.traces.end()
    late = hub.watch(gather_seconds=0)
    live.close("done")
    seen += await frames(early)
    assert [event["kind"] for event in kept[-2:]] == ["reasoning", "not_kept"]
    assert kept[-1]["data"] == {"events": 50, "characters of reasoning": 8}
    assert len(kept) == MAX_TRACES + 2 and len(kept[-2]["data"]["text"]) == MAX_THOUGHT
    assert kept[0]["data"] == {"name": "tool 0"}
    assert told(seen) == told(await frames(late)) == kept == live.traces.end()


def test_a_huge_tool_call_is_kept_by_its_name_and_beginning() -> None:
    traces = Traces()
    traces.add("tool_call", {"id": "c1", "name": "write", "arguments": "x" * 100_000})
    (event,) = traces.end()
    assert event["data"]["name"] == "write" and event["data"]["id"] == "c1"
    assert event["data"]["beginning"].startswith('{"id":"c1","name":"write","arguments":"xxx')
    assert len(str(event)) < 2 * MAX_EVENT and event["data"]["characters"] > 100_000


@pytest.mark.parametrize("events", [None, "odd", [], [7, {"kind": "reasoning"}, {"data": 1}]])
def test_rows_of_any_shape_are_shown(events: Any) -> None:
    assert merged(events) == (events if isinstance(events, list) else [])


def test_rows_with_one_event_for_each_word_are_shown_as_one() -> None:
    row = [{"kind": "reasoning", "data": {"text": word}} for word in WORDS[:200]]
    assert merged(row) == [{"kind": "reasoning", "data": {"text": "".join(WORDS[:200])}}]
    assert counted(merged(row)) == "reasoning"
