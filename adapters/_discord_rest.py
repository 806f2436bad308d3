"""Calls of Discord's REST API: discord.py's HTTPClient on our transport, its errors as ours.

discord.py keeps the rate limits' buckets and waits up to 30 seconds for a 429;
a longer wait comes out as `RateLimited`, for the whole bot where the 429 was
global. Its retries of 5xx do not happen: the core repeats such a send itself,
with the same nonce.

401                                        ChannelDown
429, and any answer with `retry_after`     RateLimited
413; 400, 403, 404 with Discord's JSON     Refused
slow mode, write limits, too many DMs      Transient
other 3xx and 4xx (a proxy's pages)        Transient
no connection                              Transient
5xx, no answer, half an answer             Unsure
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal

import httpx

from adapters._discord_sdk import discord
from adapters._http import Multipart, failed_send, redact
from adapters.base import ChannelDown, RateLimited, Refused, SendError, Transient, Unsure

ANSWER_SECONDS = 30.0
CALL_SECONDS = 45.0  # with discord.py's own waits: no send leaves later than this
LONGEST_WAIT_SECONDS = 30.0  # the least that discord.py accepts
MAX_ANSWER_BYTES = 32 * 1024 * 1024
_LATER = {20016, 20028, 20029, 40003}  # slow mode, write limits, direct chats opened too fast

logging.getLogger("discord").setLevel(logging.WARNING)  # INFO tells session ids, DEBUG bodies
logging.getLogger("discord.http").setLevel(logging.ERROR)  # its warnings name URLs with tokens


class Rest:
    """The REST API for one token. Raises `SendError`s whose details hold no secret."""

    def __init__(self, token: str, api_url: str, http: httpx.AsyncBaseTransport) -> None:
        self._token = token
        self._http = http
        self._route: type[discord.http.Route] = type(
            "Route", (discord.http.Route,), {"BASE": api_url.rstrip("/")}
        )
        self._client: discord.http.HTTPClient | None = None
        self._for_all_until = 0.0

    async def call(self, method: str, path: str, **parameters: Any) -> Any:
        """The answer to a call that may be made twice, so nothing here is `Unsure`."""
        try:
            return await self.send(method, path, **parameters)
        except Unsure as failure:
            raise Transient(failure.detail) from None

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        upload: Multipart | None = None,
        query: Mapping[str, Any] | None = None,
        **ids: str,
    ) -> Any:
        """The answer to a call that must not be made twice. `ids` fill the path's braces."""
        payload: dict[str, Any] = {"data": upload} if upload else {"json": body} if body else {}
        if query:
            payload["params"] = query
        route = self._route(method, path, **ids)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._ready().request(route, **payload)
        except discord.RateLimited as failure:
            scope = self._scope()
            raise RateLimited("rate limit", failure.retry_after, scope) from None
        except discord.HTTPException as failure:
            raise self._translated(failure) from None
        except (httpx.HTTPError, TimeoutError) as failure:
            raise failed_send(failure, self._token) from None
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as failure:
            raise Unsure(f"an answer that is not Discord's ({type(failure).__name__})") from None

    def _ready(self) -> discord.http.HTTPClient:
        """Made at the first call, because it wants a running loop."""
        if self._client is None:
            loop = asyncio.get_running_loop()
            client = discord.http.HTTPClient(loop, max_ratelimit_timeout=LONGEST_WAIT_SECONDS)
            client.token = self._token
            client._global_over = asyncio.Event()
            client._global_over.set()
            # what static_login would fill with a session, and a pool, of its own
            client._HTTPClient__session = _Session(self._http, self._saw)  # type: ignore[attr-defined]  # private
            self._client = client
        return self._client

    def _saw(self, answer: _Answer) -> None:
        """discord.py does not tell whether a wait that it hands on is for the whole bot."""
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS and answer.is_global:
            until = asyncio.get_running_loop().time() + answer.retry_after()
            self._for_all_until = max(self._for_all_until, until)

    def _scope(self) -> Literal["lane", "bot"]:
        return "bot" if asyncio.get_running_loop().time() < self._for_all_until else "lane"

    def _translated(self, failure: discord.HTTPException) -> SendError:
        detail = redact(f"{failure.status} (code {failure.code}): {failure.text}", self._token)
        response: Any = failure.response
        wait = response.retry_after()
        if isinstance(failure, discord.DiscordServerError):
            return Unsure(detail)
        if failure.status == HTTPStatus.UNAUTHORIZED:
            return ChannelDown(f"Discord does not know this token: {detail}")
        if failure.status == HTTPStatus.TOO_MANY_REQUESTS or wait:
            return RateLimited(detail, wait or 1.0, self._scope())
        if failure.code in _LATER:
            return Transient(detail)
        known = response.is_json and failure.status in (400, 403, 404)
        if known or failure.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Refused(detail)
        return Transient(detail)


class _Session:
    """What HTTPClient needs of aiohttp's ClientSession, on the shared transport."""

    def __init__(self, http: httpx.AsyncBaseTransport, saw: Callable[[_Answer], object]) -> None:
        self._http, self._saw = http, saw

    def request(self, method: str, url: str, **what: Any) -> _Exchange:
        headers = {**what["headers"], "Accept-Encoding": "identity"}
        content = what.get("data")
        if isinstance(content, Multipart):
            headers.update(content.headers)
            content = content.content()
        elif isinstance(content, str):
            content = content.encode()
        limits = {"connect": 5.0, "read": ANSWER_SECONDS, "write": 30.0, "pool": 5.0}
        return _Exchange(
            self._http,
            httpx.Request(
                method,
                url,
                params=what.get("params"),
                headers=headers,
                content=content,
                extensions={"timeout": limits},
            ),
            self._saw,
        )


class _Exchange:
    """One request; entered, it is its answer."""

    def __init__(
        self,
        http: httpx.AsyncBaseTransport,
        request: httpx.Request,
        saw: Callable[[_Answer], object],
    ) -> None:
        self._http, self._request, self._saw = http, request, saw

    async def __aenter__(self) -> _Answer:
        response = await self._http.handle_async_request(self._request)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise httpx.ReadError("the answer is too large")
        finally:
            await response.aclose()
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise httpx.ReadError(f"status {response.status_code}")
        answer = _Answer(response, bytes(body))
        self._saw(answer)
        return answer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The answer was read to its end."""


class _Answer:
    """An answer as HTTPClient reads it."""

    def __init__(self, response: httpx.Response, body: bytes) -> None:
        self.status = response.status_code
        self.reason = response.reason_phrase
        self.headers = response.headers
        self._body = body
        self.is_json = response.headers.get("content-type", "").startswith("application/json")
        if self.status >= HTTPStatus.MULTIPLE_CHOICES:
            self.is_json = self.is_json and self._object() is not None
        # discord.py knows JSON only without a charset
        self.headers["content-type"] = "application/json" if self.is_json else "text/plain"

    async def text(self, encoding: str) -> str:
        return self._body.decode(encoding, "replace")

    @property
    def is_global(self) -> bool:
        """Whether a 429 is for the whole bot."""
        scope = self.headers.get("X-RateLimit-Scope", "") == "global"
        return scope or (self._object() or {}).get("global") is True

    def retry_after(self) -> float:
        """Seconds to wait, by the body, else by the header; 0 where neither says."""
        said = (self._object() or {}).get("retry_after") or self.headers.get("Retry-After")
        try:
            return max(float(said or 0), 0.0)
        except (TypeError, ValueError):
            return 0.0

    def _object(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
