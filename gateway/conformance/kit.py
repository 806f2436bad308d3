"""The kit: every check, one after the other, against one agent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection

import httpx

from gateway.agents.base import AgentError, Target
from gateway.conformance import answers, connections, crowds, histories
from gateway.conformance.base import FAILED, PASSED, Check, Failed, Outcome, Unfit
from gateway.conformance.subject import Subject, failure, question

HEALTH, *CONNECTIONS = connections.CHECKS
CHECKS: tuple[Check, ...] = (
    HEALTH,
    *answers.CHECKS,
    *histories.CHECKS,
    *CONNECTIONS,
    *crowds.CHECKS,
)
NAMES = tuple(check.name for check in CHECKS)


class Unreachable(Exception):
    """Nobody listens at this address; the text says what was tried."""


async def examine(
    target: Target,
    transport: httpx.AsyncBaseTransport,
    patience: float,
    only: Collection[str] = (),
) -> AsyncIterator[Outcome]:
    """How each check ended, as they end. Raises `Unreachable` before the first."""
    subject = Subject(target, transport, patience)
    try:
        await _require_listener(subject)
        for check in CHECKS:
            if not only or check.name in only:
                yield await _run(check, subject)
    finally:
        await subject.aclose()


async def _run(check: Check, subject: Subject) -> Outcome:
    started = time.monotonic()
    try:
        seen, state, hint = await check.run(subject), PASSED, ""
    except Unfit as error:
        seen, state, hint = error.seen, error.state, error.hint
    except AgentError as error:  # raised where a check reads an answer by itself
        known = failure(error)
        seen, state, hint = known.seen, FAILED, known.hint
    return Outcome(check.name, state, seen, hint, round(time.monotonic() - started, 2))


async def _require_listener(subject: Subject) -> None:
    """That somebody is there at all. Whatever else is wrong is for the checks to find."""
    try:
        await subject.ask(question("Hello!"), stream=False)
    except Failed as error:
        if error.seen.startswith("unreachable:"):
            raise Unreachable(error.seen.removeprefix("unreachable: ")) from None
