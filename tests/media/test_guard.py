"""The guarded fetcher: nothing within our walls can be reached by an address somebody chose."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import pytest

from gateway.media.guard import Blocked, Fetcher, NotFetched, check, is_public, origin
from gateway.media.store import Store, TooLarge
from tests.media.conftest import MEGABYTE, Web


async def fetched(url: str, trusted: str = "") -> bytes:
    return b"".join([piece async for piece in Fetcher().fetch(url, trusted)])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "224.0.0.1",
        "255.255.255.255",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
    ],
)
async def test_private_addresses_are_blocked_in_every_notation(
    host: str, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        """As the C library reads numbers."""
        try:
            found = socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
        except OSError:
            found = {"localhost": "127.0.0.1"}[host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    port = site.origin.rpartition(":")[2]
    site.pages["/x"] = b"secret"
    with pytest.raises((Blocked, NotFetched)):
        await fetched(f"http://{host}:{port}/x")
    assert site.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/x",
        "gopher://example.com",
        "//example.com/x",
        "/x",
        "",
        "http://",
        "http://user:word@example.com/x",
        "http://user@example.com/x",
        "http://example.com:99999/x",
        "javascript:alert(1)",
    ],
)
async def test_only_plain_web_addresses_are_fetched(url: str) -> None:
    with pytest.raises(Blocked):
        await fetched(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),
        ("64:ff9b::a00:1", False),
        ("2002:808:808::1", True),
        ("2002:c0a8:101::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("0.0.0.0", False),
        ("192.0.2.1", False),
        ("240.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_addresses_are_judged_by_what_they_reach(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


async def test_the_agents_own_origin_may_be_private_and_only_that(site: Web) -> None:
    site.pages["/x.png"] = b"picture"
    trusted = origin(site.origin)
    assert await fetched(f"{site.origin}/x.png", trusted) == b"picture"
    other = f"http://localhost:{site.origin.rpartition(':')[2]}/x.png"
    with pytest.raises(Blocked):
        await fetched(other, trusted)


async def test_a_redirect_is_judged_anew(site: Web) -> None:
    trusted = origin(site.origin)
    port = site.origin.rpartition(":")[2]
    site.pages["/a"] = (302, {"Location": "/b"}, b"")
    site.pages["/b"] = b"there"
    site.pages["/away"] = (307, {"Location": f"http://localhost:{port}/b"}, b"")
    site.pages["/file"] = (301, {"Location": "file:///etc/passwd"}, b"")
    site.pages["/round"] = (302, {"Location": "/round"}, b"")
    site.pages["/nowhere"] = (302, {}, b"")
    assert await fetched(f"{site.origin}/a", trusted) == b"there"
    for path in ("/away", "/file"):
        with pytest.raises(Blocked):
            await fetched(f"{site.origin}{path}", trusted)
    for path in ("/round", "/nowhere"):
        with pytest.raises(NotFetched, match="redirects"):
            await fetched(f"{site.origin}{path}", trusted)


async def test_nobody_else_leads_to_the_agents_own_origin(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(site.origin.rpartition(":")[2])
    where = {"outer.example.com": "127.0.0.1", "inner.example.com": "127.0.0.2"}
    site.pages["/x"] = (302, {"Location": f"http://inner.example.com:{port}/secret"}, b"")

    async def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where[host], port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr("gateway.media.guard.is_public", lambda at: str(at) == "127.0.0.1")
    with pytest.raises(Blocked):
        await fetched(f"http://outer.example.com:{port}/x", f"http://inner.example.com:{port}")
    assert len(site.asked) == 1


async def test_the_name_is_looked_up_once_and_what_it_said_is_used(
    site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: a name that is public when it is judged and private when it is called."""
    port = int(site.origin.rpartition(":")[2])
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    answers = [["93.184.216.34", "127.0.0.1"], ["127.0.0.1"]]

    async def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        found = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    with pytest.raises(Blocked):
        await fetched(f"http://rebound.example.com:{port}/x")
    assert asked == ["rebound.example.com"]
    assert site.asked == []


async def test_nothing_of_ours_goes_along(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    site.pages["/x"] = (200, {"Set-Cookie": "a=b"}, b"x")
    for _ in range(2):
        assert await fetched(f"{site.origin}/x", origin(site.origin)) == b"x"
    for request in site.asked:
        assert not {"cookie", "authorization", "referer"} & {key.lower() for key in request.headers}


async def test_what_goes_wrong_is_told_without_details(site: Web) -> None:
    trusted = origin(site.origin)
    with pytest.raises(NotFetched, match="404"):
        await fetched(f"{site.origin}/missing", trusted)
    with pytest.raises(NotFetched):
        await fetched("http://127.0.0.1:1/x", origin("http://127.0.0.1:1"))


async def test_a_flood_ends_at_the_cap(site: Web, store: Store) -> None:
    site.pages["/x"] = bytes(MEGABYTE + 1)
    with pytest.raises(TooLarge):
        await store.keep(Fetcher().fetch(f"{site.origin}/x", origin(site.origin)))


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://Example.com/x?y") == "https://example.com:443"
    assert origin("http://example.com:80") == origin("http://example.com/")
    assert origin("mailto:a@example.com") == ""
    check("http://agent.internal:9000/x", "http://agent.internal:9000")
