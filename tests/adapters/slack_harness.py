"""Slack and its fake."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.base import ChannelDown, RateLimited, Refused, Request, Transient, Unsure
from adapters.slack import SlackConfig
from tests.adapters.harness import Harness, Situation
from tests.fakes.slack import SIGNING_SECRET, TOKEN, FakeSlack, callback, signed


def wrong(error: type[Any], **what: Any) -> Situation:
    """A send that ends with `error` because Slack does `what`."""
    return error, lambda harness: harness.fake.fail("chat.postMessage", **what)


def named(name: str) -> dict[str, Any]:
    return {"status": 200, "body": json.dumps({"ok": False, "error": name}).encode()}


class SlackHarness(Harness):
    """A fake workspace with one bot."""

    secrets = (TOKEN, SIGNING_SECRET)
    empty_problems = {"token", "signing_secret", "public_url"}
    chat_id = "D5"
    situations = {
        "flood": wrong(RateLimited, retry_after=7),
        "flood, said by a proxy": wrong(RateLimited, status=429, body=b"slow down"),
        "flood, without a wait": wrong(RateLimited, **named("ratelimited")),
        **{
            name: wrong(Refused, **named(name))
            for name in (
                "channel_not_found",
                "not_in_channel",
                "is_archived",
                "msg_too_long",
                "no_text",
                "invalid_blocks",
                "restricted_action",
                "cannot_dm_bot",
                "an_error_of_the_future",
            )
        },
        "too large": wrong(Refused, status=413, body=b"<html>too large</html>"),
        **{
            name: wrong(ChannelDown, **named(name))
            for name in ("invalid_auth", "token_revoked", "account_inactive", "missing_scope")
        },
        "unauthorized": wrong(ChannelDown, status=401, body=b""),
        **{
            name: wrong(Unsure, **named(name))
            for name in ("internal_error", "fatal_error", "request_timeout", "service_unavailable")
        },
        "a proxy's login page": wrong(Transient, status=302, body=b"<html>log in</html>"),
        "internal error": wrong(Unsure, status=500),
        "bad gateway": wrong(Unsure, status=502, body=b"<html>bad gateway</html>"),
        "hung up before": wrong(Unsure, drop="before"),
        "hung up after": wrong(Unsure, drop="after"),
        "half an answer": wrong(Unsure, half=True),
        "not JSON": wrong(Unsure, status=200, body=b"<html>hello</html>"),
        "no ts": wrong(Unsure, status=200, body=b'{"ok":true}'),
        "nested too deeply": wrong(Unsure, status=200, body=b"[" * 100_000),
    }
    unsupported = callback({"type": "team_join", "user": {"id": "U1"}})
    unreadable = callback({"type": "message", "channel": 5, "ts": "1.0", "user": "U1"}, "Ev7")

    def __init__(self) -> None:
        self.fake = FakeSlack()

    async def __aenter__(self) -> SlackHarness:
        await self.fake.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fake.__aexit__(*error)

    def config(self, **changes: Any) -> SlackConfig:
        values = {
            "token": TOKEN,
            "signing_secret": SIGNING_SECRET,
            "api_url": f"{self.fake.url}/api",
        }
        return SlackConfig(**{**values, **changes})

    def texts(self) -> list[str] | None:
        return self.fake.texts()

    def without_secret(self) -> SlackConfig:
        return replace(self.config(), signing_secret="")

    def delivery(self, text: str, number: int = 1) -> Request:
        event = {
            "type": "message",
            "channel": "D5",
            "channel_type": "im",
            "user": "U5",
            "text": text,
            "ts": f"1700000000.{number:06d}",
        }
        return self.signed(callback(event))

    def signed(self, body: bytes, **more: Any) -> Request:
        headers = {name.lower(): value for name, value in signed(body, **more).items()}
        return Request("POST", headers, {}, body)

    def forged(self) -> Mapping[str, Request]:
        honest = self.delivery("hello")
        shown = honest.headers["x-slack-signature"]
        stamp = honest.headers["x-slack-request-timestamp"]
        stamps = {"no number": "soon", "not ASCII": "١٢", "huge": "9" * 30, "negative": "-1"}
        found = {
            "wrong": self._with(honest, signature=shown[:-1] + "zz"),
            "empty": self._with(honest, signature=""),
            "without its version": self._with(honest, signature=shown.removeprefix("v0=")),
            "with another secret": self.signed(honest.body, secret="another"),
            "replayed after five minutes": self.signed(honest.body, at=time.time() - 400),
            "from the future": self.signed(honest.body, at=time.time() + 400),
            "another time": self._with(honest, stamp=str(int(stamp) - 1)),
            "missing": replace(honest, headers={}),
            "one byte altered": replace(honest, body=honest.body.replace(b"hello", b"hellp")),
        }
        return {
            **found,
            **{what: self._with(honest, stamp=value) for what, value in stamps.items()},
        }

    @staticmethod
    def _with(honest: Request, signature: str | None = None, stamp: str | None = None) -> Request:
        headers = dict(honest.headers)
        if signature is not None:
            headers["x-slack-signature"] = signature
        if stamp is not None:
            headers["x-slack-request-timestamp"] = stamp
        return replace(honest, headers=headers)
