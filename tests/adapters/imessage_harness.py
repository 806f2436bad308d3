"""iMessage by a BlueBubbles server and its fake; the Mac's own way is in test_imessage_mac.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

from adapters.base import ChannelDown, RateLimited, Refused, Request, Transient, Unsure
from adapters.imessage import ImessageConfig
from tests.adapters.harness import Harness, Situation
from tests.fakes.bluebubbles import PASSWORD, SECRET, FakeBlueBubbles, message_from


def wrong(error: type[Any], **what: Any) -> Situation:
    """A send that ends with `error` because the server does `what`."""
    return error, lambda harness: harness.fake.fail("text", **what)


def said(status: int, message: str) -> dict[str, Any]:
    error = {"type": "Error", "message": message}
    return {"status": status, "body": json.dumps({"status": status, "error": error}).encode()}


def refuse(harness: Any) -> None:
    harness.fake.refused = 22


class ImessageHarness(Harness):
    """A fake BlueBubbles server."""

    secrets = (PASSWORD, SECRET, quote_plus(PASSWORD))
    chat_id = "iMessage;-;+15550000005"
    situations = {
        "flood, said by a proxy": wrong(RateLimited, retry_after=7),
        "no such chat": wrong(Refused, **said(404, "Chat does not exist!")),
        "a field is missing": wrong(Refused, **said(400, "The message field is mandatory")),
        "too large": wrong(Refused, status=413, body=b"<html>too large</html>"),
        "in flight already": wrong(Unsure, **said(400, "Message is already queued to be sent!")),
        "wrong password": wrong(ChannelDown, **said(401, "Unauthorized")),
        "a proxy's login page": wrong(Transient, status=302, body=b"<html>log in</html>"),
        "a proxy that wants a password": wrong(Transient, status=401, body=b"<html>who?</html>"),
        "a proxy's ban": wrong(Transient, status=403, body=b"<html>not you</html>"),
        "a tunnel without its end": wrong(Transient, status=404, body=b"<html>no tunnel</html>"),
        "a tunnel's own JSON": wrong(Transient, status=404, body=b'{"error": "no tunnel"}'),
        "a proxy's bad request": wrong(Transient, status=400, body=b""),
        "not delivered": (Refused, refuse),
        "internal error": wrong(Unsure, status=500),
        "bad gateway": wrong(Unsure, status=502, body=b"<html>bad gateway</html>"),
        "hung up before": wrong(Unsure, drop="before"),
        "hung up after": wrong(Unsure, drop="after"),
        "half an answer": wrong(Unsure, half=True),
        "not JSON": wrong(Unsure, status=200, body=b"<html>hello</html>"),
        "no data": wrong(Unsure, status=200, body=b'{"status":200}'),
        "failed all the same": wrong(
            Refused, status=200, body=b'{"data": {"guid": "x", "error": 22}}'
        ),
        "nested too deeply": wrong(Unsure, status=200, body=b"[" * 100_000),
    }
    unsupported = b'{"type": "typing-indicator", "data": {}}'
    unreadable = json.dumps(
        {"type": "new-message", "data": {"guid": "BB-7", "chats": [{"guid": 7}], "handle": {}}}
    ).encode()

    def __init__(self) -> None:
        self.fake = FakeBlueBubbles()

    async def __aenter__(self) -> ImessageHarness:
        await self.fake.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fake.__aexit__(*error)

    def config(self, **changes: Any) -> ImessageConfig:
        values = {
            "mode": "bluebubbles",
            "api_url": self.fake.url,
            "password": PASSWORD,
            "secret": SECRET,
        }
        return ImessageConfig(**{**values, **changes})

    def texts(self) -> list[str] | None:
        return self.fake.texts()

    def without_secret(self) -> ImessageConfig:
        return replace(self.config(), secret="")

    def delivery(self, text: str, number: int = 1) -> Request:
        message = message_from(number, text, 5, dateCreated=1_700_000_000_000)
        return self.signed(json.dumps({"type": "new-message", "data": message}).encode())

    def signed(self, body: bytes) -> Request:
        return Request("POST", {"content-type": "application/json"}, {"secret": SECRET}, body)

    def forged(self) -> Mapping[str, Request]:
        honest = self.delivery("hello")
        shown = {"wrong": SECRET[:-1] + "x", "empty": "", "longer": SECRET + "x", "odd": "é\udcff"}
        found = {what: replace(honest, query={"secret": value}) for what, value in shown.items()}
        return {**found, "missing": replace(honest, query={})}
