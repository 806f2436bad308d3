"""A BlueBubbles server of our own: real HTTP, on 127.0.0.1.

In a test::

    async with FakeBlueBubbles() as fake:
        fake.say(5, "hello")                    # the webhook is called, once
        fake.fail("text", status=500)
        fake.sent                               # what people got
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes._platform import FakePlatform, Post, json_reply
from tests.fakes._weather import Push

PASSWORD = "FAKE-password & of the tests"
SECRET = "fake-webhook-secret-of-the-tests"
FIRST_NUMBER = 15_550_000_000


@dataclass(slots=True)
class Sent:
    """One message that people got."""

    chat: str
    text: str
    guid: str
    at: float
    file: bytes | None = None


def message_from(number: int, text: str | None, person: int, **fields: Any) -> dict[str, Any]:
    """A message object as the server shows it."""
    address = f"+{FIRST_NUMBER + person}"
    return {
        "originalROWID": number,
        "guid": f"BB-{number:06d}",
        "text": text,
        "isFromMe": False,
        "error": 0,
        "dateCreated": int(time.time() * 1000),
        "dateEdited": None,
        "handle": {"address": address, "service": "iMessage"},
        "chats": [{"guid": f"iMessage;-;{address}", "style": 45, "displayName": ""}],
        "attachments": [],
        "associatedMessageType": None,
        "associatedMessageGuid": None,
        "threadOriginatorGuid": None,
        "itemType": 0,
        **fields,
    }


class FakeBlueBubbles(FakePlatform):
    """One server with one account."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.sent: list[Sent] = []
        self.messages: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.webhooks: list[dict[str, Any]] = []
        self.refused = 0
        self._posts: set[asyncio.Task[bool]] = set()

    def routes(self) -> list[web.RouteDef]:
        """What the adapter calls."""
        base = "/api/v1"
        return [
            web.get(f"{base}/server/info", self._route("info", self._info)),
            web.get(f"{base}/webhook", self._route("webhooks", self._webhooks)),
            web.post(f"{base}/webhook", self._route("webhook", self._webhook)),
            web.post(f"{base}/message/text", self._route("text", self._text)),
            web.post(f"{base}/message/attachment", self._route("file", self._attachment)),
            web.post(f"{base}/message/query", self._route("query", self._query)),
            web.get(base + "/attachment/{guid}/download", self._route("download", self._download)),
        ]

    def busy(self, seconds: int) -> web.Response:
        """The server itself has no such answer; a proxy before it may."""
        return web.Response(status=429, headers={"Retry-After": str(seconds)})

    def broken(self, status: int) -> web.Response:
        """An error as the server writes it."""
        error = {"type": "Server Error", "message": "something failed"}
        return json_reply({"status": status, "message": "failed", "error": error}, status)

    # --- what a test does ---------------------------------------------------

    def say(self, person: int, text: str, *, missed: bool = False, **fields: Any) -> dict[str, Any]:
        """A person writes; the webhook is called once, or never (`missed`)."""

        def speak() -> dict[str, Any]:
            message = message_from(len(self.messages) + 1, text, person, **fields)
            self.messages.append(message)
            if not missed:
                self.event("new-message", message)
            return message

        found: dict[str, Any] = self.on_loop(speak)
        return found

    def event(self, kind: str, data: Any) -> None:
        """One webhook call, not awaited and never repeated."""
        body = json.dumps({"type": kind, "data": data}).encode()
        post = Post({"Content-Type": "application/json"}, body)
        for one in self.webhooks:
            self.hook = one["url"]
            task = asyncio.get_running_loop().create_task(self._call(post))
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)

    async def _call(self, post: Post) -> bool:
        """One call, which bad weather delays, doubles or loses: nobody waits for its answer."""
        way = self.weather.on_push() if self.weather else Push()
        await asyncio.sleep(way.delay)
        if self.weather and self.weather.on_call("webhook") == "lost":
            return False
        return all([await self.post(post) for _ in range(way.times)])

    def texts(self) -> list[str]:
        """What people got."""
        return [one.text for one in self.sent]

    # --- calls --------------------------------------------------------------

    def _route(self, name: str, act: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            data: Any = None
            if request.content_type == "application/json":
                data = await request.json()
            elif request.can_read_body:
                data = dict(await request.post())

            async def done() -> web.StreamResponse:
                if request.query.get("password") != PASSWORD:
                    error = {"type": "Authentication Error", "message": "Unauthorized"}
                    return json_reply({"status": 401, "message": "no", "error": error}, 401)
                return await act(request, data)  # type: ignore[no-any-return]  # a handler

            return await self.answer(name, request, data, done)

        return handle

    async def _info(self, request: web.Request, data: Any) -> web.StreamResponse:
        info = {"os_version": "15.5", "server_version": "1.9.9", "detected_imessage": "bot@x.org"}
        return _fine(info)

    async def _webhooks(self, request: web.Request, data: Any) -> web.StreamResponse:
        return _fine(self.webhooks)

    async def _webhook(self, request: web.Request, data: Any) -> web.StreamResponse:
        self.webhooks.append({"id": len(self.webhooks) + 1, **data})
        return _fine(self.webhooks[-1])

    async def _text(self, request: web.Request, data: Any) -> web.StreamResponse:
        if not data.get("tempGuid") or not data.get("chatGuid") or not data.get("message"):
            return _wrong(400, "a field is missing")
        return self._take(data["chatGuid"], data["message"], None)

    async def _attachment(self, request: web.Request, data: Any) -> web.StreamResponse:
        file = data["attachment"]
        return self._take(data["chatGuid"], "", file.file.read(), data["name"])

    def _take(self, chat: str, text: str, file: bytes | None, name: str = "") -> web.StreamResponse:
        if "unknown" in chat:
            return _wrong(404, "Chat does not exist!")
        files = [{"guid": f"AT-{len(self.files)}", "transferName": name}] if file else []
        number = len(self.messages) + 1
        message = message_from(number, text, 0, isFromMe=True, attachments=files)
        message["chats"] = [{"guid": chat, "style": 43 if ";+;" in chat else 45}]
        self.messages.append(message)
        if self.refused:
            message["error"] = self.refused
            return json_reply({"status": 500, "message": "failed", "data": message}, 500)
        self.sent.append(Sent(chat, text, message["guid"], time.monotonic(), file))
        self.event("new-message", message)
        self.changed()
        return _fine(message)

    async def _query(self, request: web.Request, data: Any) -> web.StreamResponse:
        found = [
            one
            for one in self.messages
            if one.get("dateCreated", 0) >= data["after"]
            and data.get("chatGuid") in (None, *(chat["guid"] for chat in one["chats"]))
            and (not data.get("where") or one["isFromMe"])
        ]
        found.sort(key=lambda one: int(one["dateCreated"]))
        start = data.get("offset", 0)
        return _fine(found[start : start + data["limit"]])

    async def _download(self, request: web.Request, data: Any) -> web.StreamResponse:
        content = self.files.get(request.match_info["guid"])
        return web.Response(status=404) if content is None else web.Response(body=content)


def _fine(data: Any) -> web.Response:
    return json_reply({"status": 200, "message": "Success", "data": data})


def _wrong(status: int, said: str) -> web.Response:
    error = {"type": "Validation Error", "message": said}
    return json_reply({"status": status, "message": "no", "error": error}, status)
