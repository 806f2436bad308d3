"""Checks of how it takes what networks do: a closed connection, a slow one, a call twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx

from gateway.agents.http import FOREIGN
from gateway.conformance.base import Check, Failed
from gateway.conformance.subject import Subject, mark, question

LONG = "Please tell me a long story, in many words."
CANCELS = 5
TRICKLE_PIECES = 12
TRICKLE_SECONDS = 0.03
PAUSE_SECONDS = 0.5
"""What a slow network is silent for in mid-question, and how soon a closed one is noticed."""


async def check_health(subject: Subject) -> str:
    """GET /health says that it is up."""
    if problem := await subject.probe():
        raise Failed(problem, "Answer GET /health, beside /rpc/message, with 200.")
    return "up"


async def check_cancel(subject: Subject) -> str:
    """A closed connection ends that call alone; the next one is answered at once."""
    for number in range(CANCELS):
        await _leave(subject, after_first_piece=number % 2 == 0)
    await asyncio.sleep(PAUSE_SECONDS)
    started = time.monotonic()
    if problem := await subject.probe():
        raise Failed(f"then unhealthy: {problem}", "Only the cancelled call may end.")
    try:
        await subject.ask(question("Are you still there?"))
    except Failed as error:
        raise Failed(
            f"the next call: {error.seen}", "When writing fails, stop that call and nothing else."
        ) from None
    return f"left {CANCELS} times; the next answer took {time.monotonic() - started:.1f} s"


async def check_slow(subject: Subject) -> str:
    """A question that trickles in is answered, and holds up nobody."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    slow = _trickled(subject, begun, go_on)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_caught(subject, slow, begun))
        await begun.wait()
        meanwhile = group.create_task(_others(subject, go_on))
    if error := meanwhile.result():
        raise Failed(
            f"another call meanwhile: {error.seen}",
            "Serve each connection by itself: one slow client must not hold up the rest.",
        )
    if error := task.result():
        raise error
    return "answered, and others meanwhile"


async def check_duplicate(subject: Subject) -> str:
    """The same turn, asked again, is answered again: also while the first call runs."""
    asked = question("Hello! Please answer in one short sentence.", turn=f"turn_{mark()}")
    hint = "A repeat carries the same Idempotency-Key: answer it as before, or anew."
    try:
        first = await subject.ask(asked)
        again = await subject.ask(asked)
        await asyncio.gather(subject.ask(asked), subject.ask(asked))
    except Failed as error:
        raise Failed(f"the repeat: {error.seen}", hint) from None
    if first.final.content == again.final.content:
        return "answered each time, with the same words"
    return "answered each time, in other words"


def _trickled(subject: Subject, begun: asyncio.Event, go_on: asyncio.Event) -> httpx.Request:
    whole = subject.request(question("Hello, slowly!"), stream=False)
    body = _Trickle(whole.content, begun, go_on)
    headers = {**whole.headers, "content-length": str(len(whole.content))}
    return httpx.Request(
        "POST", whole.url, headers=headers, content=body, extensions=whole.extensions
    )


class _Trickle(httpx.AsyncByteStream):
    """A body in small pieces. Its second half waits until others were answered."""

    def __init__(self, body: bytes, begun: asyncio.Event, go_on: asyncio.Event) -> None:
        size = max(1, -(-len(body) // TRICKLE_PIECES))
        self._pieces = [body[start : start + size] for start in range(0, len(body), size)]
        self._begun = begun
        self._go_on = go_on

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, piece in enumerate(self._pieces):
            if number == len(self._pieces) // 2:
                self._begun.set()
                await self._go_on.wait()
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(TRICKLE_SECONDS)
            yield piece


async def _caught(subject: Subject, request: httpx.Request, begun: asyncio.Event) -> Failed | None:
    """Why a trickled request was not answered, or None."""
    hint = "Read a body until its end, however slowly."
    try:
        got = await subject.exchange(request, patience=subject.patience * 3)
    except Failed as error:
        return Failed(f"the slow one: {error.seen}", hint)
    finally:
        begun.set()  # also where it was cut off before its half
    if not 200 <= got.status < 300:
        return Failed(f"the slow one: HTTP {got.status}", hint)
    return None


async def _others(subject: Subject, go_on: asyncio.Event) -> Failed | None:
    """What became of a usual call while the slow one is half there."""
    try:
        await subject.ask(question("Hello, quickly!"))
    except Failed as error:
        return error
    finally:
        go_on.set()
    return None


async def _leave(subject: Subject, *, after_first_piece: bool) -> None:
    """Begin a call and close its connection, before or after the first piece of its answer."""
    request = subject.request(question(LONG), stream=True)
    if after_first_piece:
        async with subject.opened(request) as (_, chunks):
            with suppress(StopAsyncIteration, TimeoutError, *FOREIGN):
                async with asyncio.timeout(subject.patience):
                    await anext(chunks)
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1), subject.opened(request):
            pass


CHECKS = (
    Check("health", check_health),
    Check("cancel", check_cancel),
    Check("slow", check_slow),
    Check("duplicate", check_duplicate),
)
