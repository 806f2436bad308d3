"""The fake Bot API keeps to what the real one's server does: others' tests stand on it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

from tests.fakes.telegram import FakeTelegram


@pytest.fixture
async def fake() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as running:
        yield running


async def call(fake: FakeTelegram, method: str, **params: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(verify=False) as client:
        answer = await client.post(f"{fake.url}/bot1:x/{method}", json=params)
        return dict(answer.json())


class Receiver:
    """A webhook that answers what `decide` says and remembers what it took."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, str]] = []
        self.tries: list[float] = []
        self.secrets: set[str | None] = set()
        self.busy = self.most_busy = 0

    def decide(self, update: dict[str, Any]) -> int:
        return 200

    async def handle(self, request: web.Request) -> web.Response:
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        self.tries.append(time.monotonic())
        self.secrets.add(request.headers.get("X-Telegram-Bot-Api-Secret-Token"))
        update = await request.json()
        await asyncio.sleep(0.002)
        status = self.decide(update)
        if status == 200:
            self.taken.append((update["message"]["chat"]["id"], update["message"]["text"]))
        self.busy -= 1
        return web.Response(status=status)


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


async def test_an_update_comes_until_a_higher_offset_confirms_it(fake: FakeTelegram) -> None:
    for text in ("one", "two"):
        fake.say(5, text)
    first = (await call(fake, "getUpdates"))["result"]
    assert [update["message"]["text"] for update in first] == ["one", "two"]
    assert (await call(fake, "getUpdates"))["result"] == first
    after = await call(fake, "getUpdates", offset=first[0]["update_id"] + 1)
    assert [update["message"]["text"] for update in after["result"]] == ["two"]
    assert (await call(fake, "getUpdates", limit=1))["result"] == after["result"]
    assert (await call(fake, "getUpdates", offset=-1))["result"] == after["result"]


async def test_a_poll_waits_for_a_message(fake: FakeTelegram) -> None:
    polling = asyncio.create_task(call(fake, "getUpdates", timeout=20))
    await fake.until(lambda: fake.called("getUpdates"))
    assert not polling.done()
    fake.say(5, "at last")
    assert (await polling)["result"][0]["message"]["text"] == "at last"


async def test_a_second_poll_ends_the_first(fake: FakeTelegram) -> None:
    first = asyncio.create_task(call(fake, "getUpdates", timeout=20))
    await fake.until(lambda: fake.called("getUpdates"))
    second = asyncio.create_task(call(fake, "getUpdates", timeout=20))
    assert (await first)["error_code"] == 409
    fake.say(5, "hello")
    assert len((await second)["result"]) == 1


async def test_there_is_no_polling_beside_a_webhook(fake: FakeTelegram) -> None:
    await call(fake, "setWebhook", url="http://127.0.0.1:1/hook")
    assert (await call(fake, "getUpdates"))["error_code"] == 409
    await call(fake, "deleteWebhook")
    assert (await call(fake, "getUpdates"))["ok"]


async def test_delivers_in_order_per_chat_with_the_secret(fake: FakeTelegram) -> None:
    receiver = Receiver()
    async with receiving(receiver) as url:
        fake.say(1, "before the webhook was set")
        await call(fake, "setWebhook", url=url, secret_token="s", max_connections=3)
        for number in range(10):
            for user in range(1, 6):
                fake.say(user, f"{number}")
        await fake.until(lambda: not fake.pending)
    assert receiver.secrets == {"s"}
    assert 1 < receiver.most_busy <= 3
    for user in range(2, 6):
        taken = [text for chat, text in receiver.taken if chat == user]
        assert taken == [f"{number}" for number in range(10)]


async def test_repeats_until_2xx_and_holds_only_that_chat(fake: FakeTelegram) -> None:
    receiver = Receiver()
    receiver.decide = lambda update: 503 if update["message"]["chat"]["id"] == 1 else 200
    async with receiving(receiver) as url:
        await call(fake, "setWebhook", url=url)
        for text in ("first", "second"):
            fake.say(1, text)
        fake.say(2, "not held up")
        await fake.until(lambda: (2, "not held up") in receiver.taken)
        await fake.until(lambda: len(fake.webhook.statuses) >= 4)
        assert receiver.taken == [(2, "not held up")]
        receiver.decide = lambda update: 200
        await fake.until(lambda: not fake.pending)
    assert receiver.taken[1:] == [(1, "first"), (1, "second")]


@pytest.mark.parametrize("encoding", ["form", "json", "multipart"])
async def test_understands_each_encoding(fake: FakeTelegram, encoding: str) -> None:
    entities = [{"type": "bold", "offset": 0, "length": 2}]
    async with aiohttp.ClientSession() as session:
        url = f"{fake.url}/bot1:x/sendMessage"
        fields: dict[str, Any] = {"chat_id": "5", "text": "hello"}
        if encoding == "json":
            await session.post(url, json={**fields, "entities": entities})
        else:
            form = aiohttp.FormData({**fields, "entities": json.dumps(entities)})
            form._is_multipart = encoding == "multipart"
            await session.post(url, data=form)
    assert [(sent.text, sent.entities) for sent in fake.sent] == [("hello", entities)]


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({"text": "x" * 4097}, 400, "too long"),
        ({"text": "😀" * 2049}, 400, "too long"),
        ({"text": " "}, 400, "text is empty"),
        ({"text": "x", "chat_id": "nobody"}, 400, "chat not found"),
        ({"text": "x", "chat_id": 66}, 403, "blocked"),
        ({"text": "x", "entities": [{"type": "bold", "offset": 0, "length": 2}]}, 400, "parse"),
        ({"text": "😀", "entities": [{"type": "bold", "offset": 1, "length": 1}]}, 400, "parse"),
        ({"text": "x", "entities": [{"type": "bald", "offset": 0, "length": 1}]}, 400, "parse"),
    ],
)
async def test_refuses_what_telegram_refuses(
    fake: FakeTelegram, params: dict[str, Any], status: int, said: str
) -> None:
    fake.block(66)
    answer = await call(fake, "sendMessage", **{"chat_id": 5, **params})
    assert answer["error_code"] == status
    assert said in answer["description"]
    assert fake.sent == []


async def test_edits_a_sent_message_once(fake: FakeTelegram) -> None:
    sent = (await call(fake, "sendMessage", chat_id=5, text="one"))["result"]
    edit = {"chat_id": 5, "message_id": sent["message_id"], "text": "two"}
    assert (await call(fake, "editMessageText", **edit))["ok"]
    assert fake.texts(5) == ["two"]
    assert "not modified" in (await call(fake, "editMessageText", **edit))["description"]


async def test_knows_its_token() -> None:
    async with FakeTelegram(token="1:right") as fake:
        assert (await call(fake, "getMe"))["error_code"] == 401


def test_runs_in_a_thread_for_tests_that_are_not_async() -> None:
    with FakeTelegram.in_thread() as fake:
        fake.say(5, "hello")
        update = httpx.post(f"{fake.url}/bot1:x/getUpdates", json={}).json()["result"][0]
        assert fake.edit(update["message"], "hello!")["edited_message"]["text"] == "hello!"
        httpx.post(f"{fake.url}/bot1:x/sendMessage", json={"chat_id": 5, "text": "answer"})
        assert fake.wait_for(lambda: fake.texts(5)) == ["answer"]
        with pytest.raises(AssertionError, match="not within"):
            fake.wait_for(lambda: fake.texts(6), timeout=0.05)
    with pytest.raises(httpx.ConnectError):
        httpx.get(fake.url)


def test_starts_by_hand() -> None:
    command = [sys.executable, "-u", "-m", "tests.fakes.telegram", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3]
            said = httpx.post(f"{url}/_ctl/say", json={"user": 5, "text": "hello"}).json()
            assert said["message"]["text"] == "hello"
            httpx.post(f"{url}/_ctl/fail", json={"method": "sendMessage", "status": 500})
            send = {"chat_id": 5, "text": "answer"}
            statuses = [
                httpx.post(f"{url}/bot1:x/sendMessage", json=send).status_code for _ in range(2)
            ]
            assert statuses == [500, 200]
            assert [one["text"] for one in httpx.get(f"{url}/_ctl/sent?chat=5").json()] == [
                "answer"
            ]
        finally:
            process.terminate()
