"""JSON over HTTP on the shared transport: one call, one answer, errors as ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from adapters._http import Multipart, failed_send
from adapters._text import clean
from adapters.base import Malformed, RateLimited, Refused, Transient, Unsure

ANSWER_SECONDS = 20.0
UPLOAD_SECONDS = 50.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform answered. `data` is None where that is no JSON object."""

    status: int
    headers: httpx.Headers
    data: dict[str, Any] | None

    @property
    def retry_after(self) -> float:
        """The wait it asks for, in seconds; 0 where it names none."""
        return seconds(self.headers.get("Retry-After", ""))


class Rest:
    """Calls of one platform. `secrets` are kept out of every error."""

    def __init__(self, http: httpx.AsyncBaseTransport, *secrets: str) -> None:
        self._http, self._secrets = http, secrets

    async def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        data: Any = None,
        body: Multipart | None = None,
        content: AsyncIterator[bytes] | bytes | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """One call with `data` as JSON, a multipart `body`, or raw `content`.

        Raises `Transient` (certainly not sent) or `Unsure`, `from None`, because
        causes hold the URL, and URLs may hold secrets.
        """
        own: dict[str, str] = {"Accept-Encoding": "identity", **headers}
        if data is not None:
            content, own["Content-Type"] = encode(data), "application/json; charset=utf-8"
        elif body is not None:
            content, own = body.content(), own | body.headers
        limits = {"connect": 5.0, "read": seconds, "write": seconds, "pool": 5.0}
        try:
            request = httpx.Request(
                method, url, headers=own, content=content, extensions={"timeout": limits}
            )
            response = await self._http.handle_async_request(request)
            try:
                raw = await _read(response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise failed_send(failure, *self._secrets) from None
        return Answer(response.status_code, response.headers, _object(raw))

    async def fetch(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        """A file's bytes. Raises `Refused` where it is gone, else `Transient` or `RateLimited`."""
        limits = {"connect": 5.0, "read": ANSWER_SECONDS, "write": 10.0, "pool": 5.0}
        own = {"Accept-Encoding": "identity", **headers}
        try:
            request = httpx.Request("GET", url, headers=own, extensions={"timeout": limits})
            response = await self._http.handle_async_request(request)
            try:
                _check_file(response)
                async for piece in response.aiter_bytes():
                    yield piece
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise Transient(failed_send(failure, *self._secrets).detail) from None


def encode(data: Any) -> bytes:
    """JSON. Lone surrogates, which UTF-8 cannot carry, go out as escapes."""
    try:
        return orjson.dumps(data)
    except TypeError:
        return json.dumps(data).encode()


def decode(body: bytes) -> dict[str, Any]:
    """A webhook's JSON object. Raises `Malformed`. Lone surrogates pass only the slower parser."""
    found = _parsed(body)
    if not isinstance(found, dict):
        raise Malformed("not a JSON object")
    return found


def excerpt(value: Any, limit: int = 64 * 1024) -> str:
    """A payload as text for a person to look at."""
    try:
        return clean(json.dumps(value))[:limit]
    except (ValueError, RecursionError):
        return "(nested too deeply to be kept)"


def said(answer: Mapping[str, Any], key: str) -> str:
    """A text that the answer to a send has to hold. Raises `Unsure`."""
    found = answer.get(key)
    if not isinstance(found, str) or not found:
        raise Unsure(f"an answer without {key}")
    return found


def seconds(value: str) -> float:
    """A number of seconds as a header writes it; 0 where it is none."""
    try:
        found = float(value)
    except ValueError:
        return 0.0
    return found if 0 < found < 86_400 * 7 else 0.0


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Malformed("not JSON") from None


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = _parsed(raw)
    except Malformed:
        return None
    return found if isinstance(found, dict) else None


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise Unsure("the answer is too large")
    return bytes(body)


def _check_file(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    if status == 429:
        wait = seconds(response.headers.get("Retry-After", "")) or 1.0
        raise RateLimited("too many downloads", wait)
    if status in (401, 403, 404, 410, 413):
        raise Refused(f"the file cannot be had: status {status}")
    raise Transient(f"the file cannot be had now: status {status}")
