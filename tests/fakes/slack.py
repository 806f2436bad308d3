"""A Slack of our own: Web API and events over real HTTP, on 127.0.0.1.

In a test::

    async with FakeSlack() as fake:
        fake.say("U5", "hello")                 # a direct message
        fake.fail("chat.postMessage", retry_after=7)
        fake.sent                               # what people got

By hand: `python -m tests.fakes.slack --port 8083`, the gateway with
`OPENCLAW_SLACK_API_URL=http://127.0.0.1:8083/api` and the settings it prints.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes._platform import FakePlatform, Post, json_reply

TOKEN = "xoxb-FAKE-token-of-the-tests"
SIGNING_SECRET = "fake-signing-secret-of-the-tests"
BOT = "U0BOT"
SCOPES = (
    *("chat:write", "files:read", "files:write", "im:history", "channels:history"),
    *("groups:history", "mpim:history", "app_mentions:read", "reactions:read"),
    "users:read",
)
NEEDED = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "users.info": "users:read",
}


@dataclass(slots=True)
class Sent:
    """One message in a channel. `text` changes when it is edited."""

    channel: str
    text: str
    ts: str
    at: float
    message: dict[str, Any] = field(default_factory=dict)


class SlackError(Exception):
    """An answer that is not ok, by its name."""


class FakeSlack(FakePlatform):
    """One workspace with one bot."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.sent: list[Sent] = []
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.people: dict[str, str] = {}
        self.scopes = list(SCOPES)
        self._stamp = 0

    def routes(self) -> list[web.RouteDef]:
        """Methods, uploads and files."""
        return [
            web.post("/api/{method}", self._method),
            web.post("/upload/{id}", self._upload),
            web.get("/files/{id}", self._file),
        ]

    def busy(self, seconds: int) -> web.Response:
        """As Slack says it."""
        headers = {"Retry-After": str(seconds)}
        return json_reply({"ok": False, "error": "ratelimited"}, 429, **headers)

    # --- what a test does ---------------------------------------------------

    def say(self, user: str, text: str, channel: str = "", **fields: Any) -> dict[str, Any]:
        """Somebody writes, by default to the bot alone."""
        where = channel or f"D{user[1:]}"
        event = {
            "type": "message",
            "channel": where,
            "channel_type": "im" if where.startswith("D") else "channel",
            "user": user,
            "text": text,
            "ts": self.stamp(),
            **fields,
        }
        self.event(event, lane=where)
        return event

    def event(self, event: dict[str, Any], lane: Any = None) -> None:
        """Any event, handed to the gateway."""
        body = callback(event, f"Ev{self._stamp:09d}")
        self.push(lambda: Post(signed(body), body), lane)

    def stamp(self) -> str:
        """The next ts."""
        self._stamp += 1
        return f"{int(time.time())}.{self._stamp:06d}"

    def texts(self) -> list[str]:
        """What people got, as they read it."""
        return [sent.text for sent in self.sent]

    # --- the Web API --------------------------------------------------------

    async def _method(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        body = await request.read()
        data = json.loads(body) if body else dict(request.query)

        async def act() -> web.StreamResponse:
            try:
                if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise SlackError("invalid_auth")
                scopes = {"X-OAuth-Scopes": ",".join(self.scopes)}
                if (needed := NEEDED.get(method, "")) and needed not in self.scopes:
                    lacking = {"ok": False, "error": "missing_scope", "needed": needed}
                    return json_reply(lacking, **scopes)
                return json_reply({"ok": True, **self._do(method, data)}, **scopes)
            except SlackError as error:
                return json_reply({"ok": False, "error": str(error)})

        return await self.answer(method, request, data, act)

    def _do(self, method: str, data: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "auth.test":
                return {"user_id": BOT, "user": "fake_bot", "team": "Fakes", "team_id": "T1"}
            case "chat.postMessage":
                return self._post(data)
            case "chat.update":
                return self._update(data)
            case "files.getUploadURLExternal":
                name = f"F{len(self.uploads)}"
                self.uploads[name] = b""
                if int(data["length"]) < 1 or not data["filename"]:
                    raise SlackError("invalid_arguments")
                return {"upload_url": f"{self.url}/upload/{name}", "file_id": name}
            case "files.completeUploadExternal":
                return self._share(data)
            case "users.info":
                user = data["user"]
                name = self.people.get(user, f"Person {user}")
                profile = {"real_name": name, "display_name": ""}
                return {"user": {"id": user, "name": "p", "profile": profile}}
        raise SlackError("unknown_method")

    def _post(self, data: dict[str, Any]) -> dict[str, Any]:
        if not data.get("channel"):
            raise SlackError("channel_not_found")
        if not data.get("text", "").strip():
            raise SlackError("no_text")
        if len(data["text"]) > 40_000:
            raise SlackError("msg_too_long")
        sent = Sent(data["channel"], read(data["text"]), self.stamp(), time.monotonic(), data)
        self.sent.append(sent)
        self.changed()
        return {"channel": sent.channel, "ts": sent.ts}

    def _update(self, data: dict[str, Any]) -> dict[str, Any]:
        for sent in self.sent:
            if (sent.channel, sent.ts) == (data["channel"], data["ts"]):
                sent.text = read(data["text"])
                self.changed()
                return {"channel": sent.channel, "ts": sent.ts}
        raise SlackError("message_not_found")

    def _share(self, data: dict[str, Any]) -> dict[str, Any]:
        names = [file["id"] for file in data["files"]]
        if any(not self.uploads.get(name) for name in names):
            raise SlackError("file_not_found")
        text = read(data.get("initial_comment", ""))
        self.sent.append(Sent(data["channel_id"], text, self.stamp(), time.monotonic(), data))
        self.changed()
        return {"files": [{"id": name} for name in names]}

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()

        async def act() -> web.StreamResponse:
            self.uploads[request.match_info["id"]] = body
            return web.Response(text="OK")

        return await self.answer("upload", request, len(body), act)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]

        async def act() -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return web.Response(status=403)
            if name not in self.files:
                return web.Response(status=404)
            return web.Response(body=self.files[name])

        return await self.answer("file", request, name, act)


def read(text: str) -> str:
    """Escapes as people see them."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def callback(event: Any, event_id: str = "Ev1") -> bytes:
    """A whole call of the Events API."""
    whole = {
        "type": "event_callback",
        "team_id": "T1",
        "api_app_id": "A1",
        "event_id": event_id,
        "event_time": 1700000000,
        "authorizations": [{"user_id": BOT, "is_bot": True}],
        "event": event,
    }
    return json.dumps(whole).encode()


def form(payload: Any) -> bytes:
    """A whole call of Interactivity."""
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed(
    body: bytes, at: float | None = None, secret: str = SIGNING_SECRET, retry: int = 0
) -> dict[str, str]:
    """The headers of an authentic call."""
    stamp = str(int(time.time() if at is None else at))
    base = b"v0:" + stamp.encode() + b":" + body
    signature = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    again = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={signature}",
        **(again if retry else {}),
    }


async def _serve(port: int) -> None:
    async with FakeSlack(port=port) as fake:
        print(f"OPENCLAW_SLACK_API_URL={fake.url}/api OPENCLAW_SLACK_TOKEN={TOKEN}")
        print(f"OPENCLAW_SLACK_SIGNING_SECRET={SIGNING_SECRET}")
        fake.follow("http://127.0.0.1:8000/webhooks/slack")
        while line := await asyncio.to_thread(input, "say: "):
            fake.say("U5", line)
            await asyncio.sleep(1)
            print(fake.texts()[-3:])


def main() -> None:
    """Blocks until an empty line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8083)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
