"""iMessage by a BlueBubbles server: its REST API, its webhook, and what the webhook missed.

Facts (from the server's source): the password goes in the query of every call;
the webhook is unsigned, called once and never again, so messages are also asked
for from the last known time on; a send answers when its row is in chat.db.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from adapters._fields import Json, moment, obj, objects, text, whole
from adapters._http import Multipart, redact
from adapters._imessage_db import now
from adapters._imessage_text import (
    EMOJI_REACTION,
    GROUP_STYLE,
    NAMES,
    REACTIONS,
    STICKER,
    kind_of,
    person,
    target_of,
)
from adapters._rest import UPLOAD_SECONDS, Answer, Rest, decode, excerpt
from adapters._text import clean
from adapters.base import (
    ChannelDown,
    Forbidden,
    Inbound,
    Inlet,
    Media,
    Outbound,
    Quote,
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
PAGE = 100
POLL_SECONDS = 5.0
OVERLAP_MS = 120_000
"""How far back each look goes: the server's order is not exact. Known messages are dropped."""

LONGEST_PAUSE_SECONDS = 60.0
MAX_EDITS = 1000
_OBJECT = "\ufffc"
_REACTED = re.compile(r"Reacted (\S+) to ")


class BlueBubbles:
    """One server."""

    def __init__(self, config: Any, http: httpx.AsyncBaseTransport) -> None:
        self._base = f"{config.api_url.rstrip('/')}/api/v1"
        self._password, self._secret = config.password, config.secret
        self._rest = Rest(http, config.password, quote(config.password, safe=""))
        self._name = config.name
        named = rf"(?<!\w)@?{re.escape(config.name)}(?!\w)"
        self._named = re.compile(named, re.IGNORECASE)
        self._edited: OrderedDict[str, int] = OrderedDict()
        self._early: dict[str, Inbound] | None = None
        self._began_ms: int | None = None

    async def open(self, webhook_url: str | None) -> None:
        """Say hello, and have the webhook called where there is an address for it."""
        await self._call("GET", "/server/info")
        self._first()
        if webhook_url is None or not self._secret:
            return
        self._early = {}
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
        """The one event of a call."""
        event = decode(request.body)
        kind = event.get("type")
        if kind not in EVENTS:
            raise Unsupported(f"event {clean(str(kind))[:40]}")
        try:
            if kind == "updated-message":
                return [self._edit(obj(event, "data"))]
            found = self.read(obj(event, "data"))
        except Unreadable as error:
            return [self._rejected(event.get("data"), error)]
        if self._early is not None:  # what was missed comes first: this waits for it
            self._early[found.external_id] = found
            raise Unsupported("is handed over behind what was missed")
        return [found]

    def _edit(self, message: Json) -> Inbound:
        """An edit. What was delivered or read is updated, too, and shows an older edit again."""
        at = whole(message, "dateEdited", 0) or 0
        found = self.read(message, is_edit=True)
        if self._edited.get(found.external_id) == at:
            raise Unsupported("an edit that is known")
        self._edited[found.external_id] = at
        if len(self._edited) > MAX_EDITS:
            self._edited.popitem(last=False)
        return found

    async def listen(self, inlet: Inlet) -> None:
        """Ask for what is new, again and again; the webhook is only quicker."""
        cursor = await inlet.cursor()
        known = cursor.value if cursor else ""
        after = int(known) if known.isdecimal() else self._first()
        if not known:
            await inlet.accept([], str(after))
        pause = POLL_SECONDS
        while True:
            try:
                messages = await self._query(after - OVERLAP_MS if known else after)
            except ChannelDown:
                raise
            except SendError as failure:
                inlet.failing(failure.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            inlet.alive()
            pause = POLL_SECONDS
            newest = max([after, *(_date(message) for message in messages)])
            if arrivals := [*self._arrivals(messages), *self._waited(messages)]:
                await inlet.accept(arrivals, str(newest))
            elif newest > after:
                await inlet.accept([], str(newest))
            after, known = newest, str(newest)
            await asyncio.sleep(POLL_SECONDS)

    def _first(self) -> int:
        """Where the very first start begins, in milliseconds: at the first call. Asked for
        before the channel counts as up: nothing falls between that and the first look."""
        self._began_ms = self._began_ms or int(now() * 1000)
        return self._began_ms

    def _waited(self, messages: list[Json]) -> list[Inbound]:
        """What the webhook brought before the first look, and that look did not see yet."""
        early, self._early = self._early or {}, None
        seen = {message.get("guid") for message in messages}
        return [one for one in early.values() if one.external_id not in seen]

    def _arrivals(self, messages: list[Json]) -> list[Inbound | Rejected]:
        found: list[Inbound | Rejected] = []
        for message in messages:
            try:
                found.append(self.read(message))
            except Unsupported:
                continue
            except Unreadable as error:
                found.append(self._rejected(message, error))
        return found

    @staticmethod
    def _rejected(message: Any, error: Unreadable) -> Rejected:
        guid = message.get("guid") if isinstance(message, dict) else ""
        return Rejected(clean(str(guid or ""))[:200], error.reason, excerpt(message))

    def read(self, message: Json, *, is_edit: bool = False) -> Inbound:
        """One message object. Raises `Unsupported` or `Unreadable`."""
        if message.get("isFromMe"):
            raise Unsupported("our own message")
        if message.get("itemType"):
            raise Unsupported("a change of the group")
        if is_edit and not message.get("dateEdited"):
            raise Unsupported("delivered or read")
        chats = objects(message, "chats")
        if not chats:
            raise Unreadable("a message without a chat")
        about = message.get("associatedMessageType")
        kind = NAMES.get(about, 0) if isinstance(about, str) else about or 0
        is_group = whole(chats[0], "style", 0) == GROUP_STYLE
        words = clean(text(message, "text", "").replace(_OBJECT, "")).strip()
        guid, address = text(message, "guid"), text(obj(message, "handle"), "address")
        chat, at = clean(text(chats[0], "guid")), moment(_date(message) / 1000)
        target = target_of(text(message, "associatedMessageGuid", ""))
        if about not in (None, "", 0, "0") and kind != STICKER:
            return Inbound(
                guid,
                person(address),
                chat,
                f"reacted {_emoji(kind, message)}",
                sent_at=at,
                is_group=is_group,
                addressed=False,
                passive=True,
                quote=Quote("", external_id=clean(target)) if target else None,
            )
        original = clean(text(message, "threadOriginatorGuid", ""))
        return Inbound(
            guid,
            person(address),
            chat,
            words,
            sent_at=at,
            is_group=is_group,
            addressed=not is_group or (bool(self._name) and bool(self._named.search(words))),
            is_edit=is_edit,
            media=[_media(one, message) for one in objects(message, "attachments")],
            quote=Quote("", external_id=original) if original else None,
        )

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
        error = (answer.data or {}).get("error")
        said = error.get("message") if isinstance(error, dict) else None
        detail = redact(clean(str(said or f"status {answer.status}")), self._password)
        if answer.status in (401, 403):
            raise ChannelDown(f"BlueBubbles does not take this password: {detail}")
        if answer.status == 429:  # of a proxy before it
            raise RateLimited(detail, answer.retry_after or 5.0)
        if 300 <= answer.status < 400:
            raise Transient(detail)
        if answer.status == 400 and "already queued" in detail:  # there is no code for it
            raise Unsure(detail)
        if answer.status in (400, 404, 413):
            raise Refused(detail)
        raise Unsure(detail)

    def _url(self, path: str) -> str:
        return f"{self._base}{path}?{urlencode({'password': self._password})}"


def _emoji(kind: Any, message: Json) -> str:
    """What was put under a message. Raises `Unsupported` where it was taken back or is unknown."""
    if kind == EMOJI_REACTION:
        found = _REACTED.match(text(message, "text", ""))
        shown = text(message, "associatedMessageEmoji", "") or (found[1] if found else "")
    else:
        shown = REACTIONS.get(kind, "") if isinstance(kind, int) else ""
    if not shown:
        raise Unsupported("a reaction that was taken back, or of an unknown kind")
    return clean(shown)[:64]


def _date(message: Json) -> int:
    return whole(message, "dateCreated", 0) or 0


def _media(file: Json, message: Json) -> Media:
    mime, name = text(file, "mimeType", ""), text(file, "transferName", "")
    audio = bool(message.get("isAudioMessage"))
    return Media(
        kind=kind_of(mime, name, is_audio=audio, is_sticker=bool(file.get("isSticker"))),
        handle=clean(text(file, "guid")),
        mime=clean(mime),
        name=clean(name),
        size=whole(file, "totalBytes"),
    )
