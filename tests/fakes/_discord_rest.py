"""The fake's REST API: faults, weather, rate-limit headers, and what each call does."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fakes._discord_gateway import FakeGateway
from tests.fakes._discord_parts import (
    BOT,
    BOT_ID,
    ApiError,
    Call,
    Chat,
    Fault,
    Sent,
    check,
    json_reply,
    message_body,
    too_many,
    user,
)
from tests.fakes._weather import Weather


class RestSide:
    """Answers calls; `FakeDiscord` fills the rest."""

    gateway: FakeGateway
    notify: Callable[[], None]
    message_of: Callable[..., dict[str, Any]]
    with_guild: Callable[[Chat, dict[str, Any]], dict[str, Any]]

    def __init__(self, token: str | None, dedupe_seconds: float) -> None:
        self.token = token
        self.dedupe_seconds = dedupe_seconds
        self.bucket: tuple[int, float] | None = None
        self.weather: Weather | None = None
        self.calls: list[Call] = []
        self.sent: list[Sent] = []
        self.chats: dict[str, Chat] = {}
        self.attachments: dict[str, bytes] = {}
        self.application_flags = 1 << 19
        self._faults: list[Fault] = []
        self._nonces: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._windows: defaultdict[str, list[float]] = defaultdict(list)
        self._closing = asyncio.Event()

    def route(self, what: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await self._call(what, request)
            except ApiError as error:
                return error.reply()

        return handle

    async def _call(self, what: str, request: web.Request) -> web.StreamResponse:
        body, files = await message_body(request) if request.can_read_body else ({}, {})
        self.calls.append(Call(what, request.path, body, time.monotonic()))
        self.notify()
        shown = request.headers.get("Authorization", "")
        if self.token is not None and shown != f"Bot {self.token}":
            raise ApiError(401, 0, "401: Unauthorized")
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            raise ApiError(403, 40333, "internal network error")
        fault = self._fault(what, request.match_info.get("chat"))
        if fault is None:
            headers = self._rates(what, request.match_info.get("chat"))
            answer = getattr(self, f"_do_{what}")(request, body, files)
            return json_reply(answer, 200, headers) if answer else web.Response(status=204)
        return await self._go_wrong(fault, what, request, body, files)

    def _fault(self, what: str, chat: str | None) -> Fault | None:
        for fault in self._faults:
            if fault.what == what and fault.times > 0 and fault.chat in (None, chat):
                fault.times -= 1
                return fault
        if self.weather is None:
            return None
        match self.weather.on_call(f"{what} {chat}"):
            case "lost":
                return Fault(what, 0, drop="before")
            case "cut":
                return Fault(what, 0, drop="after")
            case "slow":
                return Fault(what, 0, message="slow")
            case "busy":
                return Fault(what, 0, retry_after=float(self.weather.retry_after))
            case "broken":
                return Fault(what, 0, status=503)
        return None

    async def _go_wrong(
        self, fault: Fault, what: str, request: web.Request, body: Any, files: dict[str, bytes]
    ) -> web.StreamResponse:
        if fault.hang:
            await self._closing.wait()
        if fault.message == "slow" and self.weather:
            await asyncio.sleep(self.weather.pause())
        answer = None
        if fault.drop == "after" or fault.half or fault.message == "slow":
            answer = getattr(self, f"_do_{what}")(request, body, files)
        if fault.message == "slow":
            return json_reply(answer) if answer else web.Response(status=204)
        if fault.half:
            whole = json_reply(answer)
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(whole.body)  # type: ignore[arg-type]  # bytes
            await response.prepare(request)
            await response.write(whole.body[:20])  # type: ignore[index]  # bytes
        if fault.drop or fault.half or fault.hang:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return fault.reply()

    def _rates(self, what: str, chat: str | None) -> dict[str, str]:
        """The bucket's headers; with `bucket = (limit, seconds)` it is enforced."""
        limit, seconds = self.bucket or (1000, 1.0)
        now, used = time.monotonic(), self._windows[f"{what}:{chat}"]
        used[:] = [at for at in used if at > now - seconds]
        if self.bucket and len(used) >= limit:
            raise _TooMany(used[0] + seconds - now)
        used.append(now)
        left = limit - len(used) if self.bucket else limit - 1
        return {
            "X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset-After": f"{used[0] + seconds - now:.3f}",
            "X-RateLimit-Reset": f"{time.time() + seconds:.3f}", "X-RateLimit-Bucket": f"b-{what}",
        }  # fmt: skip

    def _chat(self, request: web.Request) -> Chat:
        number = request.match_info["chat"]
        if number not in self.chats:
            raise ApiError(404, 10003, "Unknown Channel")
        return self.chats[number]

    def _do_me(self, request: web.Request, body: Any, files: Any) -> Any:
        return BOT

    def _do_application(self, request: web.Request, body: Any, files: Any) -> Any:
        return {
            "id": BOT_ID, "name": "Fake", "icon": None, "description": "", "bot_public": False,
            "bot_require_code_grant": False, "verify_key": "00", "flags": self.application_flags,
            "team": None, "owner": user(1), "rpc_origins": [],
        }  # fmt: skip

    def _do_channel(self, request: web.Request, body: Any, files: Any) -> Any:
        return self._chat(request).shown()

    def _do_history(self, request: web.Request, body: Any, files: Any) -> Any:
        after, limit = int(request.query.get("after", 0)), int(request.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise ApiError(400, 50035, "Invalid Form Body")
        found = [m for m in self._chat(request).messages if int(m["id"]) > after]
        return found[:limit][::-1] or _NOTHING

    def _do_send(self, request: web.Request, body: dict[str, Any], files: dict[str, bytes]) -> Any:
        chat = self._chat(request)
        check(body, files)
        key, now = (chat.id, str(body.get("nonce", ""))), time.monotonic()
        known = self._nonces.get(key) if body.get("enforce_nonce") and key[1] else None
        if known and now - known[0] < self.dedupe_seconds:
            return known[1]
        message = self.message_of(chat, BOT, body.get("content") or "")
        self._nonces[key] = (now, message)
        chat.messages.append(message)
        self.sent.append(Sent(message["id"], chat.id, message["content"], now, body, files))
        self.gateway.dispatch("MESSAGE_CREATE", self.with_guild(chat, message))
        return message

    def _do_edit(self, request: web.Request, body: dict[str, Any], files: Any) -> Any:
        chat, number = self._chat(request), request.match_info["message"]
        check(body, {})
        for sent in self.sent:
            if (sent.id, sent.chat) == (number, chat.id):
                sent.text = body["content"]
                sent.edits.append(sent.text)
                self.notify()
                return self.message_of(chat, BOT, sent.text, number)
        raise ApiError(404, 10008, "Unknown Message")

    def _do_typing(self, request: web.Request, body: Any, files: Any) -> Any:
        self._chat(request)

    def _do_callback(self, request: web.Request, body: Any, files: Any) -> Any:
        number = request.match_info["number"]
        if request.match_info["token"] != f"interaction-token-{number}":
            raise ApiError(404, 10062, "Unknown interaction")

    async def file(self, request: web.Request) -> web.Response:
        data = self.attachments.get(request.path)
        fault = self._fault("file", None)
        if fault is not None and fault.drop:
            assert request.transport is not None
            request.transport.close()
        if fault is not None:
            return fault.reply()
        return web.Response(body=data) if data is not None else web.Response(status=404)


class _TooMany(ApiError):
    def __init__(self, wait: float) -> None:
        super().__init__(429, 0, "You are being rate limited.")
        self._wait = wait

    def reply(self) -> web.Response:
        return too_many(self._wait)


class _Nothing(list[Any]):
    """An empty list that is an answer."""

    def __bool__(self) -> bool:
        return True


_NOTHING = _Nothing()
ROUTES = (
    ("GET", "/users/@me", "me"),
    ("GET", "/oauth2/applications/@me", "application"),
    ("GET", "/channels/{chat}", "channel"),
    ("GET", "/channels/{chat}/messages", "history"),
    ("POST", "/channels/{chat}/messages", "send"),
    ("PATCH", "/channels/{chat}/messages/{message}", "edit"),
    ("POST", "/channels/{chat}/typing", "typing"),
    ("POST", "/interactions/{number}/{token}/callback", "callback"),
)
