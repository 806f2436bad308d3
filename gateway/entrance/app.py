"""/v1/…: a bare ASGI application, so that answers pass token by token."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import orjson
from django.conf import settings

from adapters.base import Reply
from gateway.api import limits, tokens
from gateway.api.problems import Problem
from gateway.entrance import CHANNEL, asking, wire
from gateway.entrance.following import Following, Standing, reading, standing
from gateway.entrance.wire import Refusal
from gateway.ledger import Unavailable
from gateway.models import Agent, ApiToken
from gateway.runtime import Runtime, current
from gateway.webhooks import Receive, Scope, Send, answer, read_body
from sessions_app.models import Contact

PREFIX = "/v1/"
SCOPE = "chat"
OWN = "openclaw"
"""The model that is always there: whatever the rules say."""

KEEP_ALIVE_SECONDS = 10
"""Empty looks (a second each) until a stream says that it is still there."""

SPARE_SECONDS = 60.0
"""For how much longer than one turn may take an answer is waited for."""


async def entrance(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    try:
        await _serve(scope, receive, send)
    except Refusal as error:
        await answer(send, error.reply, *error.headers)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    runtime = current()
    if CHANNEL not in runtime.lines:
        raise Refusal(404, f"The channel {CHANNEL} is not enabled.", "not_found")
    token = await _admit(scope)
    path, method = scope["path"].removeprefix(PREFIX).rstrip("/"), scope["method"]
    wanted = {"chat/completions": "POST", "models": "GET"}
    if path.startswith("models/"):
        wanted[path] = "GET"
    if path not in wanted:
        raise Refusal(404, "There is nothing at this address.", "not_found")
    if method != wanted[path]:
        raise Refusal(405, f"This address takes {wanted[path]}.", "method_not_allowed")
    if method == "GET":
        await answer(send, await _models(path.partition("/")[2]))
    else:
        await _complete(runtime, token, scope, receive, send)


async def _admit(scope: Scope) -> ApiToken:
    """Whose token it is. Raises `Refusal` 401, 403 or 429."""
    kind, _, secret = _header(scope, b"authorization").partition(" ")
    found: ApiToken | None = None
    if kind.lower() == "bearer" and secret.strip():
        found = await reading(tokens.find, secret.strip())
    if found is None:
        headers = ((b"www-authenticate", b"Bearer"),)
        raise Refusal(401, "This API key does not count.", "invalid_api_key", headers=headers)
    if SCOPE not in found.scopes or (found.contact and found.contact.channel != CHANNEL):
        raise Refusal(403, f"This token may not {SCOPE} here.", "insufficient_scope")
    try:
        limits.take(f"token:{found.pk}")
    except Problem as error:
        wait = tuple((k.lower().encode(), v.encode()) for k, v in error.headers.items())
        raise Refusal(429, error.detail, "rate_limit_exceeded", headers=wait) from None
    return found


async def _models(name: str) -> Reply:
    """Every enabled agent, and the one that stands for the rules."""
    names = [OWN, *await reading(_agents)]
    if not name:
        data = {"object": "list", "data": [wire.model(one) for one in names]}
        return Reply(200, orjson.dumps(data), wire.JSON)
    if name not in names:
        raise Refusal(404, f"There is no model {name[:64]!r}.", "model_not_found", param="model")
    return Reply(200, orjson.dumps(wire.model(name)), wire.JSON)


async def _complete(
    runtime: Runtime, token: ApiToken, scope: Scope, receive: Receive, send: Send
) -> None:
    body = await read_body(scope, receive)
    if body is None:
        raise Refusal(413, "The request is too large.", "request_too_large")
    asked = asking.read(body, token, _header(scope, b"idempotency-key"))
    watcher = runtime.stream.watch(session="")  # nobody's, until we know whose
    try:
        first = await _accept(runtime, asked)
        following = Following(watcher, asked.inbound.external_id, first)
        if asked.stream:
            work = _stream(following, asked, _agent_for(runtime, asked), send)
        else:
            work = _whole(following, asked, send)
        await _while_there(work, receive)
    finally:
        watcher.close()


async def _accept(runtime: Runtime, asked: asking.Asked) -> Standing:
    """Keep the question. From here on it is answered, whoever goes away."""
    try:
        await runtime.accept(CHANNEL, [asked.inbound])
    except Unavailable:
        retry = ((b"retry-after", b"1"),)
        raise Refusal(503, "Please try again.", "unavailable", headers=retry) from None
    found: Standing | None = await reading(standing, asked.inbound.external_id)
    if found is None:
        raise await reading(_why_not, asked.inbound.user_id)
    if found.question != asked.inbound.text:
        why = "This idempotency key belongs to another question."
        final = ((b"x-should-retry", b"false"),)
        raise Refusal(409, why, "idempotency_key_in_use", headers=final)
    return found


async def _whole(following: Following, asked: asking.Asked, send: Send) -> None:
    async for _ in following.pieces(_patience()):
        pass
    end = following.end
    made = wire.completion(asked.inbound.external_id, end.agent or asked.model)
    await answer(send, made.whole(end.text, end.usage))


async def _stream(following: Following, asked: asking.Asked, agent: str, send: Send) -> None:
    name = following.end.agent or agent or asked.model
    made = wire.completion(asked.inbound.external_id, name)
    await _begin(send)
    await _say(send, made.first())
    quiet = 0
    try:
        async for piece in following.pieces(_patience()):
            quiet = 0 if piece else quiet + 1
            if piece:
                await _say(send, made.piece(piece))
            elif quiet % KEEP_ALIVE_SECONDS == 0:
                await _say(send, wire.STILL_HERE)
        await _say(send, made.last())
        if asked.with_usage:
            await _say(send, made.usage(following.end.usage))
    except Refusal as error:
        await _say(send, error.event)
    await send({"type": "http.response.body", "body": wire.DONE})


async def _begin(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _say(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _while_there(work: Any, receive: Receive) -> None:
    """Do it as long as the caller listens. The question stays, and so does its answer."""
    working, gone = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = [task for task in (working, gone) if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    if working not in left:
        working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _agent_for(runtime: Runtime, asked: asking.Asked) -> str:
    """Who is to answer, by the rules: a stream names them before they have begun."""
    agent = runtime.router.route(CHANNEL, asked.inbound.user_id, asked.inbound.chat_id)
    target = None if agent is None else runtime.router.by_id().get(agent)
    return target.name if target else ""


def _agents() -> Sequence[str]:
    return list(Agent.objects.filter(enabled=True).order_by("name").values_list("name", flat=True))


def _why_not(user_id: str) -> Refusal:
    """Why a message was not taken: its person is kept out, or writes too much."""
    with contextlib.suppress(Contact.DoesNotExist):
        contact = Contact.objects.get(channel=CHANNEL, user_id=user_id)
        if contact.access == Contact.Access.BLOCKED:
            return Refusal(403, "This user is blocked.", "blocked")
    wait = ((b"retry-after", b"60"),)
    return Refusal(429, "Too many messages.", "rate_limit_exceeded", headers=wait)


def _patience() -> float:
    return float(settings.OPENCLAW_AGENT_TOTAL_SECONDS) + SPARE_SECONDS


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
