"""Every foreign error has its `AgentError`, and none is missed."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from types import ModuleType
from unittest.mock import Mock

import aiohttp
import httpx
import httpx_aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from gateway.agents import base
from gateway.agents.base import AgentError, Target
from gateway.agents.client import AgentClient
from gateway.agents.http import FOREIGN, refusal, translate
from gateway.http import make_transport
from tests.agents.conftest import LIMITS, hear
from tests.fakes.agent import FakeAgent

HTTPX = {
    "HTTPError": "interrupted",
    "RequestError": "interrupted",
    "TransportError": "interrupted",
    "TimeoutException": "timeout_first",
    "ConnectTimeout": "unreachable",
    "ReadTimeout": "timeout_first",
    "WriteTimeout": "timeout_first",
    "PoolTimeout": "unreachable",
    "NetworkError": "interrupted",
    "ConnectError": "unreachable",
    "ReadError": "interrupted",
    "WriteError": "interrupted",
    "CloseError": "interrupted",
    "ProtocolError": "interrupted",
    "LocalProtocolError": "unreachable",
    "RemoteProtocolError": "interrupted",
    "ProxyError": "unreachable",
    "UnsupportedProtocol": "unreachable",
    "DecodingError": "malformed",
    "TooManyRedirects": "malformed",
    "HTTPStatusError": "status_5xx",
    "InvalidURL": "unreachable",
    "CookieConflict": "unreachable",
    "StreamError": "interrupted",
    "StreamConsumed": "interrupted",
    "StreamClosed": "interrupted",
    "ResponseNotRead": "interrupted",
    "RequestNotRead": "interrupted",
}
"""Each of httpx's exceptions with the code it gets. A new one fails the test until it has one."""

AIOHTTP: dict[Exception, tuple[str, bool]] = {
    aiohttp.ServerDisconnectedError(): ("interrupted", True),
    aiohttp.ClientConnectionError(): ("interrupted", True),
    aiohttp.ClientConnectionResetError(): ("interrupted", True),
    aiohttp.ClientOSError(104, "reset"): ("interrupted", True),
    aiohttp.ClientPayloadError(): ("interrupted", True),
    aiohttp.ClientConnectorError(Mock(), OSError(111, "refused")): ("unreachable", True),
    aiohttp.ClientConnectorDNSError(Mock(), OSError(-2, "no name")): ("unreachable", True),
    aiohttp.ConnectionTimeoutError(): ("unreachable", True),
    aiohttp.SocketTimeoutError(): ("timeout_first", True),
    aiohttp.InvalidURL("x"): ("unreachable", False),
    aiohttp.NonHttpUrlClientError("ftp://x"): ("unreachable", False),
    aiohttp.ClientResponseError(Mock(), ()): ("malformed", False),
}


def exceptions_of(module: ModuleType) -> Iterator[type[Exception]]:
    for _, value in inspect.getmembers(module, inspect.isclass):
        if issubclass(value, Exception) and not issubclass(value, Warning):
            yield value


def made(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://127.0.0.1/")
        response = httpx.Response(500, request=request)
        return httpx.HTTPStatusError("bad", request=request, response=response)
    return kind("x") if "message" in inspect.signature(kind).parameters else kind()


def test_every_exception_of_httpx_has_its_code() -> None:
    found = list(exceptions_of(httpx))
    assert {kind.__name__ for kind in found} == set(HTTPX)
    for kind in found:
        assert issubclass(kind, FOREIGN)
        assert translate(made(kind), heard=False).code == HTTPX[kind.__name__]


def test_every_exception_of_aiohttp_is_caught() -> None:
    for module in (client_exceptions, http_exceptions):
        for kind in exceptions_of(module):
            if kind.__module__.startswith("aiohttp") and not issubclass(kind, TypeError):
                assert issubclass(kind, FOREIGN), kind


@pytest.mark.parametrize("error", AIOHTTP, ids=lambda error: type(error).__name__)
async def test_own_type_decides_whatever_the_transport_makes_of_it(error: Exception) -> None:
    with pytest.raises(Exception) as caught, httpx_aiohttp.transport.map_aiohttp_exceptions():
        raise error
    found = translate(caught.value, heard=False)
    assert (found.code, found.retryable) == AIOHTTP[error]


def test_timeouts_know_whether_the_answer_had_begun() -> None:
    assert translate(httpx.ReadTimeout("x"), heard=True).code == "timeout_between"
    assert translate(TimeoutError(), heard=False).code == "timeout_first"


def test_certificate_errors_are_unreachable() -> None:
    error = aiohttp.ClientConnectorCertificateError(Mock(), ssl.SSLCertVerificationError("bad"))
    assert translate(error, heard=False).code == "unreachable"


@pytest.mark.parametrize("kind", FOREIGN + tuple(exceptions_of(httpx)), ids=lambda k: k.__name__)
@pytest.mark.parametrize("when", ["sending", "reading", "closing"])
async def test_no_other_error_leaves_the_client(kind: type[Exception], when: str) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            if when == "reading":
                raise simple(kind)
            yield b'{"content": "a"}'

        async def aclose(self) -> None:
            if when == "closing":
                raise simple(kind)

    def handle(_: httpx.Request) -> httpx.Response:
        if when == "sending":
            raise simple(kind)
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=Broken())

    client = AgentClient(httpx.MockTransport(handle), LIMITS)
    heard = await hear(client, Target("a", "http://127.0.0.1/rpc/message"))
    assert isinstance(heard.error, AgentError) or when == "closing"
    assert heard.error or heard.final


def simple(kind: type[Exception]) -> Exception:
    if kind is http_exceptions.HttpProcessingError:
        return http_exceptions.HttpProcessingError(message="x")
    return made(kind)


async def test_closed_transport_is_an_error_too(fake: FakeAgent) -> None:
    transport = make_transport()
    client = AgentClient(transport, LIMITS)
    assert (await hear(client, Target("a", fake.url))).final
    await client.aclose()
    await transport.aclose()
    assert (await hear(client, Target("a", fake.url))).code == "interrupted"


async def test_tls_where_there_is_none_is_unreachable(fake: FakeAgent, client: AgentClient) -> None:
    heard = await hear(client, Target("a", fake.url.replace("http:", "https:")))
    assert heard.code == "unreachable"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("", None), ("soon", None), ("-3", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_in_either_form(header: str, seconds: float | None) -> None:
    response = httpx.Response(429, headers={"retry-after": header} if header else {})
    assert refusal(response).retry_after == seconds


def test_documented_codes_are_those_that_exist() -> None:
    assert base.__doc__
    for code in {*HTTPX.values(), "timeout_between", "timeout_total", "too_large", "reported"}:
        assert code in base.__doc__ or code.startswith("status_")
