"""Telegram's own: every kind of message, groups, opening, sending."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from adapters.base import (
    ChannelDown,
    Inbound,
    Outbound,
    Refused,
    Rejected,
    SendError,
    Transient,
    Unformatted,
    Unsupported,
    Watched,
)
from adapters.telegram import TelegramAdapter, TelegramConfig
from gateway.ledger.commands import MENU
from tests.adapters.telegram_harness import SECRET, TOKEN, TelegramHarness
from tests.fakes.telegram import FakeTelegram

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "telegram").glob("*.json"))
HOOK = "https://bot.example.com/webhooks/telegram"


# --- every kind of message ----------------------------------------------------


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
async def test_reads_each_kind_of_update(
    file: Path, adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    await adapter.open(None)
    case = json.loads(file.read_text())
    request = TelegramHarness().signed(json.dumps(case["update"]).encode())
    if case.get("ignored"):
        with pytest.raises(Unsupported):
            adapter.parse(request)
        return
    (found,) = adapter.parse(request)
    if case.get("set_aside"):
        assert isinstance(found, Rejected)
        assert found.external_id == f"update:{case['update']['update_id']}"
        assert json.loads(found.payload) == case["update"]
        return
    assert isinstance(found, Inbound)
    assert shown(found) == {**NEITHER, **case["inbound"]}


NEITHER = {
    "aliases": None,
    "passive": False,
    "quote": None,
    "forwarded": "",
    "album": "",
    "by_hand": False,
}
"""What most messages are not: fixtures name it where they are."""


def shown(inbound: Inbound) -> dict[str, Any]:
    at = inbound.sent_at.isoformat() if inbound.sent_at else None
    return {**asdict(inbound), "sent_at": at, "media": [asdict(item) for item in inbound.media]}


def test_every_sort_of_fixture_is_there() -> None:
    cases = [json.loads(file.read_text()) for file in FIXTURES]
    for sort, least in {"inbound": 30, "ignored": 10, "set_aside": 15}.items():
        assert sum(sort in case for case in cases) >= least


async def test_a_payload_set_aside_is_bounded(adapter: TelegramAdapter) -> None:
    update = {"update_id": 1, "message": {"text": "x" * 1_000_000}}
    (found,) = adapter.parse(TelegramHarness().signed(json.dumps(update).encode()))
    assert isinstance(found, Rejected)
    assert len(found.payload) <= 64 * 1024


async def test_knows_itself_by_its_token_before_telegram_was_asked(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    me = {"id": int(TOKEN.partition(":")[0]), "is_bot": True, "first_name": "Fake"}
    update = fake.say(5, "and then?", chat=-9, reply_to_message={"message_id": 1, "from": me})
    (found,) = adapter.parse(TelegramHarness().signed(json.dumps(update).encode()))
    assert isinstance(found, Inbound)
    assert found.addressed


# --- opening ------------------------------------------------------------------


async def test_polling_removes_the_webhook_and_keeps_what_waits(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    fake.say(5, "waiting")
    await adapter.open(None)
    (call,) = fake.called("deleteWebhook")
    assert "drop_pending_updates" not in call.params
    assert len(fake.pending) == 1


async def test_webhook_mode_registers_url_and_secret(
    fake: FakeTelegram, transport: httpx.AsyncBaseTransport
) -> None:
    config = TelegramConfig(token=TOKEN, secret=SECRET, mode="webhook", api_url=fake.url)
    adapter = TelegramAdapter(config, transport)
    assert not adapter.listens
    await adapter.open("http://127.0.0.1:1/webhooks/telegram")
    (call,) = fake.called("setWebhook")
    assert call.params["url"] == "http://127.0.0.1:1/webhooks/telegram"
    assert call.params["secret_token"] == SECRET
    assert call.params["allowed_updates"] == [
        "message",
        "edited_message",
        "callback_query",
        "message_reaction",
    ]
    assert "drop_pending_updates" not in call.params


@pytest.mark.parametrize(
    ("changes", "url"),
    [({"secret": ""}, HOOK), ({}, None), ({"api_url": "https://api.telegram.org"}, "http://x.org")],
    ids=["no secret", "no public URL", "no TLS for Telegram itself"],
)
async def test_webhook_mode_does_not_start_without(
    changes: dict[str, str], url: str | None, fake: FakeTelegram
) -> None:
    class Answering(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert request.url.path.endswith("/getMe")
            return httpx.Response(200, json={"ok": True, "result": {"id": 1, "username": "b"}})

    settings = {"token": TOKEN, "secret": SECRET, "mode": "webhook", "api_url": fake.url}
    adapter = TelegramAdapter(TelegramConfig(**{**settings, **changes}), Answering())
    with pytest.raises(ChannelDown):
        await adapter.open(url)


async def test_opening_fails_in_kind(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    for fault in ({"status": 500}, {"drop": "after"}, {"status": 200, "body": b"{}"}):
        fake.fail("getMe", **fault)
        with pytest.raises(Transient):
            await adapter.open(None)
    fake.fail("getMe", status=401, description="Unauthorized")
    with pytest.raises(ChannelDown):
        await adapter.open(None)
    await adapter.open(None)


async def test_a_webhook_that_telegram_cannot_reach_yet_is_tried_again(
    fake: FakeTelegram, transport: httpx.AsyncBaseTransport
) -> None:
    config = TelegramConfig(token=TOKEN, secret=SECRET, mode="webhook", api_url=fake.url)
    fake.fail("setWebhook", status=400, description="Bad Request: bad webhook: Failed to resolve")
    with pytest.raises(Transient, match="failed to resolve"):
        await TelegramAdapter(config, transport).open(HOOK)


@pytest.mark.parametrize(
    ("changes", "public_url", "slugs"),
    [
        ({}, "", set()),
        ({"token": "no-colon"}, "", {"token"}),
        ({"token": "12:with space"}, "", {"token"}),
        ({"mode": "carrier pigeon"}, "", {"mode"}),
        ({"mode": "webhook"}, HOOK, {"secret"}),
        ({"mode": "webhook", "secret": "not allowed!"}, HOOK, {"secret"}),
        ({"mode": "webhook", "secret": "x" * 257}, HOOK, {"secret"}),
        ({"mode": "webhook", "secret": "x" * 256}, HOOK, set()),
        ({"mode": "webhook", "secret": "x"}, "", {"public_url"}),
        ({"mode": "webhook", "secret": "x"}, "http://bot.example.com", {"public_url"}),
        ({"mode": "webhook", "secret": "x"}, "https://bot.example.com:8444", {"public_url"}),
        ({"mode": "webhook", "secret": "x"}, "https://bot.example.com:8443", set()),
        (
            {"mode": "webhook", "secret": "x", "api_url": "http://127.0.0.1:9"},
            "http://127.0.0.1:8000",
            set(),
        ),
    ],
)
def test_names_each_misconfiguration(
    changes: dict[str, str], public_url: str, slugs: set[str]
) -> None:
    config = TelegramConfig(**{"token": TOKEN, **changes})
    found = TelegramAdapter.problems(config, public_url)
    assert {problem.slug for problem in found} == slugs
    assert not any(value in str(found) for value in (TOKEN, "not allowed!", "no-colon"))


# --- sending ------------------------------------------------------------------


async def test_a_reply_quotes_in_its_thread(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    await adapter.send(Outbound("k", "-9", "hello", {"reply_to": 7, "thread": 3}))
    (sent,) = fake.sent
    assert sent.params["message_thread_id"] == "3"
    assert sent.params["reply_parameters"] == {
        "message_id": 7,
        "allow_sending_without_reply": True,
    }


async def test_follows_a_group_that_moved(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    fake.fail("sendMessage", chat=-9, migrate_to=-1009)
    receipt = await adapter.send(Outbound("k", "-9", "hello **you**", {"reply_to": 7}))
    assert receipt.chat_id == "-1009"
    assert fake.texts(-1009) == ["hello you"]
    assert "reply_parameters" not in fake.sent[0].params


async def test_a_group_that_moves_for_ever_is_refused(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    fake.fail("sendMessage", migrate_to=-1009, times=5)
    with pytest.raises(Refused):
        await adapter.send(Outbound("k", "-9", "hello"))
    assert len(fake.called("sendMessage")) == 2


async def test_where_it_is_barred_an_edit_and_a_typing_are_plainly_refused(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    for method in ("editMessageText", "sendChatAction"):
        fake.fail(method, status=403, description="Forbidden: bot was kicked")
    for work in (adapter.edit(Outbound("k", "-9", "hello"), "7"), adapter.typing("-9", {})):
        with pytest.raises(Refused, match="kicked") as caught:
            await work
        assert caught.type is Refused


async def test_only_formatted_text_can_be_refused_for_its_format(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    refusal = {"status": 400, "description": "Bad Request: can't parse entities: odd", "times": 3}
    fake.fail("sendMessage", **refusal)
    with pytest.raises(Unformatted):
        await adapter.send(Outbound("k", "5", "**bold**"))
    for text, plain in (("**bold**", True), ("nothing to format", False)):
        with pytest.raises(Refused):
            await adapter.send(Outbound("k", "5", text, plain=plain))


async def test_plain_text_goes_out_as_it_is(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    await adapter.send(Outbound("k", "5", "**bold** _x_", plain=True))
    assert fake.sent[0].text == "**bold** _x_"
    assert fake.sent[0].entities == []


async def test_what_grows_past_the_limit_goes_out_plain(
    adapter: TelegramAdapter, fake: FakeTelegram
) -> None:
    row = "| " + "w" * 60 + " | b |\n"
    table = "| a | b |\n|---|---|\n" + "| x | y |\n" * 380 + row
    assert len(table) < 4096
    await adapter.send(Outbound("k", "5", table))
    assert fake.texts(5) == [table]
    assert fake.sent[0].entities == []


async def test_an_error_that_names_the_url_keeps_the_token_to_itself() -> None:
    class TooFar(httpx.AsyncBaseTransport):
        """As httpx-aiohttp reports a connection that took too long, in aiohttp's words."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            late = aiohttp.ConnectionTimeoutError(f"Connection timeout to host {request.url}")
            raise httpx.ConnectTimeout(str(late)) from late

    adapter = TelegramAdapter(TelegramConfig(token=TOKEN), TooFar())
    with pytest.raises(Transient) as caught:
        await adapter.send(Outbound("k", "5", "hello"))
    told = "".join(traceback.format_exception(caught.value))
    assert "/bot[secret]/sendMessage" in told
    assert TOKEN not in told


async def test_typing_is_shown_in_the_thread(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    await adapter.typing("-9", {"thread": 3})
    (call,) = fake.called("sendChatAction")
    assert call.params == {"chat_id": "-9", "action": "typing", "message_thread_id": "3"}


# --- a webhook that nobody calls ----------------------------------------------


@pytest.fixture
def called(fake: FakeTelegram, transport: httpx.AsyncBaseTransport) -> TelegramAdapter:
    """The adapter in webhook mode."""
    config = TelegramConfig(token=TOKEN, api_url=fake.url, mode="webhook", secret=SECRET)
    return TelegramAdapter(config, transport)


async def test_a_webhook_that_telegram_calls_is_no_trouble(
    called: TelegramAdapter, fake: FakeTelegram
) -> None:
    assert isinstance(called, Watched)
    await called.open(HOOK)
    assert await called.inbound_trouble() is None


@pytest.mark.parametrize("elsewhere", ["", "https://other.example.com/webhooks/telegram"])
async def test_a_webhook_that_was_taken_away_is_registered_again(
    called: TelegramAdapter, fake: FakeTelegram, elsewhere: str
) -> None:
    """OC 78422: inbound dies while the channel says "connected"."""
    await called.open(HOOK)
    fake.webhook.url = elsewhere
    assert "registered again" in str(await called.inbound_trouble())
    assert fake.webhook.url == HOOK
    assert await called.inbound_trouble() is None


async def test_telegrams_own_word_that_its_calls_fail_is_the_reason(
    called: TelegramAdapter, fake: FakeTelegram
) -> None:
    await called.open(HOOK)
    fake.webhook.failed_at = time.time()
    assert await called.inbound_trouble() is None  # it failed, and nothing waits: it is over
    fake.pending[1] = {"update_id": 1}
    assert await called.inbound_trouble() == (
        "Telegram does not reach us: Wrong response from the webhook: 503 (1 updates wait)"
    )
    fake.webhook.failed_at -= 3600
    assert await called.inbound_trouble() is None


async def test_a_platform_that_cannot_be_asked_is_an_error_of_ours(
    called: TelegramAdapter, fake: FakeTelegram
) -> None:
    await called.open(HOOK)
    fake.fail("getWebhookInfo", status=500)
    with pytest.raises(Transient):
        await called.inbound_trouble()


async def test_the_menu_holds_the_commands(adapter: TelegramAdapter, fake: FakeTelegram) -> None:
    await adapter.prompt(MENU)
    assert [one["command"] for one in fake.menu] == ["new", "stop", "status", "remind", "help"]
    fake.fail("setMyCommands", status=400)
    with pytest.raises(SendError):
        await adapter.prompt({"/new": "begin again"})
