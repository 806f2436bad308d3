"""What the fake Bot API is made of: parameters, errors, text rules, webhook delivery."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.fakes._weather import Push

if TYPE_CHECKING:
    from tests.fakes.telegram import FakeTelegram

ENTITY_TYPES = {
    "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bold",
    "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote",
    "code", "pre", "text_link", "text_mention", "custom_emoji",
}  # fmt: skip


@dataclass(slots=True)
class Call:
    """One call of the Bot API, as it came. `at` is `time.monotonic()`."""

    method: str
    params: dict[str, Any]
    at: float
    token: str


@dataclass(slots=True)
class Sent:
    """One message that reached a chat."""

    chat_id: int
    text: str
    message_id: int
    at: float
    entities: list[dict[str, Any]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    file: bytes | None = None


def json_reply(data: Any, status: int = 200) -> web.Response:
    """A JSON answer, as the Bot API's."""
    return web.Response(
        body=json.dumps(data).encode(), status=status, content_type="application/json"
    )


class ApiError(Exception):
    """An answer that is not ok."""

    def __init__(self, status: int, description: str, parameters: Any = None) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"ok": False, "error_code": status, "description": description}
        if parameters:
            self.body["parameters"] = parameters

    def reply(self) -> web.Response:
        return json_reply(self.body, self.status)


@dataclass(slots=True)
class Fault:
    """Something that goes wrong `times` times."""

    method: str
    times: int
    chat: int | None = None
    status: int = 500
    description: str = "Internal Server Error"
    body: bytes | None = None
    retry_after: int | None = None
    migrate_to: int | None = None
    drop: str = ""
    half: bool = False
    hang: bool = False

    def reply(self) -> web.Response:
        if self.retry_after is not None:
            text = f"Too Many Requests: retry after {self.retry_after}"
            return ApiError(429, text, {"retry_after": self.retry_after}).reply()
        if self.migrate_to is not None:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            return ApiError(400, text, {"migrate_to_chat_id": self.migrate_to}).reply()
        if self.body is not None:
            return web.Response(body=self.body, status=self.status)
        return ApiError(self.status, self.description).reply()


def cut(request: web.Request) -> web.Response:
    """The connection ends here."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def send_half(request: web.Request, result: Any) -> None:
    """The first half of an answer."""
    body = json.dumps({"ok": True, "result": result}).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])


async def parameters(request: web.Request) -> dict[str, Any]:
    """Query, form, multipart or JSON; nested values of forms are JSON texts."""
    found: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body = await request.read()
        found.update(json.loads(body) if body else {})
    elif request.can_read_body:
        form = await request.post()
        for key, value in form.items():
            found[key] = value if isinstance(value, str) else value.file.read()  # type: ignore[union-attr]
    for key in ("entities", "allowed_updates", "reply_parameters", "reply_markup", "commands"):
        if isinstance(found.get(key), str):
            found[key] = json.loads(found[key])
    return found


def check_text(params: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Text and entities, refused as Telegram refuses them."""
    text = params.get("text", "")
    if not text.strip():
        raise ApiError(400, "Bad Request: message text is empty")
    units = text.encode("utf-16-le")
    if len(units) // 2 > 4096:
        raise ApiError(400, "Bad Request: message is too long")
    entities = params.get("entities") or []
    for entity in entities:
        reason = _wrong(entity, units)
        if reason:
            raise ApiError(400, f"Bad Request: can't parse entities: {reason}")
    return text, entities


def _wrong(entity: dict[str, Any], units: bytes) -> str:
    if entity.get("type") not in ENTITY_TYPES:
        return "unsupported type"
    start, size = entity.get("offset"), entity.get("length")
    if not isinstance(start, int) or not isinstance(size, int) or start < 0 or size <= 0:
        return "wrong offset or length"
    if 2 * (start + size) > len(units):
        return "entity beyond the text"
    for edge in (start, start + size):
        if b"\xdc" <= units[2 * edge + 1 : 2 * edge + 2] <= b"\xdf":
            return "entity cuts a character"
    if entity["type"] == "text_link" and "://" not in entity.get("url", ""):
        return "wrong HTTP URL"
    return ""


def message_from(
    user: int, chat: int, message_id: int, text: str | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """A message as Telegram shows it. A negative chat is a group."""
    private = chat > 0
    message: dict[str, Any] = {
        "message_id": message_id,
        "from": {"id": user, "is_bot": False, "first_name": f"User{user}", "language_code": "en"},
        "chat": {"id": chat, "type": "private", "first_name": f"User{user}"}
        if private
        else {"id": chat, "type": "supergroup", "title": f"Group{chat}"},
        "date": int(time.time()),
    }
    if text is not None:
        message["text"] = text
    return {**message, **fields}


class Webhook:
    """Delivers updates: in order per chat, again and again until a 2xx."""

    def __init__(self, fake: FakeTelegram, retry_seconds: float) -> None:
        self.url = ""
        self.secret = ""
        self.statuses: list[int] = []
        self.failed_at: float | None = None
        self._fake = fake
        self._retry_seconds = retry_seconds
        self._lanes: defaultdict[Any, deque[Any]] = defaultdict(deque)
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(40)
        self._http: aiohttp.ClientSession | None = None
        self._changing = asyncio.Lock()  # a setWebhook that is repeated must not cross the first

    async def start(self, params: dict[str, Any]) -> None:
        async with self._changing:
            await self._stop()
            self._begin(params)

    async def stop(self) -> None:
        async with self._changing:
            await self._stop()

    def _begin(self, params: dict[str, Any]) -> None:
        self.url, self.secret = params.get("url", ""), params.get("secret_token", "")
        if not self.url:
            return
        self._slots = asyncio.Semaphore(int(params.get("max_connections", 40)))
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        for update in list(self._fake.pending.values()):
            self.enqueue(update)

    async def _stop(self) -> None:
        self.url = ""
        tasks, self._tasks = list(self._tasks.values()), {}
        self._lanes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None

    def enqueue(self, update: Any) -> None:
        if not self.url:
            return
        lane = _lane(update)
        self._lanes[lane].append(update)
        if lane not in self._tasks or self._tasks[lane].done():
            self._tasks[lane] = asyncio.create_task(self._deliver(lane))

    async def _deliver(self, lane: Any) -> None:
        while queue := self._lanes[lane]:
            weather = self._fake.weather
            way = weather.on_push() if weather else Push()
            await asyncio.sleep(way.delay)
            for _ in range(way.times):
                await self._insist(queue[0])
            update = queue.popleft()
            if isinstance(update, dict):
                self._fake.confirm(update["update_id"])

    async def _insist(self, update: Any) -> None:
        pause = 0.0
        while not await self._post(update):
            await asyncio.sleep(pause)
            pause = min(max(pause * 2, self._retry_seconds), 20 * self._retry_seconds)

    async def _post(self, update: Any) -> bool:
        assert self._http is not None
        headers = {"Content-Type": "application/json"}
        if self.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = self.secret
        body = update if isinstance(update, bytes) else json.dumps(update).encode()
        try:
            async with self._slots, self._http.post(
                self.url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(60)
            ) as answer:  # fmt: skip
                await answer.read()
                self.statuses.append(answer.status)
                self._fake.notify()
                taken = 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            taken = False
        if not taken:
            self.failed_at = time.time()
        return taken


def _lane(update: Any) -> Any:
    try:
        if "callback_query" in update:  # a queue per user, of its own
            return f"presses of {update['callback_query']['from']['id']}"
        return (update.get("message") or update.get("edited_message"))["chat"]["id"]
    except (AttributeError, TypeError, KeyError):
        return None


@contextmanager
def in_a_thread(build: Callable[[], FakeTelegram]) -> Iterator[FakeTelegram]:
    """A server in a thread, stopped at the end."""
    ready: list[FakeTelegram] = []
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with build() as fake:
            ready.append(fake)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10), "the fake server did not start"
    try:
        yield ready[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
