"""Reading a page of the public internet, and nothing else. Off unless OPENCLAW_PI_WEB is on.

Only http and https, and only public addresses, in whatever notation they come:
a name is looked up once, every address it has is judged, and the connection
goes to exactly those. Redirects are followed by hand, each judged anew.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pi.tools import ToolError

FETCH_SECONDS = 15.0
MAX_BYTES = 1024 * 1024
MAX_REDIRECTS = 4
REDIRECTS = (301, 302, 303, 307, 308)
READABLE = re.compile(r"text/|application/(?:json|xml|xhtml\+xml|[\w.-]+\+(?:json|xml))\b")
PRIVATE = "I fetch only public addresses, and that is not one."

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Judge = Callable[[Address], bool]
Lookup = Callable[[str], Awaitable[list[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(ToolError):
    """An address that must not be fetched."""


def is_public(address: Address) -> bool:
    """Whether an address is out on the internet; also what hides within an IPv6 one is judged."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.teredo is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # fec0::/10, which Python takes for global
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def look_up(host: str) -> list[str]:
    """Every address a name has."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in infos))


class Web:
    """A tool. It raises `ToolError`."""

    def __init__(self, allowed: Judge = is_public, lookup: Lookup = look_up) -> None:
        self._allowed = allowed
        self._lookup = lookup

    async def fetch_page(self, url: str) -> str:
        """The text of a public web page.

        Args:
            url: its address, beginning with https:// or http://.
        """
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._follow(url.strip())
        except TimeoutError:
            raise ToolError("The page took too long.") from None

    async def _follow(self, url: str) -> str:
        for _ in range(MAX_REDIRECTS + 1):
            check(url, self._allowed)
            target, text = await self._get(url)
            if target is None:
                return text
            url = urljoin(url, target)
        raise ToolError("The page redirects too often.")

    async def _get(self, url: str) -> tuple[str | None, str]:
        """Where it redirects to, or else the text."""
        resolver = _Pinned(self._allowed, self._lookup)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        jar = aiohttp.DummyCookieJar()
        try:
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=jar, trust_env=False) as http,
                http.get(url, allow_redirects=False, headers={"Accept": "text/*"}) as response,
            ):
                if response.status in REDIRECTS:
                    return response.headers.get("Location", ""), ""
                return None, await _text(response)
        except ToolError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            if (cause := _forbidden(problem)) is not None:
                raise cause from None
            raise ToolError("The page cannot be reached.") from None


class _Pinned(AbstractResolver):
    """Looks a name up once; aiohttp connects to what is returned here and to nothing else."""

    def __init__(self, allowed: Judge, lookup: Lookup) -> None:
        self._allowed = allowed
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [ipaddress.ip_address(text) for text in await self._lookup(host)]
        if not found or not all(map(self._allowed, found)):
            raise Forbidden(PRIVATE)
        return [_result(host, port, address) for address in found]

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, port: int, address: Address) -> ResolveResult:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=family,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )


def check(url: str, allowed: Judge = is_public) -> None:
    """What can be judged without a look-up. Raises `Forbidden`."""
    try:
        parts = urlsplit(url)
        host, _ = URL(url).raw_host or "", parts.port
    except ValueError:
        raise Forbidden("That is not an address I can fetch.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Forbidden("I fetch only http and https addresses.")
    if parts.username is not None or parts.password is not None:
        raise Forbidden("I fetch no addresses with a password in them.")
    address = _as_number(host.rstrip(".").partition("%")[0])
    if host.rstrip(".").endswith("localhost") or (address and not allowed(address)):
        raise Forbidden(PRIVATE)


def _as_number(host: str) -> Address | None:
    """The address a host is in any notation of numbers; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f.1, 2130706433, 0177.1
    except OSError:
        return None


async def _text(response: aiohttp.ClientResponse) -> str:
    kind = response.headers.get("Content-Type", "").lower()
    if response.status != 200:
        raise ToolError(f"The page answered with status {response.status}.")
    if not READABLE.match(kind):
        raise ToolError("The page is not text.")
    body = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        body += piece
        if len(body) > MAX_BYTES:
            raise ToolError(f"The page is larger than {MAX_BYTES} bytes.")
    text = bytes(body).decode(_charset(response), "replace")
    return _readable(text) if "html" in kind else text


def _charset(response: aiohttp.ClientResponse) -> str:
    try:
        "".encode(response.charset or "utf-8")
    except LookupError:
        return "utf-8"
    return response.charset or "utf-8"


def _forbidden(problem: BaseException) -> Forbidden | None:
    seen: BaseException | None = problem
    while seen is not None:
        if isinstance(seen, Forbidden):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


class _Words(HTMLParser):
    """Gathers the words of a page, without scripts and styles."""

    SKIPPED = ("script", "style", "noscript", "template", "svg")
    BREAKS = ("p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "section", "article", "title")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A new line before a block."""
        self._skipping += tag in self.SKIPPED
        if tag in self.BREAKS:
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """The end of what is left out, and a new line after a block."""
        if tag in self.SKIPPED and self._skipping:
            self._skipping -= 1
        if tag in self.BREAKS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        """Words that are shown."""
        if not self._skipping:
            self.words.append(data)


def _readable(html: str) -> str:
    parser = _Words()
    parser.feed(html)
    lines = (" ".join(line.split()) for line in "".join(parser.words).split("\n"))
    return "\n".join(line for line in lines if line)
