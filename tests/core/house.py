"""The moving parts of a gateway in this process: ledger, runner, sender, one channel.

There is no loop that looks now and then, as the runtime has: whatever has to
happen next, the parts have to make happen themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from adapters.base import Adapter, Inbound, Rejected
from gateway import points
from gateway.agents.base import Event, Final, Question, Target
from gateway.channels import Rules
from gateway.compose import Composer
from gateway.delivery import Sender, SenderSettings
from gateway.ingest import Ingress
from gateway.ledger import Ledger, deliveries, files, turns
from gateway.ledger.batcher import Claimer
from gateway.ledger.files import StartFetches, finish_fetches
from gateway.ledger.previews import open_previews
from gateway.lines import Line
from gateway.media.fetching import Fetching
from gateway.media.guard import Fetcher
from gateway.media.intake import Intake
from gateway.media.links import Links
from gateway.media.store import Store
from gateway.preview import Previews
from gateway.ratelimit import RateLimiter
from gateway.router import Router
from gateway.stream import Stream
from gateway.turns import RunnerSettings, TurnRunner
from gateway.typing import TypingSigns
from tests.core.kit import CHANNEL, TestChat, Verbs, until

Say = Callable[[Question], AsyncIterator[Event]]


@contextmanager
def at_points(hook: Callable[[str], None]) -> Iterator[None]:
    """Calls `hook` at every named point."""
    points.hook = hook
    try:
        yield
    finally:
        points.hook = None


class Script:
    """Agents that say what a test's function says."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.asked: list[Question] = []

    async def ask(self, target: Target, question: Question) -> AsyncIterator[Event]:
        self.asked.append(question)
        async for event in self.say(question):
            yield event


async def fine(question: Question) -> AsyncIterator[Event]:
    """The agent that is always well."""
    yield Final("fine")


class House:
    """An `async with` block in which a small gateway runs."""

    def __init__(
        self,
        say: Say = fine,
        chat: TestChat | None = None,
        *,
        sender: SenderSettings | None = None,
        runner: RunnerSettings | None = None,
        store: Store | None = None,
        answer_first: bool = False,
    ) -> None:
        self.store = store or Store(Path("/nonexistent"), 0)
        self.verbs = Verbs()
        self.agents = Script(say)
        self.chat = chat or TestChat()
        self.stream, self.router = Stream(), Router()
        self.now = 0.0
        self.limiter = RateLimiter(lambda: self.now)
        self.limiter.add_channel(CHANNEL, self.chat.capabilities, unlimited=False)
        self.down: list[tuple[str, str]] = []
        self.ledger = Ledger(
            {
                "finish_deliveries": self.verbs.finish_deliveries,
                "finish_turns": self.verbs.finish_turns,
                "open_previews": open_previews,
                "ingest": self.verbs.ingest,
                "finish_fetches": finish_fetches,
            },
            on_rollback=self.verbs.history.clear,
        )
        self.fetching = Fetching(self.ledger, self.store, lambda name: self.chat, 60.0)
        link = Links("https://example.com", 60).entry
        composer = Composer(lambda name: self.chat.capabilities, "", link)
        self.previews = Previews(self.ledger, self.limiter, lambda name: self.chat, composer.text)
        self.runner = TurnRunner(
            self.ledger,
            self.agents,
            self.router,
            self.stream,
            composer,
            Intake(self.store, Fetcher(), 5.0).take,
            TypingSigns(lambda name: self.chat),
            self.previews,
            runner or RunnerSettings(retry_seconds=0.001, failure_notice="oh no"),
        )
        self.sender = Sender(
            self.ledger,
            self.limiter,
            self._adapter,
            self._on_down,
            self.previews.sent,
            self.store.file,
            sender or SenderSettings(mark="(again)", retry_seconds=0.001),
        )
        self.line = Line(CHANNEL, self.chat, Rules(access="open"))
        self.ingress = Ingress(
            self.ledger, self.stream, answer_first, on_cancelled=self.runner.cancel
        )
        self.verbs.ingest._busy = self.router.manners
        self.verbs.start_turns._route = self.router.route
        self.verbs.start_deliveries._gate = self.limiter
        self.verbs.start_deliveries._room = self.sender.room

    async def __aenter__(self) -> Self:
        self.ledger.start()
        await self.ledger.call(self.router.load)
        self.ledger.claim_for(
            Claimer(
                "start_turns",
                self.verbs.start_turns,
                self.runner.wanted,
                self.runner.take,
                after=turns.MADE_BY,
            ),
            Claimer(
                "start_deliveries",
                self.verbs.start_deliveries,
                self.sender.wanted,
                self.sender.take,
                after=deliveries.MADE_BY,
            ),
            Claimer(
                "start_fetches",
                StartFetches(self.fetching.serves),
                self.fetching.wanted,
                self.fetching.take,
                after=files.MADE_BY,
            ),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.runner.drain(0)
        await self.sender.drain(0.2)
        await self.fetching.stop()
        await self.ledger.stop()

    async def write(self, *arrivals: Inbound | Rejected, cursor: str | None = None) -> None:
        """What came in on the channel."""
        await self.ingress.accept(self.line, arrivals, cursor)

    async def read(self, query: Callable[[], Any]) -> Any:
        """What a query finds, in the ledger's thread."""
        return await self.ledger.call(query)

    async def settled(self, query: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until the rows are as `query` wants them."""
        async with asyncio.timeout(seconds):
            while not await self.read(query):
                await asyncio.sleep(0.005)

    async def said(self, count: int, seconds: float = 10.0) -> list[str]:
        """What the platform was handed, once it is `count` parts and all ends are written."""
        await until(lambda: len(self.chat.sent) >= count and not self.sender.sending(), seconds)
        return self.chat.said

    def _adapter(self, name: str) -> Adapter:
        return self.chat

    def _on_down(self, channel: str, detail: str) -> None:
        self.down.append((channel, detail))
        self.limiter.remove_channel(channel)
