"""The bare loop: the least a Python program can do for the gateway's job, as the yardstick.

aiohttp both ways, raw sqlite3, commits gathered while the one before runs, nothing else: no
recovery, no retries, no limits, nobody who watches. Each message goes: webhook, commit, 200,
the agent's event stream, commit, sendMessage, commit.

By hand: `python -m bench.bare --database FILE --port 8090 --platform URL --agent URL`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, update_id INTEGER UNIQUE, chat INTEGER, text TEXT, at REAL
);
CREATE TABLE IF NOT EXISTS answer (
    id INTEGER PRIMARY KEY, chat INTEGER, text TEXT, at REAL, receipt INTEGER
);
"""
TAKE = "INSERT OR IGNORE INTO message (update_id, chat, text, at) VALUES (?, ?, ?, ?)"
ANSWER = "INSERT INTO answer (chat, text, at) VALUES (?, ?, ?)"
SENT = "UPDATE answer SET receipt = ? WHERE id = ?"

Write = tuple[str, tuple[Any, ...], "asyncio.Future[int]"]


def open_database(path: str) -> sqlite3.Connection:
    """A connection that any one thread may use at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.executescript(TABLES)
    return connection


def seed(path: str, messages: int) -> None:
    """Store a past of this many messages, half of them answers."""
    with open_database(path) as connection:
        connection.execute("BEGIN")
        rows = [(number, number % 1000, "a stored message", 0.0) for number in range(messages // 2)]
        connection.executemany(TAKE, rows)
        connection.executemany(ANSWER, [row[1:] for row in rows])
        connection.execute("COMMIT")
    connection.close()


class Book:
    """Writes rows. What comes while a commit runs waits for the next one, all in one go."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: list[Write] = []
        self._thread = ThreadPoolExecutor(1)
        self._busy = False

    async def write(self, sql: str, *values: Any) -> int:
        """Returns the row's id after the commit."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append((sql, values, done))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return await done

    def _next(self) -> None:
        batch, self._waiting = self._waiting, []
        self._busy = bool(batch)
        if batch:
            job = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batch)
            job.add_done_callback(lambda job: self._tell(batch, job.result()))

    def _tell(self, batch: list[Write], ids: list[int]) -> None:
        for (_, _, done), row_id in zip(batch, ids, strict=True):
            done.set_result(row_id)
        self._next()

    def _commit(self, batch: list[Write]) -> list[int]:
        self._connection.execute("BEGIN IMMEDIATE")
        ids = [self._connection.execute(sql, values).lastrowid or 0 for sql, values, _ in batch]
        self._connection.execute("COMMIT")
        return ids


@dataclass
class Chat:
    """What was said so far, and what waits for an answer."""

    id: int
    history: list[dict[str, str]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    talk: asyncio.Task[None] | None = None


class Loop:
    """The whole program."""

    def __init__(self, book: Book, http: aiohttp.ClientSession, platform: str, agent: str) -> None:
        self._book, self._http = book, http
        self._send_url, self._agent_url = f"{platform}/sendMessage", agent
        self._chats: dict[int, Chat] = {}

    async def take(self, request: web.Request) -> web.Response:
        """The webhook."""
        update = await request.json()
        number, text = update["message"]["chat"]["id"], update["message"]["text"]
        await self._book.write(TAKE, update["update_id"], number, text, time.time())
        chat = self._chats.setdefault(number, Chat(number))
        chat.waiting.append(text)
        if chat.talk is None or chat.talk.done():
            chat.talk = asyncio.create_task(self._talk(chat))
        return web.Response()

    async def _talk(self, chat: Chat) -> None:
        while chat.waiting:
            texts, chat.waiting = chat.waiting, []
            chat.history += [{"role": "user", "content": text} for text in texts]
            answer = await self._ask(chat)
            chat.history.append({"role": "assistant", "content": answer})
            row_id = await self._book.write(ANSWER, chat.id, answer, time.time())
            receipt = await self._send(chat.id, answer)
            await self._book.write(SENT, receipt, row_id)

    async def _ask(self, chat: Chat) -> str:
        question = {"sessionId": str(chat.id), "messages": chat.history, "stream": True}
        words = []
        async with self._http.post(self._agent_url, json=question) as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    words.append(json.loads(line[6:]).get("text", ""))
        return "".join(words)

    async def _send(self, chat: int, text: str) -> int:
        async with self._http.post(self._send_url, json={"chat_id": chat, "text": text}) as answer:
            return int((await answer.json())["result"]["message_id"])


async def serve(options: argparse.Namespace) -> None:
    """Listen, then register the webhook, then serve until killed."""
    book = Book(open_database(options.database))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        app = web.Application()
        app.router.add_post("/hook", Loop(book, http, options.platform, options.agent).take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.port, backlog=1024).start()
        hook = {"url": f"http://127.0.0.1:{options.port}/hook"}
        async with http.post(f"{options.platform}/setWebhook", json=hook) as answer:
            answer.raise_for_status()
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="The bare loop.")
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--platform", required=True, help="with /bot<token> at its end")
    parser.add_argument("--agent", required=True)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
