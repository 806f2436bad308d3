"""iMessage by a BlueBubbles server: its REST API, its webhook, and what the webhook missed.

Facts (from the server's source): the password goes in the query of every call;
the webhook is unsigned, called once and never again, so messages are asked for
from the last known time on, every few seconds and when the webhook is called:
what it missed comes before what it brings, unless the server cannot tell what that is.
A send answers when its row is in chat.db.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from adapters._fields import Json, obj, objects
from adapters._http import Multipart, redact
from adapters._imessage_db import now
from adapters._imessage_event import Events, date_of, rejected
from adapters._recent import Recent
from adapters._rest import UPLOAD_SECONDS, Answer, Rest, decode
from adapters._text import clean
from adapters.base import (
    ChannelDown,
    Forbidden,
    Inbound,
    Inlet,
    Media,
    Outbound,
    RateLimited,
    Receipt,
    Refused,
    Rejected,
    Request,
    SendError,
    Transient,
    Unreadable,
    Unsupported,
    Unsure,
)

EVENTS = ("new-message", "updated-message")
MAX_SEEN = 10_000
MAX_BROUGHT = 1000
"""Messages of the webhook that wait for a look; one more is handed over without it."""

PAGE = 500
POLL_SECONDS = 5.0
GATHER_SECONDS = 0.2
"""The shortest pause between two looks, however often the webhook is called."""

OVERLAP_MS = 120_000
"""How far back each look goes: the server's order is not exact. What was seen is passed over."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
PATIENCE_SECONDS = 15.0
"""Looks have to fail for so long before what the webhook brought is handed over without what it
missed: a moment's trouble must not change the order."""


Version = tuple[str, str | int]
"""What tells a message from others, and from what it was before it was edited."""


class BlueBubbles:
    """One server."""

    def __init__(self, config: Any, http: httpx.AsyncBaseTransport) -> None:
        self._base = f"{config.api_url.rstrip('/')}/api/v1"
        self._password, self._secret = config.password, config.secret
        self._rest = Rest(http, config.password, quote(config.password, safe=""))
        self.events = Events(config.name)
        self._seen: Recent[Version, None] = Recent(MAX_SEEN)
        self._brought: dict[str, Inbound] | None = None
        self._floor = 0  # in milliseconds: what was written before it, no look will find
        self._called = asyncio.Event()
        self._began_ms: int | None = None

    async def open(self, webhook_url: str | None) -> None:
        """Say hello, and have the webhook called where there is an address for it."""
        await self._call("GET", "/server/info")
        self._first()
        if webhook_url is None or not self._secret:
            return
        self._brought = {}
        url = f"{webhook_url}?{urlencode({'secret': self._secret})}"
        known = await self._call("GET", "/webhook")
        if not any(isinstance(one, dict) and one.get("url") == url for one in known or ()):
            await self._call("POST", "/webhook", {"url": url, "events": list(EVENTS)})

    async def probe(self) -> str:
        """What the server says about itself."""
        info = await self._call("GET", "/server/info")
        found = info if isinstance(info, dict) else {}
        account = found.get("detected_imessage") or "nobody"
        version, system = found.get("server_version", "?"), found.get("os_version", "?")
        return f"BlueBubbles {version} on macOS {system}, signed in as {account}"

    # --- sending ------------------------------------------------------------

    async def send(self, outbound: Outbound, words: str) -> Receipt:
        """One text, or one file and no text."""
        fields = {
            "chatGuid": outbound.chat_id,
            "tempGuid": outbound.key,
            "method": "apple-script",
        }
        if outbound.file is None:
            found = await self._send("/message/text", {**fields, "message": words})
        else:
            body = Multipart({**fields, "name": outbound.file.name}, "attachment", outbound.file)
            found = await self._send("/message/attachment", body=body)
        if not isinstance(found, dict) or not isinstance(found.get("guid"), str):
            raise Unsure("an answer without a guid")
        self.events.ours.note(found["guid"], None)
        return Receipt(found["guid"])

    async def settle(self, outbound: Outbound, words: str) -> Receipt | None:
        """None where nothing like it was sent in the last day.

        Where something was, it may have been an earlier part with the same text:
        raises `Unsure`, since the server keeps no id of ours.
        """
        after = int((now() - 24 * 3600) * 1000)
        condition = {"statement": "message.is_from_me = :mine", "args": {"mine": 1}}
        for message in await self._query(after, outbound.chat_id, [condition]):
            files = [one.get("transferName") for one in objects(message, "attachments")]
            same = clean(str(message.get("text") or "")).split() == words.split()
            if (outbound.file.name in files) if outbound.file else same:
                raise Unsure("a message like it was sent")
        return None

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """A file by its guid."""
        path = f"/attachment/{quote(media.handle, safe='')}/download"
        async for piece in self._rest.fetch(self._url(path), {}):
            yield piece

    # --- what comes ---------------------------------------------------------

    def verify(self, request: Request) -> None:
        """The webhook is unsigned: the secret in its own address must be ours."""
        shown = request.query.get("secret", "").encode("utf-8", "surrogatepass")
        ours = self._secret.encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(shown, ours) or not ours:
            raise Forbidden("wrong or missing secret")

    def parse(self, request: Request) -> list[Inbound | Rejected]:
        """The one event of a call. A new message is left to the next look, which is at once."""
        event = decode(request.body)
        kind = event.get("type")
        if kind not in EVENTS:
            raise Unsupported(f"event {clean(str(kind))[:40]}")
        try:
            if kind == "updated-message":
                return [self.events.edit(obj(event, "data"))]
            found = self.events.read(obj(event, "data"))
        except Unreadable as error:
            return [rejected(event.get("data"), error)]
        waits = self._brought is not None and len(self._brought) < MAX_BROUGHT
        if self._brought is None or not waits or date_of(event["data"]) < self._floor:
            return [found]
        self._brought[found.external_id] = found
        self._called.set()
        raise Unsupported("is handed over behind what was missed")

    async def listen(self, inlet: Inlet) -> None:
        """Ask for what is new, again and again; the webhook only says when."""
        try:
            await self._listen(inlet)
        finally:
            self._brought = None

    async def _listen(self, inlet: Inlet) -> None:
        cursor = await inlet.cursor()
        known = cursor.value if cursor else ""
        after = int(known) if known.isdecimal() else self._first() + OVERLAP_MS
        if not known:
            await inlet.accept([], str(after))
        pause, worked_at = FIRST_PAUSE_SECONDS, time.monotonic()
        while True:
            self._called.clear()
            self._floor = after - OVERLAP_MS
            brought = self._waiting()
            try:
                messages = await self._query(self._floor)
            except SendError as failure:
                is_over = isinstance(failure, ChannelDown)
                if is_over or time.monotonic() - worked_at >= PATIENCE_SECONDS:
                    await self._pass_on(inlet)
                if is_over:
                    raise
                inlet.failing(failure.detail)
                await self._wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            inlet.alive()
            pause, worked_at = FIRST_PAUSE_SECONDS, time.monotonic()
            newest = max([after, *(date_of(message) for message in messages)])
            new = self._new(messages)
            arrivals = [*new.values(), *_not_among(messages, brought)]
            if arrivals or newest > after:
                await inlet.accept(arrivals, str(newest))
            for version in new:
                self._seen.note(version, None)
            self._forget(brought)
            after = newest
            await self._wait(POLL_SECONDS)

    async def _pass_on(self, inlet: Inlet) -> None:
        """What the webhook brought, without what it missed: a later look brings that, and
        this once more, which is dropped by its guid. So the cursor stays."""
        if brought := self._waiting():
            await inlet.accept(brought)
            self._forget(brought)

    def _waiting(self) -> list[Inbound]:
        return list((self._brought or {}).values())

    def _forget(self, brought: list[Inbound]) -> None:
        for one in brought:
            (self._brought or {}).pop(one.external_id, None)

    async def _wait(self, seconds: float) -> None:
        """Until the webhook is called, or so many seconds have passed."""
        await asyncio.sleep(min(GATHER_SECONDS, seconds))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._called.wait()

    def _first(self) -> int:
        """Where the very first start begins, in milliseconds: at the first call. Asked for
        before the channel counts as up: nothing falls between that and the first look.
        No look goes back behind it, so the first cursor lies as far ahead as a look goes back."""
        self._began_ms = self._began_ms or int(now() * 1000)
        return self._began_ms

    def _new(self, messages: list[Json]) -> dict[Version, Inbound | Rejected]:
        """Those that no earlier look has handed over."""
        found: dict[Version, Inbound | Rejected] = {}
        for message in messages:
            try:
                one: Inbound | Rejected = self.events.read(message)
                version: Version = one.external_id, str(message.get("dateEdited"))
            except Unsupported:
                continue
            except Unreadable as error:  # there may be more of it at the next look
                one = rejected(message, error)
                version = one.external_id, hash(one)
            if version not in self._seen:
                found[version] = one
        return found

    # --- calls --------------------------------------------------------------

    async def _query(
        self, after: int, chat: str = "", where: list[Json] | None = None
    ) -> list[Json]:
        """Messages since `after` (milliseconds), oldest first."""
        found: list[Json] = []
        while True:
            asked: Json = {
                "with": ["chat", "handle", "attachment"],
                "after": after,
                "sort": "ASC",
                "limit": PAGE,
                "offset": len(found),
                **({"chatGuid": chat} if chat else {}),
                **({"where": where} if where else {}),
            }
            page = await self._call("POST", "/message/query", asked)
            if not isinstance(page, list):
                raise Transient("a list of messages that is none")
            found += [message for message in page if isinstance(message, dict)]
            if len(page) < PAGE:
                return found

    async def _call(self, method: str, path: str, data: Json | None = None) -> Any:
        """The `data` of a call that may be made twice."""
        try:
            return self._data(await self._rest.call(method, self._url(path), {}, data=data))
        except Unsure as failure:
            raise Transient(failure.detail) from None

    async def _send(
        self, path: str, data: Json | None = None, body: Multipart | None = None
    ) -> Any:
        url = self._url(path)
        answer = await self._rest.call(
            "POST", url, {}, data=data, body=body, seconds=UPLOAD_SECONDS
        )
        message = (answer.data or {}).get("data")
        if isinstance(message, dict) and message.get("error"):  # whatever the status
            raise Refused(f"Messages could not deliver it (error {message['error']})")
        return self._data(answer)

    def _data(self, answer: Answer) -> Any:
        if answer.status == 200 and answer.data is not None:
            return answer.data.get("data")
        is_the_servers = answer.data is not None and answer.data.get("status") == answer.status
        error = (answer.data or {}).get("error")
        said = error.get("message") if isinstance(error, dict) else None
        detail = redact(clean(str(said or f"status {answer.status}")), self._password)
        if answer.status == 413:
            raise Refused(detail)
        if answer.status == 429:  # of a proxy before it
            raise RateLimited(detail, answer.retry_after or 5.0)
        if 300 <= answer.status < 500 and not is_the_servers:  # a proxy's, or a tunnel's
            raise Transient(detail)
        if answer.status in (401, 403):
            raise ChannelDown(f"BlueBubbles does not take this password: {detail}")
        if answer.status == 400 and "already queued" in detail:  # there is no code for it
            raise Unsure(detail)
        if answer.status in (400, 404):
            raise Refused(detail)
        raise Unsure(detail)

    def _url(self, path: str) -> str:
        return f"{self._base}{path}?{urlencode({'password': self._password})}"


def _not_among(messages: list[Json], brought: list[Inbound]) -> list[Inbound]:
    """What the webhook brought before a look, and that look did not find."""
    found = {message.get("guid") for message in messages}
    return [one for one in brought if one.external_id not in found]
