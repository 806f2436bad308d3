"""Running turns as they are being written, and everyone who watches them.

A watcher keeps no queue. It remembers, per turn, how much it has been given,
and takes what is new when it comes back for more: a slow one gets larger
pieces, never gaps, and costs no memory. Each piece carries its offset, so that
the far end can check.

A frame, offsets counted in code points::

    {"turn", "attempt", "session", "channel", "offset", "text", "state"}

plus "agent", "started" (ISO 8601), "user", "name" and "chat" (who is answered,
and where) with offset 0, and "trace" (a list of {"kind", "data"}) where there is
something new to show; a "reasoning" right behind another continues its text. A
snapshot has offset 0; a new attempt starts again at 0. `state` is running, done,
failed, cancelled or queued (interrupted, and waiting to run again). A page event is
{"event": "message", "session", "message"}: history grew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.traces import Seen, Traces
from sessions_app import clock

MAX_EVENTS = 500
"""Page events a watcher may fall behind before it is told to reload history."""

GATHER_TURNS = 50.0
"""With this many turns running, a watcher gathers for twice as long as for one."""

Frame = dict[str, Any]


@dataclass(slots=True, eq=False)
class LiveTurn:
    """The text of one running turn, growing. `user`, `name`, `chat`: who is answered, and where."""

    turn: str
    attempt: int
    session: str
    channel: str
    agent: str
    hub: Stream
    user: str = ""
    name: str = ""
    chat: str = ""
    started: datetime = field(default_factory=clock.now)
    first_token_at: datetime | None = None
    state: str = "running"
    traces: Traces = field(default_factory=Traces)
    _text: str = ""
    _fresh: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that was said so far."""
        if self._fresh:
            self._text += "".join(self._fresh)
            self._fresh.clear()
        return self._text

    def append(self, text: str) -> None:
        """More of the answer."""
        if self.first_token_at is None:
            self.first_token_at = clock.now()
        self._fresh.append(text)
        self.hub.touched(self)

    def replace(self, text: str) -> None:
        """The final text differs from what was streamed: show it from the start."""
        if text == self.text:
            return
        self._text = text
        self._fresh.clear()
        self.hub.rewound(self)

    def trace(self, kind: str, data: dict[str, Any]) -> None:
        """A tool call, a thought: for the operator's eyes."""
        if self.traces.add(kind, data):
            self.hub.touched(self)

    def close(self, state: str) -> None:
        """The turn ended; watchers get what they lack, then forget it."""
        self.state = state
        self.hub.closed(self)


@dataclass(slots=True)
class _Place:
    """How far one watcher has got in one turn. `attempt` -1: nothing shown yet."""

    attempt: int = -1
    offset: int = 0
    seen: Seen = (0, 0)


class Watcher:
    """One pair of eyes: every turn, or those of one session. Close it when done."""

    def __init__(self, hub: Stream, session: str | None, gather_seconds: float) -> None:
        self._hub = hub
        self.session = session
        self._gather_seconds = gather_seconds
        self._places: dict[LiveTurn, _Place] = {}
        self._dirty: dict[LiveTurn, None] = {}
        self._events: deque[Frame] = deque()
        self._overflowed = False
        self._wake = asyncio.Event()

    async def frames(self) -> list[Frame]:
        """Waits until something is new, gathers for a few milliseconds, returns all of it."""
        await self._wake.wait()
        await asyncio.sleep(self._gather_seconds * (1 + self._hub.running / GATHER_TURNS))
        self._wake.clear()
        dirty, self._dirty = self._dirty, {}
        frames = [frame for turn in dirty if (frame := self._frame(turn))]
        if self._overflowed:
            self._overflowed = False
            self._events.clear()
            return [*frames, {"event": "reload"}]
        frames.extend(self._events)
        self._events.clear()
        return frames

    def resync(self, turn_id: str | None = None) -> None:
        """Start again at 0 with one turn, or with every turn."""
        for turn in self._hub.turns():
            if self.wants(turn.session) and turn_id in (None, turn.turn):
                self._places[turn] = _Place()
                self.touched(turn)

    def close(self) -> None:
        """Stop watching."""
        self._hub.forget(self)

    def wants(self, session: str) -> bool:
        """Whether a session's turns are shown here."""
        return self.session is None or self.session == session

    def touched(self, turn: LiveTurn) -> None:
        """There is more of `turn`."""
        self._dirty[turn] = None
        self._wake.set()

    def rewound(self, turn: LiveTurn) -> None:
        """`turn` is to be shown from the start."""
        self._places[turn] = _Place()
        self.touched(turn)

    def notify(self, event: Frame) -> None:
        """A page event; too many unread ones become a single `reload`."""
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
        else:
            self._overflowed = True
        self._wake.set()

    def _frame(self, turn: LiveTurn) -> Frame | None:
        place = self._places.setdefault(turn, _Place())
        first = place.attempt != turn.attempt
        if first:
            place.attempt, place.offset, place.seen = turn.attempt, 0, (0, 0)
        text = turn.text[place.offset :]
        frame: Frame = {
            "turn": turn.turn,
            "attempt": turn.attempt,
            "session": turn.session,
            "channel": turn.channel,
            "offset": place.offset,
            "text": text,
            "state": turn.state,
        }
        if first:
            frame |= {
                "agent": turn.agent,
                "started": turn.started.isoformat(),
                "user": turn.user,
                "name": turn.name,
                "chat": turn.chat,
            }
        traces, place.seen = turn.traces.since(place.seen)
        if traces:
            frame["trace"] = traces
        place.offset += len(text)
        if turn.state != "running":
            del self._places[turn]
        return frame


class Stream:
    """All running turns of this process, and their watchers."""

    def __init__(self) -> None:
        self._turns: dict[str, LiveTurn] = {}
        self._watchers: set[Watcher] = set()

    def open(
        self,
        turn: str,
        attempt: int,
        session: str,
        channel: str,
        agent: str,
        *,
        user: str = "",
        name: str = "",
        chat: str = "",
    ) -> LiveTurn:
        """A turn starts to run."""
        live = LiveTurn(turn, attempt, session, channel, agent, self, user, name, chat)
        self._turns[turn] = live
        self.touched(live)
        return live

    @property
    def running(self) -> int:
        """How many turns run now."""
        return len(self._turns)

    def turns(self) -> list[LiveTurn]:
        """The turns running now."""
        return list(self._turns.values())

    def watch(self, session: str | None = None, gather_seconds: float = 0.02) -> Watcher:
        """Watch every turn or one session's; starts with a snapshot of what runs."""
        watcher = Watcher(self, session, gather_seconds)
        self._watchers.add(watcher)
        watcher.resync()
        return watcher

    def forget(self, watcher: Watcher) -> None:
        """A watcher is gone."""
        self._watchers.discard(watcher)

    def touched(self, turn: LiveTurn) -> None:
        """Tell everyone who wants to know that there is more of `turn`."""
        self._tell(turn.session, lambda watcher: watcher.touched(turn))

    def rewound(self, turn: LiveTurn) -> None:
        """Tell them to start again at 0."""
        self._tell(turn.session, lambda watcher: watcher.rewound(turn))

    def closed(self, turn: LiveTurn) -> None:
        """A turn ended: no longer in snapshots, but watchers still get its end."""
        if self._turns.get(turn.turn) is turn:
            del self._turns[turn.turn]
        self.touched(turn)

    def grew(self, session: str, message: int) -> None:
        """A session's history grew by a message."""
        event = {"event": "message", "session": session, "message": message}
        self._tell(session, lambda watcher: watcher.notify(event))

    def _tell(self, session: str, tell: Callable[[Watcher], None]) -> None:
        for watcher in self._watchers:
            if watcher.wants(session):
                tell(watcher)
