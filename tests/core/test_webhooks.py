"""/webhooks/<channel>: size, then secret, then content, then the commit, then the answer."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from django.db import connection
from pytest_django import Settings

from adapters.base import (
    Forbidden,
    Inbound,
    Malformed,
    Rejected,
    Reply,
    Request,
    Unreadable,
    Unsupported,
)
from gateway import runtime as runtime_module
from gateway.models import SetAside
from gateway.webhooks import webhook
from sessions_app.sql import run
from tests.core.house import House
from tests.core.kit import CHANNEL, TestChat, inbound, texts

pytestmark = pytest.mark.usefixtures("agent")

SECRET = "not-a-real-secret"


class HookChat(TestChat):
    """A platform that calls us, with a secret in a header and messages as JSON."""

    calls: list[str]

    def handshake(self, request: Request) -> Reply | None:
        self.calls = ["handshake"]
        if request.method == "GET" and "challenge" in request.query:
            return Reply(200, request.query["challenge"].encode())
        return None

    def verify(self, request: Request) -> None:
        self.calls.append("verify")
        if request.headers.get("x-secret") != SECRET:
            raise Forbidden("secret missing or wrong")

    def parse(self, request: Request) -> list[Inbound | Rejected]:
        self.calls.append("parse")
        try:
            said = orjson.loads(request.body)
        except orjson.JSONDecodeError as error:
            raise Malformed("not JSON") from error
        if said == "poll":
            raise Unsupported("a poll")
        if said == "odd":
            raise Unreadable("no sender", "77")
        return [inbound(item["id"], item["text"]) for item in said]


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A gateway with one channel that is called and one that is not."""
    async with House(chat=HookChat()) as house:
        lines = {CHANNEL: house.line, "plain": SimpleNamespace(adapter=TestChat(), name="plain")}

        async def accept(channel: str, arrivals: Any) -> None:
            await house.write(*arrivals)

        fake = SimpleNamespace(lines=lines, accept=accept)
        monkeypatch.setattr(runtime_module, "_current", fake)
        house.line.opened = True
        yield house


async def call(
    body: bytes | list[bytes] = b"",
    *,
    method: str = "POST",
    channel: str = CHANNEL,
    secret: str | None = SECRET,
    query: bytes = b"",
    hang_up: bool = False,
) -> tuple[int, bytes]:
    """One request; (status, body of the answer)."""
    chunks = [body] if isinstance(body, bytes) else body
    events: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    if hang_up:
        events.append({"type": "http.disconnect"})
    else:
        events[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": method,
        "path": f"/webhooks/{channel}",
        "query_string": query,
        "headers": [(b"x-secret", secret.encode())] if secret is not None else [],
    }
    await webhook(scope, receive, send)
    start, rest = sent
    assert dict(start["headers"])[b"content-length"] == str(len(rest["body"])).encode()
    return start["status"], rest["body"]


def _said(*pairs: tuple[str, str]) -> bytes:
    return orjson.dumps([{"id": external_id, "text": text} for external_id, text in pairs])


async def test_a_message_is_committed_before_the_answer(house: House) -> None:
    assert await call(_said(("1", "a"))) == (200, b"")
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as other:
        rows = other.execute("SELECT text FROM sessions_app_message WHERE role = 'user'")
        assert rows.fetchall() == [("a",)]
    assert await house.said(1) == ["fine"]


async def test_a_body_in_pieces_is_put_together(house: House) -> None:
    body = _said(("1", "a"), ("2", "b"))
    assert (await call([body[:5], b"", body[5:]]))[0] == 200
    await house.said(1)
    assert [text for text in await house.read(texts) if text != "fine"] == ["a", "b"]


async def test_the_same_update_again_is_well_and_is_nothing_new(house: House) -> None:
    """OC 42681."""
    for _ in range(3):
        assert (await call(_said(("1", "a"))))[0] == 200
    assert await house.said(1) == ["fine"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_other_methods_are_405(house: House, method: str) -> None:
    assert (await call(method=method))[0] == 405


@pytest.mark.parametrize("channel", ["nobody", "plain", "", "../admin", f"{CHANNEL}/x"])
async def test_a_channel_that_takes_no_webhooks_is_404(house: House, channel: str) -> None:
    assert (await call(channel=channel))[0] == 404


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + " "])
async def test_without_the_secret_it_is_403_and_nothing_is_parsed(
    house: House, secret: str | None
) -> None:
    """A secret that is unset or wrong refuses; signatures before bodies are parsed."""
    assert (await call(_said(("1", "a")), secret=secret))[0] == 403
    assert house.chat.calls == ["handshake", "verify"]  # type: ignore[attr-defined]
    assert await house.read(texts) == []
    assert house.line.alive_at is None


async def test_a_large_body_is_413_and_is_not_kept(house: House, settings: Settings) -> None:
    """Limits before buffering."""
    settings.OPENCLAW_MAX_BODY_BYTES = 100
    assert (await call([b"x" * 60, b"x" * 60, b"never read"], secret=None))[0] == 413
    assert not hasattr(house.chat, "calls")
    assert (await call([b"[" + b" " * 49, b" " * 49 + b"]"]))[0] == 200


async def test_before_the_channel_was_opened_it_is_503(house: House) -> None:
    """The platform tries again; who we are is not known yet."""
    house.line.opened = False
    assert (await call(_said(("1", "a"))))[0] == 503
    assert (await call(_said(("1", "a")), secret="wrong"))[0] == 403
    assert await house.read(texts) == []


async def test_what_is_not_json_is_400(house: House) -> None:
    assert (await call(b"{"))[0] == 400


async def test_who_hangs_up_in_mid_body_is_not_heard(house: House) -> None:
    assert (await call([_said(("1", "a"))], hang_up=True))[0] == 400
    assert await house.read(texts) == []


async def test_what_is_not_for_us_is_200_and_a_sign_of_life(house: House) -> None:
    assert (await call(b'"poll"'))[0] == 200
    assert house.line.alive_at is not None
    assert house.line.last_inbound_at is None


@pytest.mark.parametrize(
    ("body", "reason", "external_id"),
    [(b'"odd"', "no sender", "77"), (b"[7]", "TypeError", ""), (b'[{"id": 1}]', "KeyError", "")],
)
async def test_what_cannot_be_understood_is_set_aside_and_200(
    house: House, body: bytes, reason: str, external_id: str
) -> None:
    """One poisoned update must not block the platform's queue for ever."""
    assert (await call(body))[0] == 200
    row = await house.read(SetAside.objects.get)
    assert (row.channel, row.reason, row.external_id) == (CHANNEL, reason, external_id)
    assert row.payload == body.decode()


async def test_a_handshake_is_answered_without_more(house: House) -> None:
    assert await call(method="GET", query=b"challenge=4%202", secret=None) == (200, b"4 2")
    assert house.chat.calls == ["handshake"]  # type: ignore[attr-defined]


async def test_a_database_that_cannot_take_it_is_503(house: House) -> None:
    """The platform tries again: a lost database is never answered with 200."""
    await house.ledger.call(lambda: run("PRAGMA busy_timeout = 20"), atomic=False)
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, body = await call(_said(("1", "a")))
        assert status == 503
        assert b"try again" in body
        other.execute("ROLLBACK")
    assert (await call(_said(("1", "a"))))[0] == 200
    assert await house.said(1) == ["fine"]
