"""Answers that grow on the platform while they are written.

Where the platform has drafts, a draft grows and vanishes when the answer is
sent. Where messages can be edited, the first part is sent early as an ordinary
delivery and edited at the platform's pace; the turn's end gives it its final
text. A preview is a courtesy: when it fails, the answer still comes whole.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from adapters.base import Adapter, Drafter, Editor, Outbound, RateLimited, SendError
from gateway.ledger import Ledger, Unavailable
from gateway.ledger.records import ClaimedTurn, OpenPreview, Part, Preview
from gateway.ratelimit import RateLimiter
from gateway.stream import LiveTurn

logger = logging.getLogger(__name__)

FIRST_SECONDS = 1.0
"""An answer that is whole sooner needs no preview."""

SHOW_SECONDS = 20.0
"""An edit that takes longer is given up."""

END_SECONDS = 10.0
"""How long the turn's end waits for an edit under way, so that it cannot come after the last."""

Compose = Callable[[str, str], list[Part]]
"""(channel, text) -> its parts."""


class Previews:
    """Starts previews. `adapter` finds a channel's adapter, None where nothing may be shown."""

    def __init__(
        self,
        ledger: Ledger,
        limiter: RateLimiter,
        adapter: Callable[[str], Adapter | None],
        compose: Compose,
    ) -> None:
        self.ledger, self.limiter, self.compose = ledger, limiter, compose
        self._adapter = adapter
        self._arriving: dict[str, asyncio.Future[str]] = {}

    def start(self, turn: ClaimedTurn, live: LiveTurn) -> Growing:
        """Show this turn's words from a moment on. Call the result's `stop` before its end."""
        return Growing(lambda: self._begin(turn, live))

    def sent(self, turn: str, receipt: str) -> None:
        """The first part of this turn's answer arrived."""
        if (waiting := self._arriving.get(turn)) and not waiting.done():
            waiting.set_result(receipt)

    async def arrival(self, turn: str) -> str:
        """The receipt of the first part, as soon as it is sent."""
        waiting = self._arriving.setdefault(turn, asyncio.get_running_loop().create_future())
        try:
            return await waiting
        finally:
            self._arriving.pop(turn, None)

    def _begin(self, turn: ClaimedTurn, live: LiveTurn) -> _Preview | None:
        adapter = self._adapter(turn.channel)
        role: object = adapter
        if adapter is None:
            return None
        if isinstance(role, Drafter) and role.drafts(turn.chat_id, turn.target):
            return _Draft(self, adapter, turn, live, role)
        if isinstance(role, Editor) and adapter.capabilities.edits:
            return _Edits(self, adapter, turn, live, role)
        return None


class Growing:
    """The preview of one turn, from a moment on."""

    def __init__(self, begin: Callable[[], _Preview | None]) -> None:
        self._begin = begin
        self._preview: _Preview | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(FIRST_SECONDS, self._start)

    async def stop(self) -> None:
        """When this returns no edit or draft is under way."""
        self._timer.cancel()
        if self._task and self._preview:
            self._preview.ended.set()
            _, late = await asyncio.wait([self._task], timeout=END_SECONDS)
            for task in late:
                task.cancel()

    @property
    def shown(self) -> bool:
        """Whether a part of the answer may have been sent."""
        return isinstance(self._preview, _Edits)

    def _start(self) -> None:
        self._preview = self._begin()
        if self._preview:
            self._task = asyncio.create_task(self._preview.run(), name="preview")


class _Preview(ABC):
    """Shows what there is, waits for the platform's pace, shows more."""

    fades_seconds = math.inf
    """The same is shown again after so long."""

    def __init__(
        self, previews: Previews, adapter: Adapter, turn: ClaimedTurn, live: LiveTurn
    ) -> None:
        self.previews, self.turn, self.ended = previews, turn, asyncio.Event()
        self._live, self._limit = live, adapter.capabilities.text_limit
        self._pace = adapter.capabilities.edit_seconds
        if turn.target.get("is_group") and (rate := adapter.capabilities.group_rate):
            self._pace = max(self._pace, 1.0 / rate.per_second)

    async def run(self) -> None:
        """Until the turn ends, or the platform refuses."""
        shown, loop = "", asyncio.get_running_loop()
        at = loop.time()
        try:
            while not self.ended.is_set():
                text = self._beginning()
                if text and (text != shown or loop.time() - at >= self.fades_seconds):
                    async with asyncio.timeout(SHOW_SECONDS):
                        await self.show(text)
                    shown, at = text, loop.time()
                await self.rest(self._pace)
        except RateLimited as error:
            if error.scope == "bot":
                self.previews.limiter.hold_bot(self.turn.channel, error.retry_after)
            self.previews.limiter.hold(self.turn.channel, self.turn.chat_id, error.retry_after)
        except (SendError, Unavailable, TimeoutError) as error:
            logger.debug("the preview of %s ends: %s", self.turn.id, type(error).__name__)
        except Exception:  # worker edge: an adapter's fault must not stop the answer
            logger.exception("the preview of %s failed on our side", self.turn.id)

    async def rest(self, seconds: float) -> None:
        """Sleep, but not past the turn's end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), seconds)

    @abstractmethod
    async def show(self, text: str) -> None:
        """Bring the beginning of the answer to the platform. Raises `SendError`."""

    def outbound(self, text: str) -> Outbound:
        """The beginning of the answer, as something to draw."""
        return Outbound(self.turn.id[-25:], self.turn.chat_id, text, self.turn.target)

    def _beginning(self) -> str:
        parts = self.previews.compose(self.turn.channel, self._live.text[: 3 * self._limit].strip())
        return parts[0].text if parts else ""


class _Draft(_Preview):
    """A draft that the platform forgets by itself."""

    def __init__(
        self,
        previews: Previews,
        adapter: Adapter,
        turn: ClaimedTurn,
        live: LiveTurn,
        drafter: Drafter,
    ) -> None:
        super().__init__(previews, adapter, turn, live)
        self._drafter = drafter
        if adapter.capabilities.draft_seconds is not None:
            self.fades_seconds = adapter.capabilities.draft_seconds * 2 / 3

    async def show(self, text: str) -> None:
        """One draft, named after the turn, so that it grows in place. Where the bot may not
        say more now, messages go first."""
        if self.previews.limiter.admit_bot(self.turn.channel):
            await self._drafter.draft(self.outbound(text))


class _Edits(_Preview):
    """A message that was sent early, and is edited."""

    def __init__(
        self,
        previews: Previews,
        adapter: Adapter,
        turn: ClaimedTurn,
        live: LiveTurn,
        editor: Editor,
    ) -> None:
        super().__init__(previews, adapter, turn, live)
        self._editor, self._receipt = editor, ""

    async def show(self, text: str) -> None:
        """First a row that is sent in its lane's order, then edits of the message it became."""
        if not self._receipt and not await self._open(text):
            return
        permit = self.previews.limiter.admit(
            self.turn.channel, self.turn.chat_id, bool(self.turn.target.get("is_group"))
        )
        if permit:
            await self._editor.edit(self.outbound(text), self._receipt)

    async def _open(self, text: str) -> bool:
        """True where a message is there already, from an earlier turn: it wants an edit."""
        arrival = asyncio.create_task(self.previews.arrival(self.turn.id))
        ended = asyncio.create_task(self.ended.wait())
        try:
            row: OpenPreview | None = await self.previews.ledger.do(
                "open_previews", Preview(self.turn, text)
            )
            if row is None or row.state not in ("queued", "sending", "sent"):
                self.ended.set()
            elif row.receipt and row.state == "sent":
                self._receipt = row.receipt
                return True
            else:
                await asyncio.wait([arrival, ended], return_when=asyncio.FIRST_COMPLETED)
                self._receipt = arrival.result() if arrival.done() else ""
        finally:
            arrival.cancel()
            ended.cancel()
        return False
