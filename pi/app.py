"""Pi's HTTP side: `POST /rpc/message` and `GET /health` of agent protocol v1."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import orjson
from aiohttp import ClientConnectionResetError, web

from pi.brain import Brain
from pi.failures import Failed
from pi.protocol import Ask, BadRequest, Event, encode_event, encode_line, error, read_ask

log = logging.getLogger("pi")

FINISH_SECONDS = 10.0  # as long as the gateway drains
MAX_BODY_BYTES = 16 * 1024 * 1024
NOT_RETRYABLE_STATUS = 424  # Failed Dependency: as a 4xx it is not asked again, unlike a 5xx
BRAIN = web.AppKey("brain", Brain)
WARM_UP = web.AppKey("warm_up", asyncio.Task[object])

Encode = Callable[[Event], bytes]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(brain: Brain) -> web.Application:
    """The application; it closes `brain` when it ends."""
    app = web.Application(
        client_max_size=MAX_BODY_BYTES, middlewares=[refuse_browsers, json_errors]
    )
    app[BRAIN] = brain
    app.router.add_post("/rpc/message", message)
    app.router.add_get("/health", health)
    app.on_startup.append(_warm_up)
    app.on_cleanup.append(_close)
    return app


def make_runner(brain: Brain, finish_seconds: float = FINISH_SECONDS) -> web.AppRunner:
    """The application ready to be served; its clean-up lets running answers finish for a moment."""
    return web.AppRunner(
        make_app(brain),
        handler_cancellation=True,  # a client that leaves cancels its answer
        shutdown_timeout=finish_seconds,
        access_log=None,
    )


async def health(request: web.Request) -> web.Response:
    """Whether Pi is up, and what answers."""
    brain = request.app[BRAIN]
    return _json(200, {"status": "ok", "brain": brain.kind, "model": brain.model})


async def message(request: web.Request) -> web.StreamResponse:
    """One answer: a stream of events, or JSON where no stream is wanted."""
    try:
        ask = read_ask(await request.read())
    except BadRequest as problem:
        return _json(problem.status, {"error": problem.message})
    events = _logged(ask, _safe(ask, request.app[BRAIN].answer(ask)))
    async with aclosing(events):
        encoding = _encoding(request, ask)
        if encoding is None:
            return await _whole(events)
        return await _streamed(request, events, *encoding)


def _encoding(request: web.Request, ask: Ask) -> tuple[str, Encode] | None:
    """Content type and encoder of the stream that was asked for; None for plain JSON."""
    accept = request.headers.get("Accept", "*/*").lower()
    if not ask.stream:
        return None
    if "text/event-stream" in accept or "*/*" in accept or "text/*" in accept:
        return "text/event-stream", encode_event
    if "application/x-ndjson" in accept:
        return "application/x-ndjson", encode_line
    return None


async def _streamed(
    request: web.Request, events: AsyncIterator[Event], content_type: str, encode: Encode
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": content_type, "Cache-Control": "no-store"}
    )
    try:
        await response.prepare(request)
        async for event in events:
            await response.write(encode(event))
        await response.write_eof()
    except ClientConnectionResetError:
        log.info("client left")
    return response


async def _whole(events: AsyncIterator[Event]) -> web.Response:
    async for event in events:
        if event.name == "final":
            return _json(200, event.data)
        if event.name == "error":
            status = 503 if event.data["retryable"] else NOT_RETRYABLE_STATUS
            return _json(
                status, {"error": event.data["message"], "retryable": event.data["retryable"]}
            )
    return _json(500, {"error": "the answer had no end", "retryable": True})


async def _safe(ask: Ask, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """The same events, with every failure as an `error` event at the end."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except Failed as failure:
        log.warning("no answer turn=%s: %s", _shown(ask.turn), failure.summary)
        yield error(failure.message, retryable=failure.retryable)
    except Exception as problem:  # noqa: BLE001  # a worker's edge: one answer fails, Pi goes on
        where = "".join(traceback.format_tb(problem.__traceback__))  # its text may quote people
        log.error("no answer turn=%s: %s\n%s", _shown(ask.turn), type(problem).__name__, where)
        yield error(
            "the answer failed in a way Pi did not expect; its log says more", retryable=False
        )


async def _logged(ask: Ask, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """The same events, with one line about how the answer went."""
    started, tokens, end = time.monotonic(), 0, "cancelled"
    try:
        async with aclosing(events):
            async for event in events:
                tokens += event.name == "token"
                if event.name in ("final", "error"):
                    end = event.name
                yield event
    finally:
        milliseconds = (time.monotonic() - started) * 1000
        log.info(
            "%s turn=%s session=%s messages=%d tokens=%d ms=%.0f",
            *(end, _shown(ask.turn), _shown(ask.session), len(ask.messages), tokens, milliseconds),
        )


def _shown(name: str) -> str:
    """An id from outside, safe in one line of a log."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in name[:64])


@web.middleware
async def refuse_browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Any page in the operator's browser could post to a local port; browsers then say `Origin`."""
    if "Origin" in request.headers:
        return _json(403, {"error": "pages in a browser may not call this agent"})
    return await handler(request)


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors of the HTTP layer (404, 405, 413) as JSON."""
    try:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return _json(413, {"error": f"the body is larger than {MAX_BODY_BYTES} bytes"})
    except web.HTTPException as problem:
        return _json(problem.status, {"error": problem.reason.lower()})


def _json(status: int, data: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(data), content_type="application/json")


async def _warm_up(app: web.Application) -> None:
    app[WARM_UP] = asyncio.create_task(app[BRAIN].load(), name="pi-warm-up")
    app[WARM_UP].add_done_callback(_log_warm_up)


def _log_warm_up(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (problem := task.exception()):
        log.error("loading the brain failed", exc_info=problem)


async def _close(app: web.Application) -> None:
    app[WARM_UP].cancel()
    await asyncio.wait([app[WARM_UP]])
    await app[BRAIN].close()
