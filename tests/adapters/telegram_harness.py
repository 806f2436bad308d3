"""Telegram and its fake Bot API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.base import (
    ChannelDown,
    RateLimited,
    Refused,
    Request,
    Transient,
    Unformatted,
    Unsure,
)
from adapters.telegram import TelegramConfig
from tests.adapters.harness import Harness, Situation
from tests.fakes.telegram import FakeTelegram

TOKEN = "123456789:FAKE-token-for-tests-only"
SECRET = "fake-secret_for-tests"
HEADER = "x-telegram-bot-api-secret-token"


def wrong(error: type[Any], **what: Any) -> Situation:
    """A send that ends with `error` because Telegram does `what`."""
    return error, lambda harness: harness.fake.fail("sendMessage", **what)


def bad_request(description: str) -> dict[str, Any]:
    return {"status": 400, "description": f"Bad Request: {description}"}


class TelegramHarness(Harness):
    """A fake Bot API that knows one token."""

    secrets = (TOKEN, SECRET, TOKEN.replace(":", "%3A"))
    empty_problems = {"token"}
    situations = {
        "flood": wrong(RateLimited, retry_after=7),
        "flood, said by a proxy": wrong(RateLimited, status=429, body=b"slow down"),
        "blocked": (Refused, lambda harness: harness.fake.block(5)),
        "kicked": wrong(Refused, status=403, description="Forbidden: bot was kicked"),
        "moved again and again": wrong(Refused, migrate_to=-1009, times=2),
        "chat not found": wrong(Refused, **bad_request("chat not found")),
        "thread not found": wrong(Refused, **bad_request("message thread not found")),
        "too long": wrong(Refused, **bad_request("message is too long")),
        "too large": wrong(Refused, status=413, body=b"<html>too large</html>"),
        "bad entities": wrong(Unformatted, **bad_request("can't parse entities: wrong offset")),
        "token revoked": wrong(ChannelDown, status=401, description="Unauthorized"),
        "token unknown": wrong(ChannelDown, status=404, description="Not Found"),
        "another poller": wrong(Transient, status=409, description="Conflict: terminated"),
        "a proxy's login page": wrong(Transient, status=302, body=b"<html>log in</html>"),
        "a proxy's time-out": wrong(Transient, status=408, body=b""),
        "internal error": wrong(Unsure, status=500),
        "bad gateway": wrong(Unsure, status=502, body=b"<html>bad gateway</html>"),
        "hung up before": wrong(Unsure, drop="before"),
        "hung up after": wrong(Unsure, drop="after"),
        "half an answer": wrong(Unsure, half=True),
        "not JSON": wrong(Unsure, status=200, body=b"<html>hello</html>"),
        "no result": wrong(Unsure, status=200, body=b'{"ok":true}'),
        "a list": wrong(Unsure, status=200, body=b"[1]"),
        "no message id": wrong(Unsure, status=200, body=b'{"ok":true,"result":{"text":"x"}}'),
        "nested too deeply": wrong(Unsure, status=200, body=b"[" * 100_000),
    }
    unsupported = b'{"update_id": 5, "poll_answer": {"poll_id": "1"}}'
    unreadable = b'{"update_id": 6, "message": {"message_id": "seven", "chat": 5}}'

    def __init__(self) -> None:
        self.fake = FakeTelegram(token=TOKEN)

    async def __aenter__(self) -> TelegramHarness:
        await self.fake.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fake.__aexit__(*error)

    def config(self, **changes: Any) -> TelegramConfig:
        return TelegramConfig(**{"token": TOKEN, "api_url": self.fake.url, **changes})

    def texts(self) -> list[str] | None:
        return self.fake.texts()

    def webhook_config(self) -> TelegramConfig:
        return self.config(mode="webhook", secret=SECRET)

    def without_secret(self) -> TelegramConfig:
        return replace(self.webhook_config(), secret="")

    def delivery(self, text: str, number: int = 1) -> Request:
        message = {
            "message_id": number,
            "from": {"id": 5, "is_bot": False, "first_name": "Ann"},
            "chat": {"id": 5, "type": "private"},
            "date": 1700000000,
            "text": text,
        }
        return self.signed(json.dumps({"update_id": 40 + number, "message": message}).encode())

    def signed(self, body: bytes) -> Request:
        return Request("POST", {HEADER: SECRET, "content-type": "application/json"}, {}, body)

    def forged(self) -> Mapping[str, Request]:
        honest = self.delivery("hello")
        shown = {
            "wrong": SECRET[:-1] + "X",
            "empty": "",
            "longer": SECRET + "x",
            "not ASCII": "sécret-\udcff-☃",
        }
        found = {what: replace(honest, headers={HEADER: value}) for what, value in shown.items()}
        return {**found, "missing": replace(honest, headers={})}
