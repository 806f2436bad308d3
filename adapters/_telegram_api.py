"""Calls of the Bot API: python-telegram-bot's Bot on our transport, its errors as ours.

RetryAfter                        RateLimited
ChatMigrated                      ChatMoved (a Refused)
InvalidToken (401, 404)           ChannelDown
Forbidden (403)                   Barred (a Refused)
BadRequest (400)                  Refused; Unformatted where it says so
413                               Refused
Conflict, other 3xx and 4xx       Transient
no connection                     Transient
5xx, no answer, half an answer    Unsure
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson
from telegram import Bot, error
from telegram.request import BaseRequest, RequestData

from adapters._http import Multipart, failed_send, redact
from adapters._rest import UPLOAD_SECONDS, Rest
from adapters.base import (
    ChannelDown,
    File,
    RateLimited,
    Refused,
    SendError,
    Transient,
    Unformatted,
    Unsure,
)

os.environ.setdefault("PTB_TIMEDELTA", "true")  # PTB's opt-in: RetryAfter without its warning

ANSWER_SECONDS = 20.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024
_BAD_MARKUP = "can't parse entities"  # Telegram gives no code for it, only this text

_quiet = logging.getLogger("adapters.telegram.bot")
_quiet.setLevel(logging.CRITICAL)  # at DEBUG the Bot logs its token and every text


class ChatMoved(Refused):
    """The group became a supergroup with another id."""

    def __init__(self, detail: str, chat_id: str) -> None:
        super().__init__(detail)
        self.chat_id = chat_id


class Barred(Refused):
    """The chat is closed to us: the bot was blocked, or sent away."""


class TelegramApi:
    """The Bot API for one token. Raises `SendError`s whose details hold no secret."""

    def __init__(self, token: str, api_url: str, http: httpx.AsyncBaseTransport) -> None:
        self._secrets = (token, quote(token, safe=""))
        self._files = f"{api_url.rstrip('/')}/file/bot{token}"
        self._rest = Rest(http, *self._secrets)
        request = _Request(http)
        self._bot = _Bot(
            token or "missing",  # Bot wants one; Telegram answers 404, which is ChannelDown
            base_url=f"{api_url.rstrip('/')}/bot",
            request=request,
            get_updates_request=request,
        )

    async def call(self, method: str, seconds: float = ANSWER_SECONDS, **parameters: Any) -> Any:
        """The `result` of a call that may be made twice, so nothing here is `Unsure`."""
        try:
            return await self.send(method, seconds, **parameters)
        except Unsure as failure:
            raise Transient(failure.detail) from None
        except (ChatMoved, Barred) as refusal:
            raise Refused(refusal.detail) from None

    async def upload(self, method: str, field: str, file: File, **parameters: Any) -> Any:
        """The `result` of a call that sends a file along, in pieces."""
        fields = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in parameters.items()
        }
        return await self.send(method, UPLOAD_SECONDS, multipart=Multipart(fields, field, file))

    async def download(self, path: str) -> AsyncIterator[bytes]:
        """A file's bytes. `path` is what getFile answered."""
        url = f"{self._files}/{quote(path)}"
        async for piece in self._rest.fetch(url, {}):
            yield piece

    async def send(self, method: str, seconds: float = ANSWER_SECONDS, **parameters: Any) -> Any:
        """The `result` of a call that must not be made twice.

        `from None`, because the causes hold the URL, and the URL holds the token.
        """
        try:
            return await self._bot.call(method, parameters, seconds)
        except error.TelegramError as failure:
            raise self._translated(failure) from None
        except (KeyError, TypeError, ValueError, AttributeError) as failure:
            raise Unsure(
                f"{method}: an answer without a result ({type(failure).__name__})"
            ) from None

    def _translated(self, failure: error.TelegramError) -> SendError:
        detail = redact(failure.message, *self._secrets)
        match failure:
            case error.RetryAfter():
                return RateLimited(detail, _seconds(failure))
            case error.ChatMigrated():
                return ChatMoved(detail, str(failure.new_chat_id))
            case error.InvalidToken():
                return ChannelDown(f"Telegram does not know this token: {detail}")
            case error.BadRequest() if _BAD_MARKUP in detail.lower():
                return Unformatted(detail)
            case error.Forbidden():
                return Barred(detail)
            case error.BadRequest():
                return Refused(detail)
            case error.Conflict() | _NotDone():
                return Transient(detail)
        if failure.__cause__ is None or isinstance(failure.__cause__, error.TelegramError):
            return Unsure(detail)
        return failed_send(failure, *self._secrets)


def _seconds(failure: error.RetryAfter) -> float:
    wait = failure.retry_after
    return float(wait) if isinstance(wait, int | float) else wait.total_seconds()


class _NotDone(error.NetworkError):
    """A status that Telegram itself does not use, so something in between said no."""


@dataclass(frozen=True, slots=True)
class _Upload:
    """A body that is never whole in memory, in place of PTB's own `RequestData`, which is."""

    multipart: Multipart


class _Bot(Bot):
    """Any method by its name, with the raw result: building PTB's objects costs as much again."""

    _LOGGER = _quiet

    async def call(self, method: str, parameters: dict[str, Any], seconds: float) -> Any:
        if (multipart := parameters.get("multipart")) is None:
            return await self._post(method, parameters, read_timeout=seconds)
        address = f"{self._base_url}/{method}"
        return await self.request.post(address, _Upload(multipart), seconds)  # type: ignore[arg-type]  # our own request reads it


class _Request(BaseRequest):
    """PTB's requests straight on the transport.

    `HTTPXRequest` does the same with an httpx client in between: twice the CPU
    per call, a log line with the token, and a `shutdown` that would close the
    transport that all channels share.
    """

    __slots__ = ("_http", "_urls")

    def __init__(self, http: httpx.AsyncBaseTransport) -> None:
        self._http = http
        self._urls: dict[str, httpx.URL] = {}  # parsing one costs a tenth of a call; one a method

    @property
    def read_timeout(self) -> float | None:
        return ANSWER_SECONDS

    async def initialize(self) -> None:
        """The transport is ready."""

    async def shutdown(self) -> None:
        """The transport is not ours to close."""

    @staticmethod
    def parse_json_payload(payload: bytes) -> Any:
        """Unlike the original, logs no body. Lone surrogates pass only the slower parser."""
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError:
            try:
                return json.loads(payload)
            except (ValueError, RecursionError):
                raise error.TelegramError("Telegram's answer is not JSON") from None

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | _Upload | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Status and body. Only `read_timeout` is ever set by us."""
        if url not in self._urls:
            self._urls[url] = httpx.URL(url)
        content: bytes | AsyncIterator[bytes]
        if isinstance(request_data, _Upload):
            headers, content = request_data.multipart.headers, request_data.multipart.content()
        else:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            content = urlencode(request_data.json_parameters if request_data else {}).encode()
        limits = {"connect": 5.0, "read": read_timeout, "write": 20.0, "pool": 5.0}
        request = httpx.Request(
            method,
            self._urls[url],
            headers={
                "User-Agent": self.USER_AGENT,
                "Accept-Encoding": "identity",
                **headers,
            },
            content=content,
            extensions={"timeout": limits},
        )
        try:
            response = await self._http.handle_async_request(request)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
        except httpx.HTTPError as failure:
            raise error.NetworkError(type(failure).__name__) from failure
        _check_status(response, body)
        return response.status_code, body


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise error.NetworkError("Telegram's answer is too large")
    return bytes(body)


def _check_status(response: httpx.Response, body: bytes) -> None:
    """What PTB's own reading of statuses lumps together with lost answers."""
    status = response.status_code
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise error.BadRequest("Request Entity Too Large")
    if status == HTTPStatus.TOO_MANY_REQUESTS and b"retry_after" not in body:
        header = response.headers.get("Retry-After", "")
        raise error.RetryAfter(int(header) if header.isdecimal() else 1)
    if 300 <= status < 500 and status not in (400, 401, 403, 404, 409, 429):
        raise _NotDone(f"status {status}")
