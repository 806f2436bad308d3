"""The part of the gateway's API that Pi uses, as a server of its own: people, grants, schedules.

Each token belongs to one conversation, and answers are only ever about that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

DUE = "2026-11-23T09:00:00+00:00"


@dataclass
class Conversation:
    """What the gateway keeps for one person."""

    session: str
    name: str = ""
    timezone: str = "UTC"
    notes: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    schedules: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)


CONVERSATION = web.RequestKey("conversation", Conversation)
BODY: web.RequestKey[Any] = web.RequestKey("body", object)


class GatewayApi:
    """`by_token` holds the conversations, `calls` each (method, path, body) in order."""

    def __init__(self) -> None:
        self.by_token = {
            "ann-token": Conversation("sess_ann", "Ann"),
            "bob-token": Conversation("sess_bob", "Bob"),
        }
        self.calls: list[tuple[str, str, Any]] = []
        self.failing = 0
        self.port = 0
        self._keys: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, dict[str, Any]] = {}

    @property
    def ann(self) -> Conversation:
        return self.by_token["ann-token"]

    @property
    def bob(self) -> Conversation:
        return self.by_token["bob-token"]

    def grant(self, name: str = "ann") -> dict[str, str]:
        """The `gateway` field of a request."""
        return {"url": f"http://127.0.0.1:{self.port}/api/v1", "token": f"{name}-token"}

    async def start(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/api/v1/me", self._me)
        app.router.add_patch("/api/v1/me/notes", self._notes)
        app.router.add_patch("/api/v1/me/preferences", self._preferences)
        app.router.add_get("/api/v1/me/messages", self._messages)
        app.router.add_get("/api/v1/me/usage", self._usage)
        app.router.add_get("/api/v1/schedules", self._list)
        app.router.add_post("/api/v1/schedules", self._add)
        app.router.add_delete("/api/v1/schedules/{id}", self._delete)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.calls.append((request.method, request.path.removeprefix("/api/v1"), body))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.failing:
            return problem(self.failing, "out of order")
        if token not in self.by_token:
            return problem(401, "no such token")
        request[CONVERSATION], request[BODY] = self.by_token[token], body
        return await handler(request)  # type: ignore[no-any-return]

    async def _me(self, request: web.Request) -> web.Response:
        mine: Conversation = request[CONVERSATION]
        person = {"name": mine.name, "preferences": {}, "notes": mine.notes}
        told = {"session": mine.session, "channel": "webchat", "chatId": mine.session}
        return web.json_response({**told, "person": person, "timezone": mine.timezone})

    async def _notes(self, request: web.Request) -> web.Response:
        notes = request[CONVERSATION].notes
        for key, value in request[BODY].items():
            if value is None:
                notes.pop(key, None)
            else:
                notes[key] = value
        return web.json_response(notes)

    async def _preferences(self, request: web.Request) -> web.Response:
        mine: Conversation = request[CONVERSATION]
        mine.timezone = request[BODY].get("timezone", mine.timezone)
        return web.json_response({"timezone": mine.timezone})

    async def _messages(self, request: web.Request) -> web.Response:
        query = request.query.get("q", "").lower()
        found = [one for one in request[CONVERSATION].messages if query in one["text"].lower()]
        newest = sorted(found, key=lambda one: one["at"], reverse=True)
        return web.json_response({"items": newest[: int(request.query["limit"])], "next": None})

    async def _usage(self, request: web.Request) -> web.Response:
        return web.json_response(request[CONVERSATION].usage)

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"items": request[CONVERSATION].schedules, "next": None})

    async def _add(self, request: web.Request) -> web.Response:
        body, mine = request[BODY], request[CONVERSATION]
        if body["kind"] not in ("cron", "every", "at") or ("text" in body) == ("prompt" in body):
            return problem(422, "that is no schedule")
        key = f"{mine.session} {request.headers['Idempotency-Key']}"
        if key not in self._keys:
            number = sum(len(one.schedules) for one in self.by_token.values()) + 1
            next_run = f"{body['spec']}:00+00:00" if body["kind"] == "at" else DUE
            made = {"text": "", "prompt": "", **body, "next_run": next_run, "enabled": True}
            self._keys[key] = {"id": f"sched_{number}", **made}
            self._asked[key] = body
            mine.schedules.append(self._keys[key])
        elif self._asked[key] != body:
            return problem(409, "This idempotency key belongs to another request.")
        return web.json_response(self._keys[key], status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        mine = request[CONVERSATION]
        left = [one for one in mine.schedules if one["id"] != request.match_info["id"]]
        if len(left) == len(mine.schedules):
            return problem(404, "no such schedule")
        mine.schedules = left
        return web.Response(status=204)


def problem(status: int, detail: str) -> web.Response:
    return web.json_response(
        {"title": "Refused", "status": status, "detail": detail},
        status=status,
        content_type="application/problem+json",
    )


def message(role: str, text: str, day: int, hour: int = 10) -> dict[str, Any]:
    """One entry of a history, in November 2026."""
    at = datetime(2026, 11, day, hour, tzinfo=UTC).isoformat()
    return {"role": role, "text": text, "at": at, "session": "sess_old"}
