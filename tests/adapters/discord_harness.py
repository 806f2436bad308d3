"""Discord and its fake."""

from __future__ import annotations

from typing import Any

from adapters.base import ChannelDown, RateLimited, Refused, Transient, Unsure
from adapters.discord import DiscordConfig
from tests.adapters.harness import Harness, Situation
from tests.fakes._discord_parts import direct_chat
from tests.fakes.discord import FakeDiscord

TOKEN = "FAKE-id.FAKE-t.FAKE-token-for-tests-only"


def wrong(error: type[Any], **what: Any) -> Situation:
    """A send that ends with `error` because Discord does `what`."""
    return error, lambda harness: harness.fake.fail("send", **what)


def code(error: type[Any], status: int, number: int) -> Situation:
    return wrong(error, status=status, code=number, message="no")


PAGE = b"<html>attention required</html>"


class DiscordHarness(Harness):
    """A fake Discord that knows one token."""

    secrets = (TOKEN,)
    empty_problems = {"token"}
    chat_id = direct_chat(5)
    situations = {
        "a long wait": wrong(RateLimited, retry_after=45.5),
        "a long wait for all": wrong(RateLimited, retry_after=45.5, is_global=True),
        "banned for a while": wrong(RateLimited, retry_after=7.25, banned=True),
        "banned with a page": wrong(
            RateLimited, status=429, body=b"error code: 1015", content_type="text/plain"
        ),
        "slow mode": wrong(
            RateLimited,
            status=400,
            body=b'{"message": "slowmode", "code": 20016, "retry_after": 3.5}',
        ),
        "slow mode, no wait": code(Transient, 400, 20016),
        "write limit of the channel": code(Transient, 403, 20028),
        "too many direct chats": code(Transient, 400, 40003),
        "unknown channel": code(Refused, 404, 10003),
        "unknown user": code(Refused, 404, 10013),
        "no access": code(Refused, 403, 50001),
        "cannot write to this person": code(Refused, 403, 50007),
        "empty": code(Refused, 400, 50006),
        "no permission": code(Refused, 403, 50013),
        "invalid": code(Refused, 400, 50035),
        "too large": code(Refused, 413, 40005),
        "too large, says a proxy": wrong(Refused, status=413, body=PAGE, content_type="text/html"),
        "automod": code(Refused, 400, 200000),
        "token revoked": code(ChannelDown, 401, 0),
        "a proxy's login page": wrong(Transient, status=302, body=PAGE, content_type="text/html"),
        "a proxy's ban": wrong(Transient, status=403, body=PAGE, content_type="text/html"),
        "a proxy's time-out": wrong(Transient, status=408, body=b""),
        "internal error": wrong(Unsure, status=500),
        "bad gateway": wrong(Unsure, status=502, body=PAGE, content_type="text/html"),
        "unavailable": wrong(Unsure, status=503),
        "hung up before": wrong(Unsure, drop="before"),
        "hung up after": wrong(Unsure, drop="after"),
        "half an answer": wrong(Unsure, half=True),
        "not JSON": wrong(Unsure, status=200, body=b"<html>"),
        "a page": wrong(Unsure, status=200, body=PAGE, content_type="text/html"),
        "a list": wrong(Unsure, status=200, body=b"[1]"),
        "no message id": wrong(Unsure, status=200, body=b'{"content": "x"}'),
        "nested too deeply": wrong(Unsure, status=200, body=b"[" * 100_000),
        "errors of another shape": wrong(
            Refused, status=400, body=b'{"code": 50035, "message": "x", "errors": {"a": {"b": {}}}}'
        ),
    }

    def __init__(self) -> None:
        self.fake = FakeDiscord(token=TOKEN)
        self.fake.direct(5)

    async def __aenter__(self) -> DiscordHarness:
        await self.fake.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.fake.__aexit__(*error)

    def config(self, **changes: Any) -> DiscordConfig:
        mine = {"token": TOKEN, "api_url": self.fake.url, "gateway_url": self.fake.gateway_url}
        return DiscordConfig(**{**mine, **changes})

    def texts(self) -> list[str] | None:
        return self.fake.texts()
