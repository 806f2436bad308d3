"""What the fake Discord is made of: ids, errors, faults, rules for what a bot sends."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BOT_ID = "600000000000000001"
BOT = {"id": BOT_ID, "username": "fake_bot", "discriminator": "0", "avatar": None, "bot": True}
TEN_MEGABYTES = 10 * 1024 * 1024
_EPOCH = 1_420_070_400


class Snowflakes:
    """Ids that only grow; their upper bits are the time."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        """The next one."""
        now = int((time.time() - _EPOCH) * 1000) << 22
        self._last = max(now, self._last + 1)
        return str(self._last)


def user(person: int) -> dict[str, Any]:
    """A person as Discord shows one."""
    return {
        "id": user_id(person),
        "username": f"user{person}",
        "global_name": f"User {person}",
        "discriminator": "0",
        "avatar": None,
    }


def user_id(person: int) -> str:
    """The id of a person."""
    return str(700_000_000_000_000_000 + person)


def direct_chat(person: int) -> str:
    """The channel id of a person's direct chat with the bot."""
    return str(800_000_000_000_000_000 + person)


@dataclass(slots=True)
class Chat:
    """A channel, thread or direct chat with its messages, oldest first."""

    id: str
    type: int = 1
    guild_id: str = ""
    name: str = ""
    person: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        last = self.messages[-1]["id"] if self.messages else None
        found = {"id": self.id, "type": self.type, "last_message_id": last, "name": self.name}
        if self.guild_id:
            return {
                **found, "guild_id": self.guild_id, "position": 0, "permission_overwrites": [],
            }  # fmt: skip
        return {**found, "recipients": [user(self.person)], "name": None}


@dataclass(slots=True)
class Sent:
    """A message of the bot. `body` is what was asked for, `files` name -> bytes."""

    id: str
    chat: str
    text: str
    at: float
    body: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    edits: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Call:
    """One call of the API, as it came."""

    what: str
    path: str
    body: Any
    at: float


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"message": message, "code": code, **more}

    def reply(self) -> web.Response:
        """As Discord answers it; `Via` shows that its own servers did."""
        headers = {"Via": "1.1 google"}
        if "retry_after" in self.body:
            headers["Retry-After"] = str(int(self.body["retry_after"]) + 1)
        return json_reply(self.body, self.status, headers)


@dataclass(slots=True)
class Fault:
    """Something that goes wrong `times` times."""

    what: str
    times: int
    chat: str | None = None
    status: int = 500
    code: int = 0
    message: str = "Internal Server Error"
    body: bytes | None = None
    content_type: str = "application/json"
    retry_after: float | None = None
    is_global: bool = False
    banned: bool = False
    drop: str = ""
    half: bool = False
    hang: bool = False

    def reply(self) -> web.Response:
        """The answer it gives."""
        if self.retry_after is not None:
            return too_many(self.retry_after, self.is_global, banned=self.banned)
        if self.body is not None:
            return web.Response(
                body=self.body, status=self.status, headers={"Content-Type": self.content_type}
            )
        return ApiError(self.status, self.code, self.message).reply()


def too_many(wait: float, is_global: bool = False, *, banned: bool = False) -> web.Response:
    """A 429. What stands before Discord's servers (`banned`) sends no `Via`."""
    body = {"message": "You are being rate limited.", "retry_after": wait, "global": is_global}
    scope = {"X-RateLimit-Scope": "global" if is_global else "user", "Retry-After": str(wait)}
    return json_reply(body, 429, scope if banned else {**scope, "Via": "1.1 google"})


def json_reply(data: Any, status: int = 200, headers: Any = None) -> web.Response:
    """A JSON answer whose type discord.py recognises: without a charset."""
    return web.Response(
        body=json.dumps(data).encode(),
        status=status,
        headers={"Content-Type": "application/json", **(headers or {})},
    )


async def message_body(request: web.Request) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What was posted, and the files in it."""
    if request.content_type != "multipart/form-data":
        return await request.json(), {}
    form = await request.post()
    body = json.loads(str(form["payload_json"]))
    files = {}
    for entry in body.get("attachments", []):
        part = form.get(f"files[{entry['id']}]")
        if not isinstance(part, web.FileField):
            raise ApiError(400, 50035, "Invalid Form Body")
        files[entry["filename"]] = part.file.read()
    return body, files


def check(body: dict[str, Any], files: dict[str, bytes]) -> None:
    """Refuses what Discord refuses."""
    content = body.get("content") or ""
    if not isinstance(content, str) or len(content) > 2000:
        raise _invalid("content", "Must be 2000 or fewer in length.")
    if not content.strip() and not files:
        raise ApiError(400, 50006, "Cannot send an empty message")
    if any(len(data) > TEN_MEGABYTES for data in files.values()):
        raise ApiError(413, 40005, "Request entity too large")
    if len(str(body.get("nonce", ""))) > 25:
        raise _invalid("nonce", "Must be 25 or fewer in length.")
    rows = body.get("components", [])
    buttons = [button for row in rows for button in row["components"]]
    ids = [button["custom_id"] for button in buttons]
    fits = len(rows) <= 5 and all(0 < len(row["components"]) <= 5 for row in rows)
    fits = fits and all(0 < len(button["label"]) <= 80 for button in buttons)
    if not fits or len(set(ids)) != len(ids) or not all(0 < len(one) <= 100 for one in ids):
        raise _invalid("components", "Invalid components.")


def _invalid(field_name: str, why: str) -> ApiError:
    errors = {field_name: {"_errors": [{"code": "BASE_TYPE_BAD", "message": why}]}}
    return ApiError(400, 50035, "Invalid Form Body", errors=errors)
