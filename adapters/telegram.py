"""Telegram, by its Bot API.

1. In Telegram, write to @BotFather: /newbot, and choose a name. It answers with
   a token like 123456789:AAF…; put it into OPENCLAW_TELEGRAM_TOKEN.
2. Polling (the default) needs nothing else and works behind any router.
   For a webhook set OPENCLAW_TELEGRAM_MODE=webhook, OPENCLAW_PUBLIC_URL to the
   https address of this gateway, and OPENCLAW_TELEGRAM_SECRET to a long random
   text of A-Z a-z 0-9 _ - (for example from `openssl rand -hex 32`). The
   webhook is registered at every start.
3. In groups the bot answers when it is named, replied to or given a command.
   Telegram shows it other messages only if you send /setprivacy to @BotFather
   and choose "Disable".
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import orjson

from adapters._markup import render
from adapters._telegram_api import Barred, ChatMoved, TelegramApi
from adapters._telegram_config import TELEGRAM, TelegramConfig, problems
from adapters._telegram_content import Content, contents
from adapters._telegram_update import Me, read_update
from adapters._text import clean
from adapters.base import (
    Adapter,
    Capabilities,
    ChannelDown,
    File,
    Forbidden,
    Inbound,
    Inlet,
    Malformed,
    Media,
    Outbound,
    Problem,
    Rate,
    RateLimited,
    Receipt,
    Refused,
    Rejected,
    Reply,
    Request,
    SendError,
    Transient,
    Unformatted,
    Unreadable,
    Unsupported,
    Unsure,
)

ALLOWED_UPDATES = ["message", "edited_message", "callback_query", "message_reaction"]
MAX_CONNECTIONS = 40
POLL_SECONDS = 50  # Telegram's own upper limit
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
ERROR_SECONDS = 600.0  # a failed call this long ago, with nothing waiting since, is over
OFFSET_LIFE_SECONDS = 6 * 24 * 3600.0  # after a week of silence Telegram numbers afresh
MAX_PAYLOAD_CHARS = 64 * 1024
MAX_REASON = 200
MEGABYTE = 1024 * 1024
NOT_MODIFIED = "message is not modified"  # Telegram gives no code for it, only this text

_SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 (a header's name)


class TelegramAdapter(Adapter):
    """One bot. Roles: WebhookReceiver, Watched, Listener, Typist, Editor, Drafter, MediaSource,
    Acknowledger, Prompter."""

    name = "telegram"
    capabilities = (
        Capabilities(  # limits: python-telegram-bot's constants, core.telegram.org/bots/faq
            text_limit=4096,
            text_unit="utf16",
            markup="telegram entities",
            media={
                "image": 10 * MEGABYTE,
                "file": 50 * MEGABYTE,
                "video": 50 * MEGABYTE,
                "audio": 50 * MEGABYTE,
                "animation": 50 * MEGABYTE,
                "voice": 1 * MEGABYTE,
                "sticker": 512 * 1024,
            },
            locations=True,
            buttons=8,
            edits=True,
            edit_seconds=1.0,
            draft_seconds=30.0,
            typing_seconds=5.0,
            bot_rate=Rate(30, 30),
            chat_rate=Rate(1, 4),
            group_rate=Rate(20 / 60, 5),
            dedupe_seconds=0.0,
        )
    )
    Config = TelegramConfig

    def __init__(self, config: TelegramConfig, http: httpx.AsyncBaseTransport) -> None:
        self._config = config
        self._api = TelegramApi(config.token, config.api_url, http)
        number = config.token.partition(":")[0]
        self._me = Me(int(number) if number.isdecimal() else 0)
        self._webhook_url: str | None = None

    async def open(self, webhook_url: str | None) -> None:
        """Ask who we are, then register the webhook or remove it. What waits is kept."""
        me = await self._who()
        self._me = Me(me["id"], str(me.get("username", "")))
        if self.listens:
            await self._api.call("deleteWebhook")
        else:
            self._webhook_url = webhook_url
            await self._register(webhook_url)

    async def inbound_trouble(self) -> str | None:
        """Whether Telegram still calls us: somebody else with the token can take the webhook."""
        info = await self._api.call("getWebhookInfo")
        if not isinstance(info, dict):
            raise Transient("getWebhookInfo: an answer that is no object")
        if info.get("url") != self._webhook_url:
            await self._register(self._webhook_url)
            return "the webhook was gone or pointed elsewhere; it is registered again"
        failed_at = info.get("last_error_date")
        waiting = info.get("pending_update_count")
        if type(failed_at) is not int or time.time() - failed_at > ERROR_SECONDS or not waiting:
            return None
        reason = clean(str(info.get("last_error_message") or "its calls fail"))[:MAX_REASON]
        return f"Telegram does not reach us: {reason} ({waiting} updates wait)"

    async def _who(self) -> dict[str, Any]:
        me = await self._api.call("getMe")
        if not isinstance(me, dict) or type(me.get("id")) is not int:
            raise Transient("getMe: an answer without an id")
        return me

    async def _register(self, webhook_url: str | None) -> None:
        if webhook_url is None or not self._config.secret:
            raise ChannelDown("webhook mode needs a public URL and a secret")
        if self._is_telegrams_own() and not webhook_url.startswith("https://"):
            raise ChannelDown("Telegram calls https addresses only")
        try:
            await self._api.call(
                "setWebhook",
                url=webhook_url,
                secret_token=self._config.secret,
                allowed_updates=ALLOWED_UPDATES,
                max_connections=MAX_CONNECTIONS,
            )
        except Refused as refusal:  # also when it cannot look up our name just now
            raise Transient(f"setWebhook: {refusal.detail}") from None

    def _is_telegrams_own(self) -> bool:
        return self._config.api_url.rstrip("/") == TELEGRAM

    async def probe(self) -> str:
        """The bot's name and number."""
        me = await self._who()
        return f"@{me.get('username', '')} ({me['id']})"

    async def close(self) -> None:
        """Nothing to let go of: the transport is shared."""

    # --- sending ------------------------------------------------------------

    async def send(self, outbound: Outbound) -> Receipt:
        """One message, formatted unless `outbound.plain`. Follows a group that moved, once."""
        content = contents(outbound, self.capabilities.text_limit)
        try:
            return await self._follow(outbound, content)
        except (ChatMoved, Barred) as refusal:
            raise Refused(refusal.detail) from None
        except Unformatted as refusal:
            if "entities" not in content.fields:
                raise Refused(refusal.detail) from None
            raise

    async def _follow(self, outbound: Outbound, content: Content) -> Receipt:
        try:
            return await self._send(outbound.chat_id, content, outbound.target)
        except ChatMoved as moved:
            receipt = await self._send(moved.chat_id, content, {})  # message ids moved, too
            return Receipt(receipt.message_id, moved.chat_id)

    async def _send(self, chat_id: str, content: Content, target: Mapping[str, Any]) -> Receipt:
        parameters: dict[str, Any] = {"chat_id": chat_id, **content.fields, **_thread(target)}
        if "reply_to" in target:
            parameters["reply_parameters"] = {
                "message_id": target["reply_to"],
                "allow_sending_without_reply": True,
            }
        if content.file is None:
            sent = await self._api.send(content.method, **parameters)
        else:
            sent = await self._upload(content, content.file, parameters)
        if not isinstance(sent, dict) or type(sent.get("message_id")) is not int:
            raise Unsure(f"{content.method}: an answer without a message id")
        return Receipt(str(sent["message_id"]))

    async def _upload(self, content: Content, file: File, parameters: dict[str, Any]) -> Any:
        """A file Telegram does not take as what it is (a picture too long) goes as a document."""
        try:
            return await self._api.upload(content.method, content.field, file, **parameters)
        except (ChatMoved, Barred):
            raise
        except Refused:
            if content.field == "document":
                raise
            return await self._api.upload("sendDocument", "document", file, **parameters)

    async def edit(self, outbound: Outbound, receipt: str) -> None:
        """The message `receipt` with another text; the same text again is no error."""
        content = contents(outbound, self.capabilities.text_limit)
        parameters = {"chat_id": outbound.chat_id, "message_id": receipt, **content.fields}
        try:
            await self._api.send("editMessageText", **parameters)
        except Refused as refusal:
            if NOT_MODIFIED not in refusal.detail.lower():
                raise Refused(refusal.detail) from None

    def drafts(self, chat_id: str, target: Mapping[str, Any]) -> bool:
        """Drafts are for private chats, whose ids are above zero."""
        return chat_id.isdecimal()

    async def draft(self, outbound: Outbound) -> None:
        """Shows the beginning of the answer for up to 30 seconds."""
        text, entities = render(clean(outbound.text), self.capabilities.text_limit)
        await self._api.call(
            "sendMessageDraft",
            chat_id=outbound.chat_id,
            draft_id=zlib.crc32(outbound.key.encode()) or 1,
            text=text,
            entities=entities,
            **_thread(outbound.target),
        )

    async def acknowledge(self, inbound: Inbound) -> None:
        """A press of a button is answered, so that it stops to wait."""
        if query := inbound.target.get("callback"):
            await self._api.call("answerCallbackQuery", callback_query_id=query)

    async def prompt(self, commands: Mapping[str, str]) -> None:
        """The menu beside the text field, and what is offered after a slash."""
        menu = [{"command": name[1:], "description": what} for name, what in commands.items()]
        await self._api.call("setMyCommands", commands=menu)

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """Two steps: getFile says where the file lies for an hour, then it is read there."""
        found = await self._api.call("getFile", file_id=media.handle)
        if not isinstance(found, dict) or not isinstance(found.get("file_path"), str):
            raise Refused("getFile: an answer without a path")
        async for piece in self._api.download(found["file_path"]):
            yield piece

    async def typing(self, chat_id: str, target: Mapping[str, Any]) -> None:
        """Shows "typing…" for five seconds or until our next message."""
        await self._api.call("sendChatAction", chat_id=chat_id, action="typing", **_thread(target))

    # --- webhook ------------------------------------------------------------

    def handshake(self, request: Request) -> Reply | None:
        """Telegram has none."""
        return None

    def verify(self, request: Request) -> None:
        """The secret in the header must be ours. Without one of our own nobody gets in."""
        shown = request.headers.get(_SECRET_HEADER, "").encode("utf-8", "surrogatepass")
        same = hmac.compare_digest(shown, self._config.secret.encode("utf-8", "surrogatepass"))
        if not same or not self._config.secret:
            raise Forbidden("wrong or missing secret")

    def parse(self, request: Request) -> list[Inbound | Rejected]:
        """The one message of a webhook call."""
        update = _parsed(request.body)
        try:
            return [read_update(update, self._me)]
        except Unreadable as error:
            payload = request.body[:MAX_PAYLOAD_CHARS].decode("utf-8", "replace")
            return [Rejected(error.external_id, error.reason, clean(payload))]

    # --- polling ------------------------------------------------------------

    @property
    def listens(self) -> bool:
        """Whether we ask for updates instead of being called."""
        return self._config.mode == "polling"

    async def listen(self, inlet: Inlet) -> None:
        """Ask for updates; ask for the next ones only when these are kept.

        An error of `inlet.accept` ends the loop with the offset where it was.
        """
        offset, moved_at = await _first_offset(inlet)
        pause, wait = FIRST_PAUSE_SECONDS, 0
        while True:
            if time.monotonic() - moved_at > OFFSET_LIFE_SECONDS:
                offset = None
            try:
                updates = await self._poll(offset, wait)
            except ChannelDown as failure:
                inlet.failing(failure.detail)
                raise
            except SendError as failure:
                inlet.failing(failure.detail)
                asked = failure.retry_after if isinstance(failure, RateLimited) else 0.0
                await asyncio.sleep(max(pause, asked))
                pause, wait = min(pause * 2, LONGEST_PAUSE_SECONDS), 0
                continue
            inlet.alive()
            pause, wait = FIRST_PAUSE_SECONDS, POLL_SECONDS
            if updates:
                offset, moved_at = _next_offset(updates), time.monotonic()
                await inlet.accept(self._arrivals(updates), cursor=str(offset))

    async def _poll(self, offset: int | None, wait: int) -> list[Any]:
        """Raw updates. The first call waits for nothing, so that we soon know that it works."""
        parameters: dict[str, Any] = {"timeout": wait, "allowed_updates": ALLOWED_UPDATES}
        if offset is not None:
            parameters["offset"] = offset
        updates = await self._api.call("getUpdates", wait + 10.0, **parameters)
        if not isinstance(updates, list):
            raise Transient("getUpdates: an answer that is no list")
        if updates and _next_offset(updates) is None:
            raise Transient("getUpdates: updates without an id")
        return updates

    def _arrivals(self, updates: Sequence[Any]) -> list[Inbound | Rejected]:
        """Each update read by itself: one that cannot be read does not block the others."""
        arrivals: list[Inbound | Rejected] = []
        for update in updates:
            try:
                if not isinstance(update, dict):
                    raise Unreadable("update is not an object")
                arrivals.append(read_update(update, self._me))
            except Unsupported:
                continue
            except Unreadable as error:
                arrivals.append(Rejected(error.external_id, error.reason, _payload(update)))
        return arrivals

    # --- configuration ------------------------------------------------------

    @classmethod
    def problems(cls, config: TelegramConfig, public_url: str) -> list[Problem]:
        """Missing or malformed token, secret, mode and public URL."""
        return problems(config, public_url)


def _thread(target: Mapping[str, Any]) -> dict[str, Any]:
    """The topic of a forum, where it was written in one."""
    return {"message_thread_id": target["thread"]} if "thread" in target else {}


def _parsed(body: bytes) -> dict[str, Any]:
    """The update as JSON. orjson refuses lone surrogates in escapes, which Telegram may send."""
    try:
        update = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            update = json.loads(body)
        except (ValueError, RecursionError):
            raise Malformed("not JSON") from None
    if not isinstance(update, dict):
        raise Malformed("not a JSON object")
    return update


async def _first_offset(inlet: Inlet) -> tuple[int | None, float]:
    """Where to go on, and when (on the monotonic clock) it was last moved."""
    cursor = await inlet.cursor()
    if cursor is None or not cursor.value.isdecimal():
        return None, time.monotonic()
    return int(cursor.value), time.monotonic() - cursor.age_seconds


def _next_offset(updates: Sequence[Any]) -> int | None:
    """One more than the highest id; None where there is none."""
    ids = [update.get("update_id") for update in updates if isinstance(update, dict)]
    return max((found + 1 for found in ids if type(found) is int), default=None)


def _payload(update: Any) -> str:
    try:
        return json.dumps(update)[:MAX_PAYLOAD_CHARS]
    except (ValueError, RecursionError):
        return "(nested too deeply to be kept)"
