"""The transport that all channels share; a fake Telegram and its adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import httpx
import httpx_aiohttp
import pytest

from adapters.telegram import TelegramAdapter, TelegramConfig
from tests.adapters.telegram_harness import TOKEN
from tests.fakes.telegram import FakeTelegram


@pytest.fixture
async def transport() -> AsyncIterator[httpx.AsyncBaseTransport]:
    """httpx on aiohttp, as the gateway has it. No adapter may close it."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield httpx_aiohttp.AiohttpTransport(client=session, verify=False)
        assert not session.closed, "an adapter closed the transport of all channels"


@pytest.fixture
async def fake() -> AsyncIterator[FakeTelegram]:
    """A Bot API that knows one token."""
    async with FakeTelegram(token=TOKEN) as running:
        yield running


@pytest.fixture
def adapter(fake: FakeTelegram, transport: httpx.AsyncBaseTransport) -> TelegramAdapter:
    """An adapter in polling mode, not yet opened."""
    return TelegramAdapter(TelegramConfig(token=TOKEN, api_url=fake.url), transport)
