"""An agent that does nothing but talk: many streams at an even pace from one lean process.

    python -m tests.console.talker --port 9000 --rate 50 --seconds 15

Every call of /rpc/message is answered with `rate` tokens a second for `seconds`,
then `final`. What it says is known beforehand: `said(turn id, tokens)`. GET /stats
tells how it went: {"calls", "ended", "tokens", "late", "often_late"}; the last two are
seconds: the worst lateness of a token, and what one look in twenty exceeds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import cast

import uvloop

TICK = 0.005
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def word(turn: str, number: int) -> str:
    """The `number`-th token of a turn, from 0."""
    return f"{turn[-5:]}.{number} " if number % 25 else f"{turn[-5:]}.{number} \N{LOBSTER}\n"


def said(turn: str, tokens: int) -> str:
    """All that is said in a turn."""
    return "".join(word(turn, number) for number in range(tokens))


def chunk(event: str, data: object) -> bytes:
    """One event as one chunk of the response."""
    body = f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(body), body)


class Talker:
    """All streams, and their one clock."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate, self.tokens = rate, round(rate * seconds)
        self.streams: dict[Line, tuple[str, float, int]] = {}
        self.calls = self.ended = self.said = 0
        self.late: list[float] = []
        """The worst of each look at which something was due, in seconds."""

    async def talk(self) -> None:
        """Say what is due, for ever."""
        while True:
            await asyncio.sleep(TICK)
            now, late = time.monotonic(), 0.0
            for line, (turn, started, done) in list(self.streams.items()):
                due = min(self.tokens, int((now - started) * self.rate))
                if due > done:
                    late = max(late, now - started - (done + 1) / self.rate)
                    self._say(line, turn, started, done, due)
            if late:
                self.late.append(late)

    def _say(self, line: Line, turn: str, started: float, done: int, due: int) -> None:
        for number in range(done, due):
            line.transport.write(chunk("token", {"text": word(turn, number)}))
        self.said += due - done
        self.streams[line] = turn, started, due
        if due == self.tokens:
            final = chunk("final", {"content": said(turn, self.tokens)})
            line.transport.write(final + b"0\r\n\r\n")
            del self.streams[line]
            self.ended += 1

    def stats(self) -> bytes:
        """As JSON."""
        late = self.late if len(self.late) > 1 else [0.0, 0.0]
        found = {"calls": self.calls, "ended": self.ended, "tokens": self.said, "late": max(late),
                 "often_late": statistics.quantiles(late, n=20)[-1]}  # fmt: skip
        return json.dumps(found).encode()


class Line(asyncio.Protocol):
    """One connection; requests come one after the other."""

    transport: asyncio.Transport

    def __init__(self, talker: Talker) -> None:
        self.talker, self.buffer = talker, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def connection_lost(self, _: Exception | None) -> None:
        self.talker.streams.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields.get(b"content-length", b"0")):
            return
        self.buffer = b""
        if not head.startswith(b"POST"):
            stats = self.talker.stats()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(stats))
            self.transport.write(stats)
            return
        self.talker.calls += 1
        self.transport.write(HEAD)
        self.talker.streams[self] = json.loads(body)["turnId"], time.monotonic(), 0


async def _serve(port: int, rate: float, seconds: float) -> None:
    talker = Talker(rate, seconds)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Line(talker), "127.0.0.1", port, backlog=1024)
    await talker.talk()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="An agent that does nothing but talk.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=50, help="tokens per second and stream")
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.rate, given.seconds))


if __name__ == "__main__":
    main()
