"""Small makers and readers for the tests of the core: arrivals, verbs, rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import connection, connections

from adapters.base import Adapter, Capabilities, Inbound, Outbound, Problem, Receipt
from gateway.channels import Rules
from gateway.ledger.claims import StartTurns
from gateway.ledger.deliveries import FinishDeliveries, StartDeliveries
from gateway.ledger.ingest import Ingest
from gateway.ledger.records import (
    Arrival,
    ClaimedDelivery,
    ClaimedTurn,
    FinishedDelivery,
    FinishedTurn,
    Ingested,
    Part,
)
from gateway.ledger.turns import FinishTurns
from gateway.models import Delivery, Turn
from sessions_app.history import History
from sessions_app.manager import SessionManager
from sessions_app.models import Message, Session

CHANNEL = "testchat"
OWNER = "main/1-abc"
IDLE = 900.0


def inbound(external_id: str, text: str = "hello", user: str = "u1", **changes: Any) -> Inbound:
    """A direct message of `user`, whose chat is named after them."""
    fields: dict[str, Any] = {"chat_id": f"chat-{user}", "sender_name": ""}
    return Inbound(external_id=external_id, user_id=user, text=text, **(fields | changes))


def in_group(external_id: str, text: str = "hello", user: str = "u1", **changes: Any) -> Inbound:
    """A message in the group g1."""
    return inbound(external_id, text, user, **({"chat_id": "g1", "is_group": True} | changes))


def arrival(*inbounds: Inbound, **changes: Any) -> Arrival:
    """One webhook call or poll."""
    return Arrival(**({"channel": CHANNEL, "inbounds": inbounds} | changes))


@dataclass
class OpenGate:
    """A gate that lets everything through, except what a test holds back."""

    channels: list[str] = field(default_factory=lambda: [CHANNEL])
    held: list[tuple[str, str]] = field(default_factory=list)
    permits: dict[str, int] = field(default_factory=dict)

    def open_channels(self) -> list[str]:
        return self.channels

    def held_lanes(self) -> list[tuple[str, str]]:
        return self.held

    def admit(self, channel: str, chat_id: str, is_group: bool) -> bool:
        left = self.permits.get(channel, 1_000_000)
        self.permits[channel] = left - 1
        return left > 0


class Verbs:
    """The five verbs of one process, on the test's own connection."""

    def __init__(self, owner: str = OWNER, *, restore: bool = False) -> None:
        self.owner = owner
        self.rules = Rules(access="open")
        self.gate = OpenGate()
        self.agent: int | None = 1
        self.history = History(2000)
        self.sessions = SessionManager({"": IDLE, "slowchat": 3600.0}, restore_returning=restore)
        self.ingest = Ingest(self.sessions, lambda channel: self.rules)
        self.start_turns = StartTurns(owner, self.route, self.history)
        self.finish_turns = FinishTurns(owner, self.sessions, freed=self.start_turns.freed)
        self.start_deliveries = StartDeliveries(owner, self.gate, 3600)
        self.finish_deliveries = FinishDeliveries(owner)

    def route(self, channel: str, user: str, chat: str) -> int | None:
        """Every conversation goes to the one agent."""
        return self.agent

    def take_in(self, *inbounds: Inbound, **changes: Any) -> Ingested:
        """One arrival through `ingest`."""
        return self.ingest([arrival(*inbounds, **changes)])[0]

    def claim(self, limit: int = 100) -> list[ClaimedTurn]:
        """`start_turns`, oldest first."""
        return sorted(self.start_turns(limit), key=lambda turn: (turn.session, turn.upto_seq))

    def claim_one(self) -> ClaimedTurn:
        """The one turn that can be claimed now."""
        (turn,) = self.start_turns(100)
        return turn

    def answer(self, turn: ClaimedTurn, text: str = "fine", **changes: Any) -> Any:
        """End a turn, answered with one part unless `changes` say otherwise."""
        fields: dict[str, Any] = {"text": text, "parts": [Part(text)] if text else []}
        return self.finish_turns([FinishedTurn(turn, "done", **(fields | changes))])[0]

    def converse(self, external_id: str, text: str = "hello", user: str = "u1") -> None:
        """One question and its answer."""
        self.take_in(inbound(external_id, text, user))
        self.answer(self.claim_one(), f"re {text}")

    def send(self, limit: int = 100) -> list[ClaimedDelivery]:
        """`start_deliveries`."""
        return self.start_deliveries(limit)


def history_of(turn: ClaimedTurn) -> list[tuple[str, str]]:
    """What an agent is shown, as (role, content)."""
    return [(entry["role"], entry["content"]) for entry in map(orjson.loads, turn.history)]


def texts(session: str | None = None) -> list[str]:
    """The texts of a session (of all), in the order of the conversation."""
    rows = Message.objects.filter(session=session) if session else Message.objects.all()
    return list(rows.order_by("session_id", "seq").values_list("text", flat=True))


def dispositions() -> dict[str, str]:
    """text -> what became of it, of every message a person wrote."""
    return dict(Message.objects.filter(role="user").values_list("text", "disposition"))


def open_sessions() -> list[Session]:
    """Every session that is not terminated."""
    return list(Session.objects.exclude(state="terminated").order_by("created_at", "id"))


def turns(**conditions: Any) -> list[Turn]:
    """Turns, by the place they reach up to."""
    return list(Turn.objects.filter(**conditions).order_by("session_id", "upto_seq"))


def sent(delivery: ClaimedDelivery, receipt: str = "r1", **changes: Any) -> FinishedDelivery:
    """The end of a delivery that arrived."""
    return FinishedDelivery(delivery, "sent", receipt=receipt, **changes)


def queue(text: str, chat: str = "chat-u1", **changes: Any) -> Delivery:
    """A part that waits to be sent."""
    fields: dict[str, Any] = {"channel": CHANNEL, "chat_id": chat, "text": text}
    return Delivery.objects.create(**(fields | changes))


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that runs inside, as it runs."""
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


Behaviour = Callable[[Outbound], Awaitable[Receipt] | Receipt]


class TestChat(Adapter):
    """A whole adapter whose platform is a function of the test."""

    __test__ = False
    name = CHANNEL
    capabilities = Capabilities(text_limit=200)

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.sent: list[Outbound] = []
        self.behaviour = behaviour
        self.opened: list[str | None] = []
        self.open_errors: list[Exception] = []

    async def send(self, outbound: Outbound) -> Receipt:
        self.sent.append(outbound)
        answer = self.behaviour(outbound) if self.behaviour else None
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer or Receipt(f"m{len(self.sent)}")

    async def open(self, webhook_url: str | None) -> None:
        self.opened.append(webhook_url)
        if self.open_errors:
            raise self.open_errors.pop(0)

    async def probe(self) -> str:
        return "@test"

    async def close(self) -> None: ...

    @classmethod
    def problems(cls, config: Any, public_url: str) -> list[Problem]:
        return []

    @property
    def said(self) -> list[str]:
        """The texts that were handed to the platform."""
        return [outbound.text for outbound in self.sent]


async def in_thread(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What `work` returns, in a thread whose connections to the database are closed again."""

    def run() -> Any:
        try:
            return work(*arguments, **named)
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until `condition` holds; it is looked at often."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
