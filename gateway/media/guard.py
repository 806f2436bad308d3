"""The one way to fetch an address that somebody else chose.

Only http and https, only public addresses, whatever notation they come in: the
name is looked up once, every address it has is judged, and the connection goes
to exactly those. Redirects are followed by hand, each judged anew. Nothing of
ours goes along: no cookies, no credentials, no proxy from the environment.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

MAX_REDIRECTS = 3
CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
PIECE_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Blocked(Exception):
    """An address that must not be fetched. The text is safe to show."""


class NotFetched(Exception):
    """The address did not give the file. The text is safe to show."""


class Fetcher:
    """Fetches from the public internet, and from one trusted origin if a call names it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context

    async def fetch(self, url: str, trusted: str = "") -> AsyncIterator[bytes]:
        """The bytes at `url`. Raises `Blocked` or `NotFetched`.

        `trusted` is an origin (scheme, host and port) that may lie in a private network. Nobody
        else leads there: a redirect to it counts only where all before it were its own.
        """
        for _ in range(MAX_REDIRECTS + 1):
            trusted = trusted if origin(url) == trusted else ""
            check(url, trusted)
            resolver = _Pinned(free=bool(trusted))
            connector = aiohttp.TCPConnector(
                resolver=resolver,
                use_dns_cache=False,
                ssl=self._context if self._context is not None else True,
            )
            async with aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
            ) as session:
                try:
                    async with session.get(
                        url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
                    ) as response:
                        if response.status in _REDIRECTS:
                            url = urljoin(url, response.headers.get("Location", ""))
                            continue
                        if response.status != 200:
                            raise NotFetched(f"the address answered {response.status}")
                        async for piece in response.content.iter_chunked(PIECE_BYTES):
                            yield piece
                        return
                except Blocked:
                    raise
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failure:
                    if isinstance(cause := _blocked(failure), Blocked):
                        raise cause from None
                    raise NotFetched(f"not fetched: {type(failure).__name__}") from None
        raise NotFetched("too many redirects")


def origin(url: str) -> str:
    """Scheme, host and port; empty where the URL has none that can be fetched."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname else ""


def check(url: str, trusted: str = "") -> None:
    """What can be judged without a look-up. Raises `Blocked`."""
    found = origin(url)
    if not found:
        raise Blocked("only http and https addresses are fetched")
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise Blocked("addresses with a password are not fetched")
    if trusted and found == trusted:
        return
    try:  # the host as it is called: characters that only look like digits become digits
        address = ipaddress.ip_address((URL(url).raw_host or "").rstrip("."))
    except ValueError:
        return  # a name, or a number in some notation: the resolver judges what it means
    if not is_public(address):
        raise Blocked("addresses within a private network are not fetched")


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is out on the internet; also what hides within IPv6 is judged."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None or (inner is not None and not is_public(inner)):
            return False
        if inner is not None:
            return True
        if address.is_site_local:  # what private networks used before fc00::/7
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class _Pinned(AbstractResolver):
    """Looks a name up once; aiohttp connects to what is returned here and to nothing else."""

    def __init__(self, *, free: bool) -> None:
        self._free = free

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found: list[ResolveResult] = []
        for kind, _, proto, _, where in infos:
            text = str(where[0]).partition("%")[0]
            if not self._free and not is_public(ipaddress.ip_address(text)):
                raise Blocked("addresses within a private network are not fetched")
            result: Any = {
                "hostname": host,
                "host": text,
                "port": port,
                "family": kind,
                "proto": proto,
                "flags": socket.AI_NUMERICHOST,
            }
            found.append(result)
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _blocked(failure: BaseException | None) -> BaseException | None:
    """The `Blocked` below an error of aiohttp's, which wraps what a resolver raises."""
    while failure is not None and not isinstance(failure, Blocked):
        failure = failure.__cause__ or failure.__context__
    return failure
