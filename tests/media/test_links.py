"""Links to files: signed, ending, and answered in pieces with nothing that a browser would run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.media.links import Links, path_of, read
from gateway.media.serve import serve
from gateway.media.store import Store
from sessions_app import clock
from tests.media.conftest import pieces
from tests.media.test_store import PNG, SVG

BASE = "https://example.com"


async def asked(store: Store, url: str, method: str = "GET", span: str = "") -> dict[str, Any]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    parts = urlsplit(url)
    headers = [(b"range", span.encode())] if span else []
    scope = {
        "method": method,
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": headers,
    }
    await serve(store, scope, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    given = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return {"status": sent[0]["status"], "headers": given, "body": body}


async def test_a_link_gives_the_file_and_how_it_may_be_shown(store: Store) -> None:
    stored = await store.keep(pieces(PNG))
    url = Links(BASE, 60).to(stored.path, "my cat.png")
    assert url.startswith(f"{BASE}/media/{stored.path}/my%20cat.png?")
    answer = await asked(store, url)
    assert (answer["status"], answer["body"]) == (200, PNG)
    headers = answer["headers"]
    assert headers["content-type"] == "image/png"
    assert headers["content-length"] == str(len(PNG))
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-disposition"].startswith("inline")


async def test_what_could_run_in_a_browser_is_saved_instead(store: Store) -> None:
    for content in (SVG, b"<!DOCTYPE html><script>x</script>", b"%PDF-1.7\n" + bytes(30)):
        stored = await store.keep(pieces(content), "image", "image/png")
        answer = await asked(store, Links(BASE, 60).to(stored.path, "x.html"))
        assert answer["headers"]["content-type"] == "application/octet-stream"
        assert answer["headers"]["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("span", "status", "body", "told"),
    [
        ("bytes=0-3", 206, PNG[:4], f"bytes 0-3/{len(PNG)}"),
        ("bytes=4-", 206, PNG[4:], f"bytes 4-{len(PNG) - 1}/{len(PNG)}"),
        ("bytes=-5", 206, PNG[-5:], f"bytes {len(PNG) - 5}-{len(PNG) - 1}/{len(PNG)}"),
        ("bytes=0-99999", 206, PNG, f"bytes 0-{len(PNG) - 1}/{len(PNG)}"),
        ("bytes=9999-", 416, b"", f"bytes */{len(PNG)}"),
        ("bytes=5-2", 416, b"", f"bytes */{len(PNG)}"),
        ("bytes=0-1,4-5", 200, PNG, ""),
        ("bytes=-", 200, PNG, ""),
        ("lines=1-2", 200, PNG, ""),
    ],
)
async def test_a_part_of_a_file_can_be_asked_for(
    store: Store, span: str, status: int, body: bytes, told: str
) -> None:
    stored = await store.keep(pieces(PNG))
    answer = await asked(store, Links(BASE, 60).to(stored.path), span=span)
    assert (answer["status"], answer["body"]) == (status, body)
    assert answer["headers"].get("content-range", "") == told


async def test_head_tells_without_giving(store: Store) -> None:
    stored = await store.keep(pieces(PNG))
    url = Links(BASE, 60).to(stored.path)
    answer = await asked(store, url, "HEAD")
    assert (answer["status"], answer["body"]) == (200, b"")
    assert answer["headers"]["content-length"] == str(len(PNG))
    assert (await asked(store, url, "POST"))["status"] == 405


async def test_a_link_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await store.keep(pieces(PNG))
    url = Links(BASE, 3600).to(stored.path)
    assert path_of(url) == stored.path
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=3700))
    assert path_of(url) is None
    assert (await asked(store, url))["status"] == 410


async def test_a_link_that_was_tampered_with_gives_nothing(store: Store) -> None:
    one, other = await store.keep(pieces(PNG)), await store.keep(pieces(b"other"))
    url = Links(BASE, 60).to(one.path)
    query = urlsplit(url).query
    until, by = query.split("&")
    later = f"until={int(until[6:]) + 1}"
    for path, said, status in (
        (other.path, query, 403),
        (one.path, f"{later}&{by}", 403),
        (one.path, until, 403),
        (one.path, by, 403),
        (one.path, f"{until}&by=", 403),
        (one.path, f"{until}&by={'0' * 40}", 403),
        (one.path, f"{until}&by=é%ff", 403),
        (one.path, f"until=x&{by}", 403),
        (one.path, "", 403),
    ):
        answer = await asked(store, f"{BASE}/media/{path}?{said}")
        assert answer["status"] == status, said
        assert PNG not in answer["body"]
    for path in ("../secret_key", "x", one.path + "/a/b", "%2e%2e/" + one.path):
        assert read(f"/media/{path}", query) == 404
    store.remove(one.path)
    assert (await asked(store, url))["status"] == 404


def test_a_name_in_a_link_cannot_break_it() -> None:
    url = Links(BASE, 60).to("a" * 32 + ".png", 'a/../b?c#d"\r\n.png')
    parts = urlsplit(url)
    assert parts.path.count("/") == 3
    assert path_of(url) == "a" * 32 + ".png"
