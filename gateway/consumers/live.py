"""/ws/live/: every turn's text as it is written, or one session's, for who may see turns.

Frames are those of gateway/stream.py, one in each websocket message, or with
`?batch=1` a list of them. The client may say {"resync": <turn id>}, or
{"resync": null} for every turn, when it missed something, and {"type": "ping"},
which is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs

from gateway.chat.access import may_watch
from gateway.consumers.socket import PIECE, UNAVAILABLE, Closed, Frame, Socket, pieces, query
from gateway.runtime import current
from gateway.stream import Watcher


class LiveSocket(Socket):
    """One operator's eyes."""

    watcher: Watcher
    batched = False

    async def admit(self) -> bool:
        """Only who may see turns in the admin."""
        if not await self.check():
            return False
        wishes = parse_qs(self.scope["query_string"].decode("latin1"))
        wanted = wishes.get("session")
        self.batched = wishes.get("batch") == ["1"]
        try:
            self.watcher = current().stream.watch(wanted[0] if wanted else None)
        except RuntimeError:
            raise Closed(UNAVAILABLE) from None
        return True

    async def check(self) -> bool:
        """Whether the login still may."""
        return await query(may_watch, self.cookies)

    async def hear(self, frame: Frame) -> None:
        """A request to start again at 0, or whether anybody is there."""
        match frame:
            case {"type": "ping"}:
                await self.say({"type": "pong"})
            case {"resync": None}:
                self.watcher.resync()
            case {"resync": str(turn)}:
                self.watcher.resync(turn)
            case _:
                await self.say({"type": "error", "reason": "not understood"})

    async def push(self) -> None:
        """Whatever is new; a slow reader gets it in larger pieces."""
        while True:
            frames = _in_pieces(await self.watcher.frames())
            if self.batched:
                for batch in _batches(frames):
                    await self.say_all(batch)
            else:
                for frame in frames:
                    await self.say(frame)

    def gone(self) -> None:
        """Stop watching."""
        self.watcher.close()


def _in_pieces(frames: list[Frame]) -> Iterator[Frame]:
    for frame in frames:
        if "event" in frame:
            yield frame
        else:
            yield from pieces(frame)


def _batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Lists of frames with some `PIECE` code points of text in each."""
    batch: list[Frame] = []
    size = 0
    for frame in frames:
        batch.append(frame)
        size += len(frame.get("text", ""))
        if size >= PIECE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
