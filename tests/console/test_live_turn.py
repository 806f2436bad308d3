"""The browser's side of a live turn, fed with whatever the gateway's side may tell it."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest

from gateway.consumers import socket
from gateway.stream import Stream
from tests.web import browser as browsers
from tests.web.modules import served

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not browsers.CHROMIUM.exists() and not os.environ.get("CI"),
        reason="needs Debian's chromium at /usr/bin/chromium",
    ),
]
STORIES = 300
PIECES = ["a", "word ", "\U0001f99e", "é", "\n", "long " * 3, "مرحبا"]

Frame = dict[str, Any]
Story = tuple[list[Frame], str, str, bool]

# Feeds each story to a fresh Turn. Resolves to [text, state, gaps] of each.
_PLAY = """async (stories) => {
  const { Turn } = await import("/console/live-turn.js");
  return stories.map((frames) => {
    const turn = new Turn("t");
    const gaps = frames.filter((frame) => turn.take(frame) === "gap").length;
    return [turn.text, turn.state, gaps];
  });
}"""


async def _story(seed: int, monkeypatch: pytest.MonkeyPatch) -> Story:
    """(what a watcher is told of one turn in a random order of events, its text, its state,
    whether the final text differed from the tokens)."""
    chance = random.Random(seed)
    monkeypatch.setattr(socket, "PIECE", chance.choice([3, 7, 1000]))
    hub = Stream()
    live = hub.open("t", 1, "s", "testchat", "one")
    watcher = hub.watch(gather_seconds=0)
    frames: list[Frame] = []

    async def read() -> None:
        if watcher._wake.is_set():
            for frame in await watcher.frames():
                frames.extend(socket.pieces(frame))

    for _ in range(chance.randrange(1, 30)):
        match chance.randrange(8):
            case 0:
                watcher.resync()
            case 1 | 2:
                await read()
            case 3 if chance.random() < 0.3:
                live.close("queued")
                await read()
                live = hub.open("t", live.attempt + 1, "s", "testchat", "one")
            case _:
                live.append(chance.choice(PIECES))
    await read()
    rewound = chance.random() < 0.5
    if rewound:
        live.replace(chance.choice([live.text[: len(live.text) // 2], "other", live.text + "!"]))
        if chance.random() < 0.5:
            await read()
    live.close(chance.choice(["done", "cancelled"]))
    await read()
    return frames, live.text, live.state, rewound


def test_whatever_is_told_in_whatever_pieces_the_text_is_the_one_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stories = [asyncio.run(_story(seed, monkeypatch)) for seed in range(STORIES)]
    chance = random.Random(1)
    holed = []  # the same stories, each with a frame lost; offsets cannot tell a lost rewind
    for frames, text, state, rewound in stories:
        if not rewound:
            lost = chance.randrange(len(frames))
            holed.append((frames[:lost] + frames[lost + 1 :], text, state))
    with served() as url, browsers.running() as browser:
        page = browser.new_page()
        page.goto(f"{url}/console/live-turn.js")
        told = page.evaluate(_PLAY, [story[0] for story in stories])
        broken = page.evaluate(_PLAY, [story[0] for story in holed])
    assert told == [[text, state, 0] for _, text, state, _ in stories]
    ended = [
        (found, gaps, text)
        for (found, known, gaps), (_, text, state) in zip(broken, holed, strict=True)
        if known == state  # else its end is what was lost, and asked for after a while
    ]
    assert sum(gaps > 0 for _, gaps, _ in ended) > 10
    assert [(found, text) for found, gaps, text in ended if found != text and not gaps] == []
