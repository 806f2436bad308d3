"""Foreign errors to `AgentError`: the one place where they are translated.

Read from the type alone, never from the text. The transport wraps aiohttp's
errors in httpx's and is wrong about one of them: `ServerDisconnectedError` (the
server closed) becomes `ConnectTimeout`. So aiohttp's own type decides where
there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import httpx
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from gateway.agents.base import AgentError

FOREIGN: tuple[type[Exception], ...] = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    httpx.StreamError,
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,  # sockets, TLS and TimeoutError
    ValueError,  # headers and addresses that cannot be sent
    RuntimeError,  # aiohttp's word for a session or connection that is closed
)
"""Whatever a transport may raise."""

_RETRIED_STATUSES = {408, 425, 429}
_UNREACHABLE: tuple[type[BaseException], ...] = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
_UNSENDABLE: tuple[type[BaseException], ...] = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.CookieConflict,
    ValueError,
)
_NOT_HTTP: tuple[type[BaseException], ...] = (
    aiohttp.ClientResponseError,
    HttpProcessingError,
    httpx.DecodingError,
    httpx.TooManyRedirects,
)


def translate(error: Exception, *, heard: bool) -> AgentError:
    """`error`, one of `FOREIGN`, as an `AgentError`. `heard`: the answer had begun."""
    if isinstance(error, httpx.HTTPStatusError):
        return refusal(error.response)
    cause = _cause(error)
    detail = _first_line(cause) or type(cause).__name__
    if isinstance(cause, _UNREACHABLE):
        return AgentError("unreachable", detail, retryable=True)
    if isinstance(cause, (httpx.TimeoutException, TimeoutError)):
        return timed_out(heard=heard)
    if isinstance(cause, _UNSENDABLE):
        return AgentError("unreachable", f"cannot be called: {detail}")
    if isinstance(cause, _NOT_HTTP):
        return AgentError("malformed", f"not HTTP: {type(cause).__name__}")
    return AgentError("interrupted", f"connection lost: {detail}", retryable=True)


def timed_out(*, heard: bool) -> AgentError:
    """The error for silence, before the first event or after it."""
    if heard:
        return AgentError("timeout_between", "silent in mid-answer")
    return AgentError("timeout_first", "not a word in time", retryable=True)


def refusal(response: httpx.Response, body: bytes = b"") -> AgentError:
    """The error for an answer whose status is not 2xx; `body` is the beginning of it."""
    status = response.status_code
    reason = _reason(body)
    detail = f"HTTP {status}: {reason}" if reason else f"HTTP {status}"
    if 300 <= status < 400:
        return AgentError("malformed", f"{detail}, redirects are not followed")
    return AgentError(
        "status_5xx" if status >= 500 else "status_4xx",
        detail,
        retryable=status >= 500 or status in _RETRIED_STATUSES,
        retry_after=_retry_after(response.headers.get("retry-after", "")),
    )


def shortened(text: str) -> str:
    """`text` fit for an error's detail: one line, 300 characters."""
    return " ".join(text.split())[:300]


def _cause(error: BaseException) -> BaseException:
    """aiohttp's own error below `error`, else `error`."""
    for below in _chain(error):
        if isinstance(below, (aiohttp.ClientError, HttpProcessingError)):
            return below
    return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _first_line(error: BaseException) -> str:
    return shortened(str(error).partition("\n")[0])


def _reason(body: bytes) -> str:
    """What the agent says went wrong, from the usual fields of a JSON error.

    Nothing else of the body: frameworks echo the request there, and that is
    what somebody wrote to us in private.
    """
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = said.get("error", said) if isinstance(said, dict) else ""
    if isinstance(error, dict):
        error = error.get("message", error.get("detail", ""))
    return shortened(error) if isinstance(error, str) else ""


def _retry_after(value: str) -> float | None:
    """Seconds, from either form of `Retry-After` (RFC 9110, section 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
