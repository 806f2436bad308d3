"""What the live page is told: who is answered and where, in lists, gathered by how much runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.consumers.live import _batches, _in_pieces
from gateway.consumers.socket import PIECE
from gateway.stream import GATHER_TURNS, Stream


async def test_first_frame_says_who_is_answered_and_where() -> None:
    hub = Stream()
    watcher = hub.watch(gather_seconds=0)
    live = hub.open("t1", 1, "s1", "testchat", "one", user="u7", name="Ada", chat="c9")
    live.append("a")
    (first,) = await watcher.frames()
    assert (first["user"], first["name"], first["chat"]) == ("u7", "Ada", "c9")
    live.append("b")
    (second,) = await watcher.frames()
    assert not {"user", "name", "chat"} & set(second)


async def test_with_many_turns_a_watcher_gathers_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Stream()
    for number in range(round(GATHER_TURNS) * 4):
        hub.open(f"t{number}", 1, f"s{number}", "testchat", "one")
    watcher = hub.watch(gather_seconds=0.02)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert len(await watcher.frames()) == hub.running
    assert pauses == [pytest.approx(0.02 * 5)]
    for turn in hub.turns()[1:]:
        turn.close("done")
    await watcher.frames()
    hub.turns()[0].append("x")
    await watcher.frames()
    assert pauses[-1] < 0.02 * 2


def frame(text: str, **more: Any) -> dict[str, Any]:
    return {"turn": "t", "offset": 0, "text": text, "state": "done", **more}


def test_lists_hold_everything_in_order_and_none_is_huge() -> None:
    frames = [
        frame("a" * (2 * PIECE + 5)),
        {"event": "message", "session": "s", "message": 1},
        *(frame(str(number)) for number in range(300)),
        frame("z" * PIECE),
    ]
    batches = list(_batches(_in_pieces(frames)))
    told = [item for batch in batches for item in batch]
    assert "".join(item.get("text", "") for item in told) == "".join(
        item.get("text", "") for item in frames
    )
    assert max(sum(len(item.get("text", "")) for item in batch) for batch in batches) < 2 * PIECE
    assert len(batches) <= 5
    assert [item["offset"] for item in told[:3]] == [0, PIECE, 2 * PIECE]


def test_nothing_new_is_no_list() -> None:
    assert list(_batches(iter([]))) == []
