"""/webhooks/<channel>: size, then secret, then content, then the commit, then the answer.

A bare ASGI application: channels' HTTP consumer hops to a thread for every
event, which a webhook does not need.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings

from adapters.base import (
    Arriving,
    Forbidden,
    Malformed,
    Rejected,
    Reply,
    Request,
    Unreadable,
    Unsupported,
    WebhookReceiver,
)
from gateway.ledger import Unavailable
from gateway.lines import Line
from gateway.points import reached
from gateway.runtime import current

logger = logging.getLogger(__name__)

PREFIX = "/webhooks/"
MAX_KEPT = 64 * 1024
"""Characters kept of a payload that is set aside."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def webhook(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    await answer(send, await _handle(scope, receive))


async def answer(send: Send, reply: Reply, *headers: tuple[bytes, bytes]) -> None:
    """One whole HTTP response."""
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [
                (b"content-type", reply.content_type.encode()),
                (b"content-length", str(len(reply.body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": reply.body})


async def _handle(scope: Scope, receive: Receive) -> Reply:
    if scope["method"] not in ("GET", "POST"):
        return Reply(405)
    line = current().lines.get(scope["path"].removeprefix(PREFIX))
    if line is None or not isinstance(line.adapter, WebhookReceiver):
        return Reply(404)
    body = await read_body(scope, receive)
    if body is None:
        logger.warning("channel %s: webhook body larger than the limit", line.name)
        return Reply(413)
    request = Request(
        method=scope["method"],
        headers={key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]},
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        body=body,
    )
    return await _take(line, line.adapter, request)


async def _take(line: Line, adapter: WebhookReceiver, request: Request) -> Reply:
    try:
        if (reply := adapter.handshake(request)) is not None:
            return reply
        adapter.verify(request)
        if not line.opened:  # who we are is not known yet: a mention could not be told
            return Reply(503, b"not ready yet; please try again")
        arrivals = _parse(line, adapter, request)
        await current().accept(line.name, arrivals)
    except Forbidden as error:
        logger.warning("channel %s: webhook refused: %s", line.name, error)
        return Reply(403)
    except Malformed as error:
        logger.warning("channel %s: malformed webhook: %s", line.name, error)
        return Reply(400)
    except Unsupported as error:
        logger.debug("channel %s: ignored: %s", line.name, error)
        line.heard(0)
        return Reply(200)
    except Unavailable:
        return Reply(503, b"the database cannot take it now; please try again")
    reached("webhook:before_answer")
    return Reply(200)


def _parse(line: Line, adapter: WebhookReceiver, request: Request) -> Sequence[Arriving]:
    try:
        return adapter.parse(request)
    except (Malformed, Unsupported):
        raise
    except Unreadable as error:
        return [_rejected(request, error.reason, error.external_id)]
    except (
        Exception
    ) as error:  # worker edge: what we cannot read must not block the platform's queue
        logger.exception("channel %s: a payload could not be read", line.name)
        return [_rejected(request, type(error).__name__, "")]


def _rejected(request: Request, reason: str, external_id: str) -> Rejected:
    return Rejected(external_id, reason, request.body.decode("utf-8", "replace")[:MAX_KEPT])


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body, or None above the limit. The server refuses it before, where it can."""
    limit = settings.OPENCLAW_MAX_BODY_BYTES
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return b""
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not event.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
