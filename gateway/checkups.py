"""Asks each agent that runs elsewhere whether it is up, once a minute, in the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from django.conf import settings
from django.db import transaction

from gateway.agents.base import Target
from gateway.agents.client import AgentClient
from gateway.http import make_transport
from gateway.ledger.circuit import CircuitLimits, health_of, note_check
from gateway.limits import agent_limits
from gateway.router import Router
from sessions_app import clock


def circuit_limits() -> CircuitLimits:
    """As the settings say."""
    return CircuitLimits(
        failures=settings.OPENCLAW_AGENT_CIRCUIT_FAILURES,
        seconds=settings.OPENCLAW_AGENT_CIRCUIT_SECONDS,
    )


def check_agents() -> dict[str, str | None]:
    """Write down who answers /health. Agent -> why it does not, None where it does."""
    router = Router()
    router.load()
    targets = {agent: target for agent, target in router.by_id().items() if target.url}
    reasons = asyncio.run(_ask(list(targets.values())))
    limits = circuit_limits()
    for agent, reason in zip(targets, reasons, strict=True):
        with transaction.atomic():
            if row := health_of(agent):
                note_check(row, reason, limits, clock.now())
    return {target.name: reason for target, reason in zip(targets.values(), reasons, strict=True)}


async def _ask(targets: Sequence[Target]) -> list[str | None]:
    transport = make_transport()
    client = AgentClient(transport, agent_limits())
    try:
        return list(await asyncio.gather(*map(client.probe, targets)))
    finally:
        await client.aclose()
        await transport.aclose()
