"""WhatsApp and its fake Graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.base import ChannelDown, RateLimited, Refused, Request, Transient, Unsure
from adapters.whatsapp import WhatsappConfig
from tests.adapters.harness import Harness, Situation
from tests.fakes.whatsapp import (
    APP_SECRET,
    PNID,
    TOKEN,
    VERIFY_TOKEN,
    FakeWhatsapp,
    envelope,
    signed,
)


def wrong(error: type[Any], **what: Any) -> Situation:
    """A send that ends with `error` because Graph does `what`."""
    return error, lambda harness: harness.fake.fail("send", **what)


def code(number: int, status: int = 400, **more: Any) -> dict[str, Any]:
    error = {"message": f"(#{number}) no", "type": "OAuthException", "code": number, **more}
    return {"status": status, "body": json.dumps({"error": error}).encode()}


class WhatsappHarness(Harness):
    """A fake Graph that knows one number."""

    secrets = (TOKEN, APP_SECRET, VERIFY_TOKEN)
    empty_problems = {"token", "phone_number_id", "app_secret", "verify_token", "public_url"}
    chat_id = "15550001111"
    situations = {
        "flood": wrong(RateLimited, retry_after=7),
        "flood, said by a proxy": wrong(RateLimited, status=429, body=b"slow down"),
        "too many to one person": wrong(RateLimited, **code(131056)),
        "held as spam": wrong(RateLimited, **code(131048)),
        "undeliverable": wrong(Refused, **code(131026)),
        "bad parameter": wrong(Refused, **code(100)),
        "outside the window": (
            Refused,
            lambda harness: harness.fake.close_window(harness.chat_id),
        ),
        "a template is missing": wrong(Refused, **code(132001, 404)),
        "unknown to us": wrong(Refused, **code(139999)),
        "token revoked": wrong(ChannelDown, **code(190, 401)),
        "no permission": wrong(ChannelDown, **code(200, 403)),
        "account locked": wrong(ChannelDown, **code(131031)),
        "passing trouble": wrong(Transient, **code(131016)),
        "marked as passing": wrong(Transient, **code(139998, is_transient=True)),
        "a proxy's login page": wrong(Transient, status=302, body=b"<html>log in</html>"),
        "internal error": wrong(Unsure, status=500),
        "bad gateway": wrong(Unsure, status=502, body=b"<html>bad gateway</html>"),
        "hung up before": wrong(Unsure, drop="before"),
        "hung up after": wrong(Unsure, drop="after"),
        "half an answer": wrong(Unsure, half=True),
        "not JSON": wrong(Unsure, status=200, body=b"<html>hello</html>"),
        "no message id": wrong(Unsure, status=200, body=b'{"messages":[{}]}'),
        "nested too deeply": wrong(Unsure, status=200, body=b"[" * 100_000),
    }
    unsupported = envelope({"statuses": []})
    unreadable = envelope({"messages": [{"id": "wamid.X", "from": 5, "type": "text"}]})

    def __init__(self) -> None:
        self.fake = FakeWhatsapp()

    async def __aenter__(self) -> WhatsappHarness:
        await self.fake.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fake.__aexit__(*error)

    def config(self, **changes: Any) -> WhatsappConfig:
        values = {
            "token": TOKEN,
            "phone_number_id": PNID,
            "app_secret": APP_SECRET,
            "verify_token": VERIFY_TOKEN,
            "api_url": self.fake.url,
        }
        return WhatsappConfig(**{**values, **changes})

    def texts(self) -> list[str] | None:
        return self.fake.texts()

    def without_secret(self) -> WhatsappConfig:
        return replace(self.config(), app_secret="")

    def delivery(self, text: str, number: int = 1) -> Request:
        message = {
            "from": "15550001111",
            "id": f"wamid.{number}",
            "timestamp": "1700000000",
            "type": "text",
            "text": {"body": text},
        }
        return self.signed(envelope({"messages": [message]}))

    def signed(self, body: bytes) -> Request:
        headers = {name.lower(): value for name, value in signed(body).items()}
        return Request("POST", headers, {}, body)

    def forged(self) -> Mapping[str, Request]:
        honest = self.delivery("hello")
        shown = honest.headers["x-hub-signature-256"]
        headers = {
            "wrong": shown[:-1] + ("0" if shown[-1] != "0" else "1"),
            "empty": "",
            "without its prefix": shown.removeprefix("sha256="),
            "with another secret": signed(honest.body, "another")["X-Hub-Signature-256"],
            "with the verify token": signed(honest.body, VERIFY_TOKEN)["X-Hub-Signature-256"],
            "not ASCII": "sha256=é\udcff",
        }
        found = {
            what: replace(honest, headers={"x-hub-signature-256": value})
            for what, value in headers.items()
        }
        altered = replace(honest, body=honest.body.replace(b"hello", b"hellp"))
        return {**found, "missing": replace(honest, headers={}), "one byte altered": altered}
