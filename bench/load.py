"""The platform and its users in one process: one clock times both ends of a conversation."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp import web

NAME = re.compile(r"\bmsg(\d+)\b")
CONNECTIONS = 40
"""Updates under way at a time where a bot does not ask for more (Bot API, setWebhook)."""

ANSWER_SECONDS = 60.0


class Lost(Exception):
    """A message was refused, not answered in time, or answered into the wrong chat."""


@dataclass(frozen=True)
class Hook:
    """Where a bot wants its updates."""

    url: str
    secret: str
    slots: asyncio.Semaphore


class Said:
    """A message that waits for its answer. `at` and what `answered` gives are perf_counter's."""

    def __init__(self, number: int, chat: int, at: float) -> None:
        self.number, self.chat, self.at = number, chat, at
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()


class Platform:
    """A small Bot API server, and people who write to its bots.

    `say` and `say_all` return seconds from the moment an update is handed over to the
    moment its answer arrives here. A bot is known by its token. Chats and messages have
    numbers that never come again. `answers` counts what bots sent, `doubled` the messages
    that were answered again or too late.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers = 0
        self.doubled = 0
        self._hooks: defaultdict[str, asyncio.Future[Hook]] = defaultdict(
            lambda: asyncio.get_running_loop().create_future()
        )
        self._open: dict[int, Said] = {}
        self._numbers = itertools.count(1)
        self._people = itertools.count(1001)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/bot{token}/{method}", self._api)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(ANSWER_SECONDS),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._runner.cleanup()

    def people(self, count: int) -> list[int]:
        """People who never wrote before."""
        return list(itertools.islice(self._people, count))

    async def registered(self, token: str, seconds: float = 30.0) -> None:
        """Returns when the bot has set its webhook."""
        async with asyncio.timeout(seconds):
            await asyncio.shield(self._hooks[token])

    def forget(self, token: str) -> None:
        """The bot is gone; the next one with its token registers anew."""
        self._hooks.pop(token, None)

    async def say(self, token: str, person: int) -> float:
        """A person writes; returns the seconds until the answer."""
        return await self._answer(await self._write(token, person))

    async def say_all(self, token: str, people: Iterable[int], each: int) -> list[float]:
        """Everybody writes `each` messages at once, handed over in order per person."""

        async def write_all(person: int) -> list[Said]:
            return [await self._write(token, person) for _ in range(each)]

        written = await asyncio.gather(*map(write_all, people))
        return [await self._answer(said) for by_one in written for said in by_one]

    async def _write(self, token: str, person: int) -> Said:
        """Hand an update over; returns when the bot took it."""
        number, hook = next(self._numbers), self._hooks[token].result()
        headers = {"X-Telegram-Bot-Api-Secret-Token": hook.secret}
        async with hook.slots:
            said = Said(number, person, time.perf_counter())
            self._open[number] = said
            request = self._http.post(hook.url, json=update(person, number), headers=headers)
            async with request as reply:
                if reply.status != 200:
                    raise Lost(f"update {number}: status {reply.status}")
        return said

    async def _answer(self, said: Said) -> float:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await said.answered - said.at
        except TimeoutError:
            raise Lost(f"message {said.number} of chat {said.chat} was not answered") from None
        finally:
            del self._open[said.number]

    async def _api(self, request: web.Request) -> web.Response:
        token, method = request.match_info["token"], request.match_info["method"].lower()
        as_json = request.content_type == "application/json"
        fields: Any = await (request.json() if as_json else request.post())
        result: Any = True
        if method == "sendmessage":
            result = self._sent(int(fields["chat_id"]), fields["text"])
        elif method == "setwebhook":
            self._hooks[token].set_result(_hook(fields))
        elif method == "getme":
            result = {"id": 7000000001, "is_bot": True, "first_name": "Bench", "username": "bench"}
        return web.json_response({"ok": True, "result": result})

    def _sent(self, chat: int, text: str) -> dict[str, Any]:
        now = time.perf_counter()
        self.answers += 1
        for number in map(int, NAME.findall(text)):
            waiting = self._open.get(number)
            if waiting is None or waiting.answered.done():
                self.doubled += 1
            elif waiting.chat != chat:
                waiting.answered.set_exception(Lost(f"message {number} answered into {chat}"))
            else:
                waiting.answered.set_result(now)
        kind = {"id": chat, "type": "private"}
        return {"message_id": next(self._numbers), "date": int(time.time()), "chat": kind,
                "text": text}  # fmt: skip


def update(person: int, number: int) -> dict[str, Any]:
    """An update with a text message, as the platform shows it."""
    return {
        "update_id": number,
        "message": {
            "message_id": number,
            "from": {"id": person, "is_bot": False, "first_name": "Someone"},
            "chat": {"id": person, "type": "private", "first_name": "Someone"},
            "date": int(time.time()),
            "text": f"msg{number} is what I have to say",
        },
    }


def _hook(fields: Any) -> Hook:
    slots = asyncio.Semaphore(int(fields.get("max_connections") or CONNECTIONS))
    return Hook(fields["url"], fields.get("secret_token", ""), slots)
