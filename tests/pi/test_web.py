"""The guarded fetcher: only the public internet, in whatever notation it is asked."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from pi.tools import ToolError
from pi.tools.web import MAX_BYTES, Address, Forbidden, Web, check, is_public

PRIVATE = [
    *(
        "http://127.0.0.1",
        "http://127.1",
        "http://127.0.1",
        "http://2130706433",
        "http://0x7f000001",
    ),
    *(
        "http://0x7f.0.0.1",
        "http://0177.0.0.1",
        "http://017700000001",
        "http://127.0.0.1.",
        "http://0",
    ),
    *(
        "http://0.0.0.0",
        "http://10.1.2.3",
        "http://172.16.0.1",
        "http://192.168.1.1",
        "http://192.0.0.1",
    ),
    *(
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1",
        "http://224.0.0.1",
        "http://255.1",
    ),
    *("http://[::1]", "http://[::]", "http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]"),
    "http://[fec0::1]",
    *("http://[64:ff9b::7f00:1]", "http://[2002:7f00:1::]", "http://[2001:0:7f00:1::1]"),
    *(
        "http://[fe80::1]",
        "http://[fc00::1]",
        "http://[ff02::1]",
        "http://localhost",
        "http://LOCALHOST.",
    ),
    *("http://a.localhost", "http://①②⑦.⓪.⓪.①", "http://127。0。0。1", "http://１２７.0.0.1"),
    *(
        "http://user:pw@example.com",
        "http://user@example.com",
        "ftp://example.com",
        "file:///etc/passwd",
    ),
    *("gopher://example.com", "javascript:alert(1)", "//example.com", "example.com", "http://", ""),
    *("http://[::1", "http://example.com:99999", "http://\u2024/"),
]


@pytest.mark.parametrize("url", PRIVATE)
async def test_no_notation_leads_inside(url: str) -> None:
    async def no_lookup(host: str) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(ToolError):
        await Web(lookup=no_lookup).fetch_page(url)


@pytest.mark.parametrize(
    "url", [url for url in PRIVATE if url.startswith("http://[") or "7" in url]
)
def test_numbers_are_judged_without_a_look_up(url: str) -> None:
    with pytest.raises(Forbidden):
        check(url)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["fd00::1"], []]
)
async def test_name_with_a_private_address_is_refused(answer: list[str]) -> None:
    async def lookup(host: str) -> list[str]:
        return answer

    with pytest.raises(Forbidden):
        await Web(lookup=lookup).fetch_page("http://example.com/")


class Site:
    """A site on 127.0.0.1, which these tests take for public; 127.0.0.2 is private."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        self.hosts: list[str] = []
        self.port = 0

    @staticmethod
    def allowed(address: Address) -> bool:
        return str(address) == "127.0.0.1"

    async def lookup(self, host: str) -> list[str]:
        self.hosts.append(host)
        return self.answers.pop(0) if self.answers else ["127.0.0.1"]

    async def fetch(self, path: str) -> str:
        fetcher = Web(self.allowed, self.lookup)
        return await fetcher.fetch_page(f"http://example.com:{self.port}{path}")


async def serve(request: web.Request) -> web.StreamResponse:
    local = request.transport.get_extra_info("sockname")[0] if request.transport else ""
    path = request.path
    if path == "/again":
        raise web.HTTPFound("/again")
    if path == "/inside":
        raise web.HTTPFound(f"http://127.0.0.2:{request.url.port}/")
    if path == "/by-name":
        raise web.HTTPFound(f"http://inside.example.com:{request.url.port}/")
    if path == "/once":
        raise web.HTTPSeeOther("/page")
    if path == "/file":
        raise web.HTTPFound("file:///etc/passwd")
    if path == "/large":
        return web.Response(text="x" * (MAX_BYTES + 1))
    if path == "/picture":
        return web.Response(body=b"\x89PNG", content_type="image/png")
    if path == "/missing":
        raise web.HTTPNotFound
    html = f"<title>Hello</title><script>evil()</script><p>from {local}</p><style>x{{}}</style>bye"
    return web.Response(text=html, content_type="text/html")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site = Site()
    site.port = runner.addresses[0][1]
    await web.TCPSite(runner, "127.0.0.2", site.port).start()
    yield site
    await runner.cleanup()


async def test_page_is_read_as_text(site: Site) -> None:
    assert await site.fetch("/page") == "Hello\nfrom 127.0.0.1\nbye"
    assert await site.fetch("/once") == "Hello\nfrom 127.0.0.1\nbye"


async def test_answer_of_the_name_server_that_changes_is_asked_once(site: Site) -> None:
    site.answers = [["127.0.0.1"], ["127.0.0.2"]]
    assert "from 127.0.0.1" in await site.fetch("/page")
    assert site.hosts == ["example.com"]
    with pytest.raises(Forbidden):
        await site.fetch("/page")


@pytest.mark.parametrize("path", ["/inside", "/by-name", "/file"])
async def test_redirect_inside_is_refused(site: Site, path: str) -> None:
    site.answers = [["127.0.0.1"], ["127.0.0.2"]]
    with pytest.raises(Forbidden):
        await site.fetch(path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/again", "too often"),
        ("/large", "larger"),
        ("/picture", "not text"),
        ("/missing", "status 404"),
    ],
)
async def test_what_cannot_be_read_is_said(site: Site, path: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        await site.fetch(path)


async def test_slow_page_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pi.tools.web.FETCH_SECONDS", 0.0)
    with pytest.raises(ToolError, match="too long"):
        await site.fetch("/page")
