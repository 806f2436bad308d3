"""The turn runner: asks agents, shows their words as they come, and hands the end to the ledger."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from gateway.agents.base import AgentError, Agents, Final, Question, Target, Token, Trace
from gateway.api.grants import access
from gateway.compose import Composer
from gateway.fleet import direct
from gateway.ledger import Ledger, Unavailable
from gateway.ledger.records import ClaimedTurn, FinishedTurn, Part
from gateway.points import reached
from gateway.preview import Previews
from gateway.router import Router
from gateway.stream import LiveTurn, Stream
from sessions_app import clock

logger = logging.getLogger(__name__)

MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 3600.0
LONG_TEXT = 20_000
"""Characters from which on an answer is cut into parts in a thread: it takes a while."""
SILENCE_SECONDS = 15.0
"""How long a turn waits for the end of one that was taken away for it."""

MAX_DETAIL = 500
"""Characters of an error kept on a row."""

Attachments = Sequence[Mapping[str, Any]]
Place = Callable[[int, Target, str], AbstractAsyncContextManager[Target]]
"""(agent, its row's target, session) -> where it is while it is asked."""

BringIn = Callable[[Attachments, str], Awaitable[Attachments]]
"""An agent's attachments and its URL -> the same, with what was stored here."""


class Typing(Protocol):
    """Shows a person that an answer is under way, until `stop`."""

    def start(self, turn: ClaimedTurn) -> Callable[[], None]:
        """Begin; the result ends it."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """Limits and texts of the runner."""

    max_turns: int = 500
    attempts: int = 6
    retry_seconds: float = 1.0
    failure_notice: str = ""


@dataclass(slots=True)
class _Heard:
    """What an agent has said so far."""

    final: Final | None = None
    anything: bool = False


class TurnRunner:
    """Runs claimed turns, one task each. Sessions do not wait for each other."""

    def __init__(
        self,
        ledger: Ledger,
        agents: Agents,
        router: Router,
        stream: Stream,
        composer: Composer,
        bring_in: BringIn,
        typing: Typing,
        previews: Previews,
        settings: RunnerSettings,
        on_answered: Callable[[ClaimedTurn], object] = lambda turn: None,
        place: Place = direct,
    ) -> None:
        """`on_answered` hears of each turn whose end was written; `place`: see `gateway.fleet`."""
        self._ledger, self._agents, self._router = ledger, agents, router
        self._stream, self._composer, self._bring_in = stream, composer, bring_in
        self._typing, self._previews = typing, previews
        self._on_answered, self._place = on_answered, place
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._latest: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def wanted(self) -> int:
        """How many more turns may run now."""
        return 0 if self._stopping else self._settings.max_turns - len(self._tasks)

    def take(self, claimed: list[ClaimedTurn]) -> None:
        """Run these."""
        for turn in claimed:
            before = self._latest.get(turn.session)
            task = asyncio.create_task(self._run(turn, before), name=turn.id)
            self._tasks[turn.id] = self._latest[turn.session] = task
            task.add_done_callback(partial(self._forget, turn))

    def running(self) -> list[str]:
        """Ids of the turns running now."""
        return list(self._tasks)

    def cancel(self, turn_id: str) -> bool:
        """End a running turn; its messages stay unanswered on purpose.

        False where it does not run here, or has ended and is being written down.
        """
        task = self._tasks.get(turn_id)
        return task is not None and task not in self._ending and task.cancel()

    async def drain(self, seconds: float) -> None:
        """Claim nothing more; let running turns end, then leave the rest for recovery."""
        self._stopping = True
        if tasks := list(self._tasks.values()):
            await asyncio.wait(tasks, timeout=seconds)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _forget(self, turn: ClaimedTurn, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if self._tasks.get(turn.id) is task:  # its next attempt may run already
            del self._tasks[turn.id]
        if self._latest.get(turn.session) is task:
            del self._latest[turn.session]
        if self.wanted() == 1:  # there was no room: others may wait for this place
            self._ledger.poke()

    async def _run(self, turn: ClaimedTurn, before: asyncio.Task[None] | None) -> None:
        live = self._stream.open(
            turn.id,
            turn.attempt,
            turn.session,
            turn.channel,
            self._name(turn.agent),
            user=turn.user_id,
            name=turn.name,
            chat=turn.chat_id,
        )
        stop_typing = self._typing.start(turn)
        growing = self._previews.start(turn, live)
        heard = _Heard()
        try:
            await self._silence(before)
            finished = await self._ask(turn, live, heard)
        except asyncio.CancelledError:
            if self._stopping:
                live.close("queued")
                await growing.stop()
                raise
            finished = FinishedTurn(turn, "cancelled", silent=True, partial=live.text)
        except Exception as error:  # worker edge: one turn's fault must reach no other
            logger.exception("turn %s failed on our side", turn.id)
            finished = self._failed(turn, live, AgentError("internal", type(error).__name__))
        finally:
            stop_typing()
        if task := asyncio.current_task():
            self._ending.add(task)
        await growing.stop()
        finished = replace(
            finished,
            preview=growing.shown or turn.shown,
            agent=live.agent,
            events=live.traces.end(),
            first_token_at=live.first_token_at,
        )
        try:
            await self._finish(finished, live)
        except Exception as error:  # worker edge: else the session waits for this turn for ever
            logger.exception("the end of turn %s cannot be written", turn.id)
            failed = self._failed(turn, live, AgentError("internal", type(error).__name__))
            await self._finish(replace(failed, partial=""), live)

    def _name(self, agent: int) -> str:
        """What the agent is called; empty where it was removed meanwhile."""
        try:
            return self._router.target(agent).name
        except KeyError:
            return ""

    async def _silence(self, before: asyncio.Task[None] | None) -> None:
        """What ran before in this session was taken away, or is just ending: let it be over."""
        if before is not None and not before.done():
            if before not in self._ending:
                before.cancel()
            await asyncio.wait([before], timeout=SILENCE_SECONDS)

    async def _ask(self, turn: ClaimedTurn, live: LiveTurn, heard: _Heard) -> FinishedTurn:
        try:
            target = self._router.target(turn.agent)
        except KeyError:
            return self._retry(turn, AgentError("no_agent", "the agent was removed"))
        live.agent = target.name
        try:
            async with self._place(turn.agent, target, turn.session) as there:
                url = there.url
                reached("agent:asked")
                async for event in self._agents.ask(there, _question(turn)):
                    if not heard.anything:
                        heard.anything = True
                        reached("agent:heard")
                    self._hear(event, live, heard)
            if heard.final is None:
                raise AgentError("interrupted", "the answer had no end")
        except AgentError as error:
            logger.warning("turn %s attempt %d: %s", turn.id, turn.attempt, error)
            may_retry = error.retryable and not heard.anything
            if may_retry and turn.attempt < self._settings.attempts:
                return self._retry(turn, error)
            return self._failed(turn, live, error)
        reached("agent:answered")
        return await self._done(turn, live, heard.final, url)

    def _hear(self, event: Token | Trace | Final, live: LiveTurn, heard: _Heard) -> None:
        if isinstance(event, Token):
            live.append(event.text)
        elif isinstance(event, Trace):
            live.trace(event.kind, dict(event.data))
        else:
            heard.final = event

    async def _done(
        self, turn: ClaimedTurn, live: LiveTurn, final: Final, agent_url: str
    ) -> FinishedTurn:
        text = "" if final.silent else final.content
        live.replace(text)
        attachments = await self._bring_in(final.attachments, agent_url)
        usage, context = final.metadata.get("usage"), final.metadata.get("context")
        parts = [] if final.silent else await self._parts(turn, text, attachments, final)
        return FinishedTurn(
            turn,
            "done",
            text=text,
            silent=not parts,
            parts=parts,
            attachments=attachments,
            usage=usage if isinstance(usage, dict) else {},
            context=context if isinstance(context, dict) else {},
        )

    async def _parts(
        self, turn: ClaimedTurn, text: str, attachments: Attachments, final: Final
    ) -> list[Part]:
        compose = partial(self._composer.answer, turn.channel, text, attachments, final.buttons)
        return compose() if len(text) < LONG_TEXT else await asyncio.to_thread(compose)

    def _retry(self, turn: ClaimedTurn, error: AgentError) -> FinishedTurn:
        delay = backoff(turn.attempt, self._settings.retry_seconds)
        delay = max(delay, min(error.retry_after or 0.0, MAX_RETRY_AFTER_SECONDS))
        asyncio.get_running_loop().call_later(delay + 0.05, self._ledger.poke)
        return FinishedTurn(
            turn,
            "queued",
            not_before=clock.now() + timedelta(seconds=delay),
            error_code=error.code,
            error_detail=error.detail[:MAX_DETAIL],
        )

    def _failed(self, turn: ClaimedTurn, live: LiveTurn, error: AgentError) -> FinishedTurn:
        notice = self._settings.failure_notice
        return FinishedTurn(
            turn,
            "failed",
            notice=notice,
            parts=self._composer.text(turn.channel, notice),
            partial=live.text,
            error_code=error.code,
            error_detail=error.detail[:MAX_DETAIL],
        )

    async def _finish(self, finished: FinishedTurn, live: LiveTurn) -> None:
        """Commit the end, however long the database takes to come back."""
        ended = await persist(self._ledger, "finish_turns", finished)
        live.close(ended.state if ended.won else "cancelled")
        self._on_answered(finished.turn)
        if ended.message is not None:
            self._stream.grew(finished.turn.session, ended.message)


def _question(turn: ClaimedTurn) -> Question:
    return Question(
        turn=turn.id,
        session=turn.session,
        channel=turn.channel,
        user_id=turn.user_id,
        chat_id=turn.chat_id,
        history=turn.history,
        waiting=turn.waiting,
        origin=turn.origin,
        context=turn.context,
        gateway=access(turn.session),
        person=turn.person,
    )


async def persist(ledger: Ledger, verb: str, value: Any) -> Any:
    """Hand `value` to a verb until the database takes it: it exists only in memory."""
    delay = 0.1
    while True:
        try:
            return await ledger.do(verb, value)
        except Unavailable:
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)


def backoff(attempt: int, first_seconds: float) -> float:
    """Seconds to wait after the `attempt`-th try: doubling, bounded, with jitter."""
    seconds = min(first_seconds * 2.0 ** min(attempt - 1, 20), MAX_BACKOFF_SECONDS)
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311  (jitter, not a secret)
