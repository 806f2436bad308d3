"""The runtime: everything that lives in the gateway's process, put together and taken apart."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.db import transaction

from adapters.base import Adapter, Arriving, Capabilities, Listener
from gateway import channels
from gateway.agents.client import AgentClient
from gateway.announce import Announcements
from gateway.archiving import Filing
from gateway.checkups import circuit_limits
from gateway.compose import Composer
from gateway.delivery import Sender, SenderSettings
from gateway.fleet import Fleet, program_care
from gateway.http import make_transport
from gateway.ingest import Ingress, Inlet
from gateway.lag import LoopLag
from gateway.ledger import Ledger, Unavailable, deliveries, turns
from gateway.ledger.batcher import Claimer
from gateway.ledger.circuit import Circuit
from gateway.ledger.claims import StartTurns
from gateway.ledger.commands import MENU
from gateway.ledger.deliveries import FinishDeliveries, StartDeliveries, expire_deliveries
from gateway.ledger.files import finish_fetches, release_files
from gateway.ledger.ingest import Ingest, ended_of
from gateway.ledger.patience import tell_waiting
from gateway.ledger.previews import open_previews
from gateway.ledger.records import ClaimedTurn
from gateway.ledger.recovery import (
    GATEWAY,
    beat,
    close_quarantined,
    hand_back,
    last_words,
    release_expired,
    renew_leases,
    resume_sessions,
    sync_to_disk,
    take_over,
    taken_away,
)
from gateway.ledger.turns import LEASE_SECONDS, FinishTurns
from gateway.limits import agent_limits
from gateway.lines import Keeper, Line
from gateway.loops import Loops
from gateway.media.desk import MediaDesk
from gateway.preview import Previews
from gateway.ratelimit import RateLimiter
from gateway.router import Router
from gateway.stream import Stream
from gateway.turns import RunnerSettings, TurnRunner
from gateway.typing import TypingSigns
from sessions_app import clock
from sessions_app.history import History
from sessions_app.sql import data_version, dumps

logger = logging.getLogger(__name__)

NOTICE_SECONDS = 0.25
"""How often we look whether another process has written."""

ROUND_SECONDS = 1.0
"""A round is run at least this often: retries and released work come due by themselves."""

TEND_SECONDS = 1.0
"""How often programs of agents are looked at: idle, over, too large."""

BEAT_SECONDS = 10.0
"""How often leases are renewed and signs of life written."""

LAST_SENDS_SECONDS = 2.0
"""Sends under way at the end get at least this long."""


class AlreadyRunning(Exception):
    """Another gateway works on this data folder."""


_current: Runtime | None = None


def current() -> Runtime:
    """The runtime of this process. Raises `RuntimeError` where none runs."""
    if _current is None:
        raise RuntimeError("the gateway does not run in this process")
    return _current


def lock(data_dir: Path) -> TextIO:
    """Make sure that no other gateway works on this folder, for as long as the file is open."""
    file = (data_dir / "gateway.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunning(f"another gateway is running on {data_dir}") from None
    return file


class Runtime:
    """One gateway process: `recover`, then `start`, at the end `stop`; each once."""

    def __init__(self) -> None:
        self.owner = f"{settings.OPENCLAW_INSTANCE}/{os.getpid()}-{secrets.token_hex(4)}"
        self.stream = Stream()
        self.router = Router()
        self.lines: dict[str, Line] = {}
        self.transport = make_transport()
        self.agents = AgentClient(self.transport, agent_limits())
        self.fleet = Fleet(self.agents.probe, program_care())
        self.media = MediaDesk()
        self._history = History(settings.OPENCLAW_HISTORY_MESSAGES, self.media.for_agents.to)
        self._limiter = RateLimiter()
        self.circuit = Circuit(circuit_limits(), self.router.is_per_session)
        self._claims = StartTurns(self.owner, self.router.route, self._history, self.circuit)
        self.lag = LoopLag()
        self.left_out = channels.left_out()
        sessions = channels.session_manager()
        self.ledger = Ledger(
            {
                "finish_deliveries": FinishDeliveries(self.owner),
                "finish_turns": FinishTurns(self.owner, sessions, self.circuit, self._claims.freed),
                "open_previews": open_previews,
                "finish_fetches": lambda ended: finish_fetches(ended, self._claims.freed),
                "ingest": Ingest(
                    sessions,
                    lambda channel: self.lines[channel].rules,
                    lambda channel, inbound: self.lines[channel].guard.judge(inbound),
                    self.router.manners,
                    commands=settings.OPENCLAW_COMMANDS,
                ),
            },
            on_rollback=self._forget_read,
        )
        composer = Composer(self._facts, settings.OPENCLAW_REPEAT_MARK, self.media.link)
        previews = Previews(self.ledger, self._limiter, self._adapter_if_shown, composer.text)
        self.runner = TurnRunner(
            self.ledger,
            self.agents,
            self.router,
            self.stream,
            composer,
            self.media.bring_in,
            TypingSigns(self._adapter_if_up),
            previews,
            RunnerSettings(
                max_turns=settings.OPENCLAW_AGENT_MAX_TURNS,
                attempts=settings.OPENCLAW_AGENT_ATTEMPTS,
                retry_seconds=settings.OPENCLAW_AGENT_RETRY_SECONDS,
                failure_notice=settings.OPENCLAW_FAILURE_NOTICE,
            ),
            on_answered=self._answered,
            place=self.fleet.place,
        )
        self.sender = Sender(
            self.ledger,
            self._limiter,
            lambda name: self.lines[name].adapter,
            self._on_channel_down,
            previews.sent,
            self.media.file,
            SenderSettings(settings.OPENCLAW_UNSURE, settings.OPENCLAW_REPEAT_MARK),
        )
        self.ingress = Ingress(
            self.ledger,
            self.stream,
            answer_first=settings.OPENCLAW_DURABILITY == "batched",
            on_cancelled=self.runner.cancel,
        )
        self._announced = Announcements()
        self._filing = Filing(settings.OPENCLAW_JSON, settings.OPENCLAW_DATA_DIR)
        self._sessions = sessions
        self._keeper = Keeper(
            self._webhook_url,
            self._on_up,
            self._on_line_down,
            self._listen,
            MENU if settings.OPENCLAW_COMMANDS else None,
        )
        self._loops = Loops()
        self._data_version: int | None = None
        self._next_round = 0.0

    def recover(self) -> None:
        """Put right what a crash left behind. Before `start`, and before anyone listens.

        Raises `django.db.Error` where the database cannot be written.
        """
        with transaction.atomic():
            take_over(self.owner)
            release_expired()
            release_files()
            close_quarantined(self._sessions, settings.OPENCLAW_FAILURE_NOTICE)
            resume_sessions(self._sessions, settings.OPENCLAW_RESTORE)
            beat(GATEWAY)
        self.router.load()

    async def start(self) -> None:
        """Open everything: the ledger, the claims, then the channels."""
        global _current
        self.ledger.start()
        for name in settings.OPENCLAW_CHANNELS:
            if name not in self.left_out:
                adapter = channels.build(name, self.transport)
                self.lines[name] = Line(name, adapter, channels.rules(name))
        _current = self
        self.fleet.follow(self.router.plans)
        self.ledger.claim_for(
            Claimer(
                "start_turns",
                self._claims,
                self.runner.wanted,
                self.runner.take,
                after=turns.MADE_BY,
            ),
            Claimer(
                "start_deliveries",
                StartDeliveries(
                    self.owner,
                    self._limiter,
                    settings.OPENCLAW_DELIVERY_MAX_AGE,
                    self.sender.room,
                ),
                self.sender.wanted,
                self.sender.take,
                after=deliveries.MADE_BY,
            ),
        )
        self._fetching = self.media.fetching(self.ledger, self._adapter_if_open)
        for line in self.lines.values():
            self._loops.spawn(self._keeper.keep(line), f"channel {line.name}")
        self._loops.every(NOTICE_SECONDS, self._notice, "notice")
        self._loops.spawn(self.lag.run(), "lag")
        self._loops.every(BEAT_SECONDS, self._beat, "beat")
        self._loops.every(TEND_SECONDS, self._tend, "programs")
        self._loops.spawn(self._filing.run(), "files")
        if settings.OPENCLAW_DURABILITY == "batched":
            self._loops.every(settings.OPENCLAW_FLUSH_SECONDS, self._flush, "flush")

    async def stop(self) -> None:
        """Stop listening, let running turns end for a while, leave the rest for recovery."""
        global _current
        until = time.monotonic() + settings.OPENCLAW_DRAIN_SECONDS
        await self._loops.stop()
        await self.ingress.flush()
        self.ledger.stop_claiming("start_turns")
        await self.ledger.settled()  # what was claimed last runs by now, and is waited for
        await self.runner.drain(max(0.0, until - time.monotonic()))
        self.ledger.stop_claiming()
        await self.ledger.settled()
        with contextlib.suppress(Unavailable):  # at once: what is killed from here on is no crash
            await self.ledger.call(lambda: hand_back(self.owner))
        sending = max(LAST_SENDS_SECONDS, until - time.monotonic())
        await asyncio.gather(self.sender.drain(sending), self.fleet.stop())
        await self._fetching.stop()
        with contextlib.suppress(Unavailable):
            await self.ledger.call(self._say_goodbye)
        await self._filing.stop()
        await self.ledger.stop()
        for line in self.lines.values():
            await line.adapter.close()
        await self.agents.aclose()
        await self.transport.aclose()
        _current = None

    async def accept(self, channel: str, arrivals: Sequence[Arriving]) -> frozenset[str]:
        """Keep what was pushed to us, by a webhook or a page. Returns after the commit (with
        durability `batched`, before it) what was not taken; raises `Unavailable`."""
        return await self.ingress.take(self.lines[channel], arrivals)

    async def cancel_turn(self, turn_id: str) -> bool:
        """End a running turn. False where it does not run here."""
        return self.runner.cancel(turn_id)

    def _answered(self, turn: ClaimedTurn) -> None:
        if line := self.lines.get(turn.channel):
            line.guard.replied(turn.user_id)

    def _adapter_if_up(self, channel: str) -> Adapter | None:
        line = self.lines.get(channel)
        return line.adapter if line and line.state != "down" else None

    def _adapter_if_open(self, channel: str) -> Adapter | None:
        line = self.lines.get(channel)
        return line.adapter if line and line.opened else None

    def _adapter_if_shown(self, channel: str) -> Adapter | None:
        """The adapter, where answers may be shown while they are written."""
        line = self.lines.get(channel)
        shown = line and line.state != "down" and line.rules.preview == "on"
        return line.adapter if line and shown else None

    def _facts(self, channel: str) -> Capabilities | None:
        line = self.lines.get(channel)
        return line.adapter.capabilities if line else None

    def _webhook_url(self, channel: str) -> str | None:
        base = settings.OPENCLAW_PUBLIC_URL
        return f"{base}/webhooks/{channel}" if base else None

    def _on_up(self, line: Line) -> None:
        unlimited = line.rules.rate == "unlimited"
        self._limiter.add_channel(line.name, line.adapter.capabilities, unlimited)
        self.ledger.poke()

    def _on_line_down(self, line: Line) -> None:
        self._limiter.remove_channel(line.name)

    def _on_channel_down(self, channel: str, detail: str) -> None:
        self._keeper.down(self.lines[channel], detail)

    async def _listen(self, line: Line, listener: Listener) -> None:
        await listener.listen(Inlet(line, self.ingress, self.ledger))

    async def _notice(self) -> None:
        """Other processes write rows; here we see that they did, and look."""
        version = await self.ledger.call(data_version, atomic=False)
        changed = version is None or version != self._data_version
        try:
            if changed:
                await self._look()
                self._data_version = version  # last: after a failed look, the next makes up for it
        finally:  # a look that fails each time holds up no answer
            now = time.monotonic()
            if changed or now >= self._next_round:
                self._next_round = now + ROUND_SECONDS
                self.ledger.poke()
                self.sender.schedule()

    async def _look(self) -> None:
        """Rules that changed hold from here on; turns that were taken away end."""
        await self.ledger.call(self._read_rules, atomic=False)
        self.fleet.follow(self.router.plans)
        if running := self.runner.running():
            for turn_id in await self.ledger.call(lambda: taken_away(running), atomic=False):
                self.runner.cancel(turn_id)
        for session, message in await self.ledger.call(self._announced.fresh, atomic=False):
            self.stream.grew(session, message)

    def _read_rules(self) -> None:
        self.router.load()
        self.circuit.clear()
        self._claims.look_again()

    async def _tend(self) -> None:
        """Programs whose sessions ended end too; people hear that they have to wait."""
        mine = self.fleet.sessions()
        over = await self.ledger.call(lambda: ended_of(mine), atomic=False) if mine else ()
        await self.fleet.tend(over)
        told = [] if self.circuit.quiet else await self.ledger.call(self._tell_waiting)
        for session, message in told:
            self.stream.grew(session, message)
        if told:
            self.ledger.poke()

    def _forget_read(self) -> None:
        self._history.clear()
        self.circuit.clear()

    def _tell_waiting(self) -> list[tuple[str, int]]:
        notice = settings.OPENCLAW_WAITING_NOTICE
        return tell_waiting(self.circuit, self.router.route, self._sessions, notice, clock.now())

    async def _beat(self) -> None:
        await self.ledger.call(self._write_beat)

    def _say_goodbye(self) -> None:
        hand_back(self.owner)
        beat(GATEWAY)

    def _write_beat(self) -> None:
        until = clock.now() + timedelta(seconds=LEASE_SECONDS)
        renew_leases(self.owner, until, self.runner.running(), self.sender.sending())
        release_expired()
        expire_deliveries(clock.now() - timedelta(seconds=settings.OPENCLAW_DELIVERY_MAX_AGE))
        close_quarantined(self._sessions, settings.OPENCLAW_FAILURE_NOTICE)
        beat(GATEWAY)
        for line in self.lines.values():
            name = f"channel:{line.name}"
            if line.before is None:
                line.before = last_words(name)
            beat(name, dumps(line.report()))

    async def _flush(self) -> None:
        """With durability `batched`: everything is on the disk this often."""
        await self.ledger.call(sync_to_disk, atomic=False)
