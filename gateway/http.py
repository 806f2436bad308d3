"""The process's one HTTP transport, for agents and platforms alike."""

from __future__ import annotations

import ssl

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport


def make_transport() -> httpx.AsyncBaseTransport:
    """A transport on aiohttp's connections: any number at once, no cookies, no environment.

    May be called before the loop runs; connections belong to the loop of the
    first request. Close it with `aclose`.
    """
    context = make_trust()
    return AiohttpTransport(verify=context, trust_env=False, client=lambda: _session(context))


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def make_trust() -> ssl.SSLContext:
    """The usual certificate authorities, and the system's: an operator's own may be among them."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
