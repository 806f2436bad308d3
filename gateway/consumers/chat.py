"""/ws/chat/: one person's page. Their messages in, the conversation out as it grows.

What the page says: gateway/chat/frames.py. What it is told:

    {"type": "history", "kind": "latest"|"earlier"|"since", "messages": […], "more": bool}
    {"type": "message", …entry}                 an entry as in gateway/chat/history.py
    {"type": "live", "turn", "attempt", "session", "offset", "text", "state"}
                                                and "seq", its place, with offset 0
    {"type": "accepted", "id"}                  after the commit; with durability `batched` before
    {"type": "refused", "id", "reason", "retry"}
    {"type": "status", "session"}               the open conversation, or null
    {"type": "pong"} · {"type": "error", "reason"}

`more` says that there is something earlier still ("latest", "earlier").
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from adapters.base import Inbound
from gateway.chat import frames, history
from gateway.chat.access import CHANNEL, Visitor, is_enabled, visitor, why_not
from gateway.consumers.socket import (
    RECHECK_SECONDS,
    UNAVAILABLE,
    Bucket,
    Closed,
    Frame,
    Socket,
    pieces,
    query,
)
from gateway.ledger import Unavailable
from gateway.runtime import Runtime, current
from gateway.stream import Watcher
from sessions_app import clock

MAX_PAGES = 20
"""Open pages of one person."""

_LIVE_FIELDS = ("turn", "attempt", "session", "offset", "text", "state", "seq")
"""What a person is shown of a running turn; tool calls and thoughts are the operator's."""


@dataclass(slots=True)
class _Person:
    """All open pages of one person, and how much they may say."""

    pages: set[ChatSocket] = field(default_factory=set)
    messages: Bucket = field(default_factory=lambda: Bucket(per_second=1, burst=20))


_people: dict[str, _Person] = {}


class ChatSocket(Socket):
    """One open page."""

    person: Visitor
    runtime: Runtime
    watcher: Watcher

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        super().__init__(scope, receive, send)
        self._seen = 0  # the newest message the page was given
        self._greeted = False
        self._nudged = asyncio.Event()
        self._catching_up = asyncio.Lock()

    async def admit(self) -> bool:
        """An account or an invitation, not blocked, and not with too many pages open."""
        person = await query(visitor, self.cookies)
        if person is None or person.blocked or not is_enabled():
            return False
        try:
            self.runtime = current()
        except RuntimeError:
            raise Closed(UNAVAILABLE) from None
        group = _people.setdefault(person.user_id, _Person())
        if len(group.pages) >= MAX_PAGES:
            return False
        self.person = person
        self.watcher = self.runtime.stream.watch(session="")  # nobody's, until we know whose
        group.pages.add(self)
        return True

    def gone(self) -> None:
        """Stop watching."""
        self.watcher.close()
        group = _people[self.person.user_id]
        group.pages.discard(self)
        if not group.pages:
            del _people[self.person.user_id]

    async def check(self) -> bool:
        """Whether they may stay; looks for a new conversation on the way."""
        now = await query(visitor, self.cookies)
        if now is None or now.blocked or now.user_id != self.person.user_id:
            return False
        await self._follow()
        return True

    async def pause(self) -> None:
        """Come back soon when another page of this person may have begun a conversation."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), RECHECK_SECONDS)
        self._nudged.clear()

    async def hear(self, frame: Frame) -> None:
        """One frame from the page."""
        try:
            match frames.parse(frame):
                case frames.Say() as message:
                    await self._say(message)
                case frames.Hello(after):
                    await self._greet(after)
                case frames.Earlier(before):
                    entries, more = await query(history.earlier, self.person.user_id, before)
                    await self._history("earlier", entries, more)
                case frames.Resync(turn):
                    self.watcher.resync(turn)
                case frames.Ping():
                    await self.say({"type": "pong"})
        except frames.BadFrame as error:
            await self.say({"type": "error", "reason": str(error)})
        except frames.BadMessage as error:
            await self._refuse(error.client_id, error.reason, retry=False)

    async def push(self) -> None:
        """What the watched conversation does: its running text, then its messages."""
        while True:
            grown: list[int] = []
            reload = False
            for frame in await self.watcher.frames():
                match frame.get("event"):
                    case None:
                        await self._show(frame)
                    case "message":
                        grown.append(frame["message"])
                    case "reload":
                        reload = True
            if reload:
                async with self._catching_up:
                    await self._since(self._seen)
            elif grown:
                await self._grown(grown)

    async def _say(self, message: frames.Say) -> None:
        group = _people[self.person.user_id]
        if not group.messages.take():
            await self._refuse(message.client_id, "too fast", retry=True)
            return
        inbound = Inbound(
            external_id=f"{self.person.user_id}:{message.client_id}",
            user_id=self.person.user_id,
            chat_id=self.person.user_id,
            text=message.text,
            sender_name=self.person.name,
            sent_at=clock.now(),
            by_hand=True,
        )
        try:
            not_taken = await self.runtime.accept(CHANNEL, [inbound])
        except Unavailable:
            await self._refuse(message.client_id, "try again", retry=True)
            return
        if inbound.external_id in not_taken:
            reason = await query(why_not, self.person.user_id)
            await self._refuse(message.client_id, reason, retry=False)
            return
        await self.say({"type": "accepted", "id": message.client_id})
        for page in group.pages:
            page._nudged.set()

    async def _refuse(self, client_id: str, reason: str, *, retry: bool) -> None:
        await self.say({"type": "refused", "id": client_id, "reason": reason, "retry": retry})

    async def _greet(self, after: int) -> None:
        await self._follow()
        async with self._catching_up:
            self._greeted = True
            if after:
                await self._since(after)
            else:
                entries, more = await query(history.latest, self.person.user_id)
                await self._history("latest", entries, more)
        await self.say({"type": "status", "session": self.watcher.session or None})

    async def _follow(self) -> None:
        """Watch the open conversation, if it is another than before."""
        async with self._catching_up:
            session = await query(history.open_session, self.person.user_id)
            if session is None or session == self.watcher.session:
                return
            self.watcher.session = session
            self.watcher.resync()  # watched first, read afterwards: nothing falls between
            if self._greeted:
                await self._since(self._seen)
                await self.say({"type": "status", "session": session})

    async def _since(self, after: int) -> None:
        more = True
        while more:
            entries, more = await query(history.since, self.person.user_id, after)
            await self._history("since", entries, more)
            after = max(after, self._seen)

    async def _grown(self, messages: list[int]) -> None:
        for entry in await query(history.chosen, self.person.user_id, messages):
            self._note([entry])
            await self.say({"type": "message", **entry})

    async def _history(self, kind: str, entries: list[history.Entry], more: bool) -> None:
        self._note(entries)
        await self.say({"type": "history", "kind": kind, "messages": entries, "more": more})

    def _note(self, entries: list[history.Entry]) -> None:
        self._seen = max([self._seen, *(entry["id"] or 0 for entry in entries)])

    async def _show(self, frame: Frame) -> None:
        """A running turn's text; only a first frame needs its place."""
        if frame["offset"] == 0:
            frame["seq"] = await query(history.place, frame["turn"])
        elif not frame["text"] and frame["state"] == "running":
            return  # only something for the operator's eyes
        for piece in pieces(frame):
            shown = {name: piece[name] for name in _LIVE_FIELDS if name in piece}
            await self.say({"type": "live", **shown})
