"""Lines: each enabled channel as it stands now, opened, watched and opened again when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters._recent import Recent
from adapters.base import Adapter, ChannelDown, Listener, Prompter, SendError, Watched
from gateway.albums import Albums
from gateway.channels import Rules
from gateway.guard import Guard
from gateway.ledger import Unavailable
from sessions_app import clock

logger = logging.getLogger(__name__)

DOWN_SECONDS = 300.0
"""A channel that the platform closed is tried again this seldom."""

MAX_PAUSE_SECONDS = 60.0

MAX_REMARKS = 10_000
"""Remarks that are known when a platform hands them over again."""

WATCH_SECONDS = 180.0
"""How often a platform that calls us is asked whether it still reaches us."""


@dataclass(eq=False)
class Line:
    """One channel: its adapter, the core's rules for it, and what is known of its health.

    `state` is starting, up, failing (the inbound side has trouble) or down
    (nothing is sent either). Sends never count as signs of inbound life.
    `opened`: the platform has told us once who we are there.
    `before`: the last report of an earlier gateway; what has not happened anew is told from it.
    `remarks`: id and text of what was overheard. Its rows go when they were told to an agent.
    """

    name: str
    adapter: Adapter
    rules: Rules
    state: str = "starting"
    detail: str = ""
    alive_at: datetime | None = None
    last_inbound_at: datetime | None = None
    denied: int = 0
    kept_out: dict[str, int] = field(default_factory=dict)
    opened: bool = False
    last_error: str = ""
    last_error_at: datetime | None = None
    before: dict[str, Any] | None = None
    remarks: Recent[tuple[str, str], None] = field(default_factory=lambda: Recent(MAX_REMARKS))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    guard: Guard = field(init=False)
    albums: Albums = field(default_factory=Albums)

    def __post_init__(self) -> None:
        flood = float(self.rules.flood) or None
        self.guard = Guard(flood, loops=bool(flood) or self.rules.rate != "unlimited")

    def alive(self) -> None:
        """The inbound side works."""
        self.alive_at = clock.now()
        if self.state == "failing":
            logger.info("channel %s: works again", self.name)
            self.state, self.detail = "up", ""

    def heard(self, messages: int) -> None:
        """Something authentic came in."""
        self.alive()
        if messages:
            self.last_inbound_at = clock.now()

    def fail(self, detail: str) -> None:
        """The inbound side has trouble; said once until it changes."""
        if (self.state, self.detail) != ("failing", detail):
            logger.warning("channel %s: %s", self.name, detail)
        self.state, self.detail = "failing", detail
        self.erred(detail)

    def erred(self, detail: str) -> None:
        """Remember the trouble, also when it is over."""
        self.last_error, self.last_error_at = detail, clock.now()

    def deny(self, count: int) -> None:
        """Somebody without access wrote: counted, not kept."""
        if not self.denied:
            logger.info(
                "channel %s: a sender without access was not let in (further ones are counted)",
                self.name,
            )
        self.denied += count

    def keep_out(self, why: str) -> None:
        """Somebody floods us ("flood"), or answers like a machine ("loop"): counted, not kept."""
        if why not in self.kept_out:
            logger.warning("channel %s: a sender is kept out for a while (%s)", self.name, why)
        self.kept_out[why] = self.kept_out.get(why, 0) + 1

    def report(self) -> dict[str, Any]:
        """For /readyz and the operator: no secrets, no people."""
        before = self.before or {}
        return {
            "state": self.state,
            "detail": self.detail,
            "alive_at": _told(self.alive_at),
            "last_inbound_at": _told(self.last_inbound_at) or before.get("last_inbound_at"),
            "last_error": self.last_error or before.get("last_error") or "",
            "last_error_at": _told(self.last_error_at) or before.get("last_error_at"),
            "denied": self.denied,
            **self.kept_out,
        }


def _told(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


class Keeper:
    """Opens a line, runs its listener, and begins again when that ends.

    The library inside an adapter does its own reconnecting; this only starts
    it again when it has given up, at a growing pace.
    """

    def __init__(
        self,
        webhook_url: Callable[[str], str | None],
        on_up: Callable[[Line], None],
        on_down: Callable[[Line], None],
        listen: Callable[[Line, Listener], Awaitable[None]],
        commands: Mapping[str, str] | None = None,
    ) -> None:
        """`commands`: what people are shown that they may write, where a platform can."""
        self._commands = commands or {}
        self._webhook_url, self._listen = webhook_url, listen
        self._on_up, self._on_down = on_up, on_down

    async def keep(self, line: Line) -> None:
        """Runs until cancelled."""
        pause = 1.0
        while True:
            started, closed = clock.now(), False
            try:
                await self._serve(line)
            except ChannelDown as error:
                self.down(line, error.detail)
                closed = True
            except (SendError, Unavailable) as error:
                line.fail(str(error))
            except Exception as error:  # worker edge: one channel's fault leaves the others alone
                logger.exception("channel %s failed on our side", line.name)
                line.fail(type(error).__name__)
            if (clock.now() - started).total_seconds() > MAX_PAUSE_SECONDS:
                pause = 1.0
            await asyncio.sleep(DOWN_SECONDS if closed else pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def down(self, line: Line, detail: str) -> None:
        """The platform closed this channel: it stops and says so, the rest goes on."""
        logger.error("channel %s is down: %s", line.name, detail)
        line.state, line.detail = "down", detail
        line.erred(detail)
        line.closed.set()
        self._on_down(line)

    async def _serve(self, line: Line) -> None:
        line.closed.clear()
        await line.adapter.open(self._webhook_url(line.name))
        line.state, line.detail, line.alive_at = "up", "", clock.now()
        line.opened = True
        self._on_up(line)
        logger.info("channel %s is up", line.name)
        adapter = line.adapter
        closing = asyncio.create_task(line.closed.wait(), name=f"{line.name} closing")
        tasks = {closing}
        if isinstance(adapter, Listener) and adapter.listens:
            listening = asyncio.ensure_future(self._listen(line, adapter))
            tasks.add(listening)  # type: ignore[arg-type]  # a future of None beside one of bool
        elif isinstance(adapter, Watched):
            watching = asyncio.create_task(_watch(line, adapter), name=f"{line.name} watching")
            tasks.add(watching)  # type: ignore[arg-type]  # the same
        beside = asyncio.create_task(_prompt(line, self._commands), name=f"{line.name} prompting")
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, beside):
                task.cancel()
            await asyncio.gather(*tasks, beside, return_exceptions=True)
        for task in done - {closing}:
            task.result()
            raise ListenerEnded(f"the listener of {line.name} ended")
        raise ChannelDown(line.detail)


async def _prompt(line: Line, commands: Mapping[str, str]) -> None:
    """Where it fails people only have to know the commands themselves."""
    adapter: object = line.adapter
    if not isinstance(adapter, Prompter) or not commands:
        return
    try:
        await adapter.prompt(commands)
    except SendError as error:
        logger.info("channel %s: the commands are not shown: %s", line.name, error.detail)


async def _watch(line: Line, adapter: Watched) -> None:
    """A webhook that nobody calls looks like one that nobody can reach: ask. Until cancelled."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            trouble = await adapter.inbound_trouble()
        except ChannelDown:
            raise
        except SendError as error:
            trouble = f"the platform cannot be asked whether it reaches us: {error.detail}"
        if trouble:
            line.fail(trouble)
        else:
            line.alive()


class ListenerEnded(SendError):
    """A listener returned, which it should not."""
