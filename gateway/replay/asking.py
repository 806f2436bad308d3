"""Beginning a replay, asking the agent, and keeping what it said.

Errors::

    NotReplayable   there is no such turn or agent
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from gateway.agents.base import AgentError, Final, Limits, Question, Target, Token, Trace
from gateway.agents.client import AgentClient
from gateway.fleet import Fleet, program_care
from gateway.http import make_transport
from gateway.models import Agent, Audit, Replay, Turn
from gateway.replay.question import question_of
from gateway.router import plan_of, target_of
from gateway.traces import Traces
from sessions_app import clock

MAX_ERROR = 1000


class NotReplayable(Exception):
    """It cannot be done; the text says why, for people."""


@dataclass
class Said:
    """What an agent said, as far as it came."""

    text: str = ""
    silent: bool = False
    traces: Traces = field(default_factory=Traces)
    usage: dict[str, Any] = field(default_factory=dict)
    first_token_at: datetime | None = None
    error: AgentError | None = None


def begin_replay(actor: str, turn_id: str, agent: str) -> Replay:
    """Make the row and its line in the audit. Raises `NotReplayable`."""
    _askable(agent)
    with transaction.atomic():
        turn = Turn.objects.filter(pk=turn_id).first()
        if turn is None:
            raise NotReplayable(f"There is no turn {turn_id}.")
        replay = Replay.objects.create(turn=turn, agent=agent, actor=actor)
        Audit.objects.create(
            actor=actor, action="replay_turn", row=f"turn {turn_id}", detail={"agent": agent}
        )
    return replay


def carry_out(replay_id: int, limits: Limits) -> None:
    """Ask, and keep the answer. A replay that has ended, or is gone, is left alone."""
    replay = Replay.objects.select_related("turn__session").filter(pk=replay_id).first()
    if replay is None or replay.ended_at is not None:
        return
    try:
        agent = _askable(replay.agent)
    except NotReplayable as error:
        finish_replay(replay_id, Said(error=AgentError("unreachable", str(error))))
        return
    finish_replay(replay_id, asyncio.run(_ask(agent, question_of(replay, replay.turn), limits)))


def finish_replay(replay_id: int, said: Said) -> bool:
    """Write down what came of it. False where that had been done already."""
    error = said.error
    return bool(
        Replay.objects.filter(pk=replay_id, ended_at=None).update(
            text=said.text,
            silent=said.silent,
            events=said.traces.end(),
            usage=said.usage,
            first_token_at=said.first_token_at,
            error_code=error.code if error else "",
            error_detail=error.detail[:MAX_ERROR] if error else "",
            ended_at=clock.now(),
        )
    )


def _askable(name: str) -> Agent:
    agent = Agent.objects.filter(name=name).first()
    if agent is None:
        known = ", ".join(Agent.objects.order_by("name").values_list("name", flat=True))
        raise NotReplayable(f"There is no agent {name!r}. There are: {known or 'none yet'}.")
    return agent


async def _ask(agent: Agent, question: Question, limits: Limits) -> Said:
    """What it says. An agent that is a program gets one of its own, which ends with the answer."""
    transport = make_transport()
    client = AgentClient(transport, limits)
    fleet = Fleet(client.probe, program_care())
    if agent.command:
        fleet.follow({agent.pk: replace(plan_of(agent), per_session=True)})
    said = Said()
    try:
        async with fleet.place(agent.pk, target_of(agent), question.session) as target:
            await _hear(client, target, question, said)
    except AgentError as error:
        said.error = error
    finally:
        await fleet.stop()
        await client.aclose()
        await transport.aclose()
    return said


async def _hear(client: AgentClient, target: Target, question: Question, said: Said) -> None:
    async with aclosing(client.ask(target, question)) as events:
        async for event in events:
            _take(said, event)


def _take(said: Said, event: Token | Trace | Final) -> None:
    said.first_token_at = said.first_token_at or clock.now()
    if isinstance(event, Token):
        said.text += event.text
    elif isinstance(event, Trace):
        said.traces.add(event.kind, event.data)
    else:
        said.text, said.silent = event.content, event.silent
        usage = event.metadata.get("usage")
        said.usage = dict(usage) if isinstance(usage, dict) else {}
