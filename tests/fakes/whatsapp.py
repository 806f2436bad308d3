"""A Cloud API server of our own: real HTTP, on 127.0.0.1.

In a test::

    async with FakeWhatsapp() as fake:
        fake.say("15550001111", "hello")        # somebody writes
        fake.fail("send", status=500)
        fake.sent                               # what people got

By hand: `python -m tests.fakes.whatsapp --port 8082`, the gateway with
`OPENCLAW_WHATSAPP_API_URL=http://127.0.0.1:8082` and the settings it prints.
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

from aiohttp import web

from tests.fakes._platform import FakePlatform, Post, json_reply

TOKEN = "FAKE-whatsapp-token-of-the-tests"
APP_SECRET = "fake-app-secret-of-the-tests"
VERIFY_TOKEN = "fake-verify-token-of-the-tests"
PNID = "106540352242922"
VERSION = "v25.0"


TAKEN = {  # docs: Supported Media Types
    "image": {"image/jpeg", "image/png"},
    "sticker": {"image/webp"},
    "audio": {"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"},
    "video": {"video/mp4", "video/3gpp"},
}
UPLOADED = set().union(
    *TAKEN.values(),
    {
        "text/plain",
        "application/pdf",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    },
)


@dataclass(slots=True)
class Sent:
    """One message that reached a person."""

    to: str
    text: str
    receipt: str
    at: float
    message: dict[str, Any] = field(default_factory=dict)


class GraphError(Exception):
    """An answer that is not a result."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "Fake"}
        self.reply = json_reply({"error": {**error, **more}}, status)


class FakeWhatsapp(FakePlatform):
    """One number, its people, their files."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.sent: list[Sent] = []
        self.written: list[dict[str, Any]] = []
        self.reads: list[dict[str, Any]] = []
        self.uploads: dict[str, tuple[str, bytes, str]] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.closed: set[str] = set()
        self.tells = True
        self._number = 0

    def routes(self) -> list[web.RouteDef]:
        """Messages, uploads, files, and the number itself."""
        base = f"/{VERSION}"
        return [
            web.post(f"{base}/{PNID}/messages", self._messages),
            web.post(f"{base}/{PNID}/media", self._upload),
            web.get("/files/{id}", self._file),
            web.get(base + "/{id}", self._node),
        ]

    def busy(self, seconds: int) -> web.Response:
        """As Graph says it of one person's chat: a code, and perhaps a header."""
        reply = GraphError(400, 131056, "(#131056) Pair rate limit hit").reply
        reply.headers["Retry-After"] = str(seconds)
        return reply

    def broken(self, status: int) -> web.Response:
        """An error of the server's own."""
        return GraphError(status, 131000, "(#131000) Something went wrong").reply

    # --- what a test does ---------------------------------------------------

    def say(self, person: str, text: str, **fields: Any) -> dict[str, Any]:
        """A person writes. `fields` go into the message."""
        return self.message(person, {"type": "text", "text": {"body": text}, **fields})

    def message(self, person: str, content: dict[str, Any]) -> dict[str, Any]:
        """Any message of a person, handed to the gateway."""
        self._number += 1
        message = {
            "from": person,
            "id": f"wamid.IN{self._number:08d}",
            "timestamp": str(int(time.time())),
            **content,
        }
        self.written.append(message)
        contact = {"profile": {"name": f"Person {person}"}, "wa_id": person}
        self.deliver({"contacts": [contact], "messages": [message]}, lane=person)
        return message

    def deliver(self, value: dict[str, Any], lane: Any = None) -> None:
        """One change of the field `messages`."""
        body = envelope(value)
        self.push(lambda: Post(signed(body), body), lane)

    def close_window(self, person: str) -> None:
        """More than 24 hours have passed for this person."""
        self.closed.add(person)

    def texts(self) -> list[str]:
        """What people got, as they read it."""
        return [sent.text for sent in self.sent]

    # --- Graph --------------------------------------------------------------

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        data = await request.json()
        name = "read" if data.get("status") == "read" else "send"
        return await self.answer(name, request, data, lambda: self._do(request, data))

    async def _do(self, request: web.Request, data: dict[str, Any]) -> web.StreamResponse:
        try:
            self._check(request)
            if data.get("status") == "read":
                self.reads.append(data)
                return json_reply({"success": True})
            return self._take(data)
        except GraphError as error:
            return error.reply

    def _check(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise GraphError(401, 190, "Invalid OAuth access token")

    def _take(self, data: dict[str, Any]) -> web.Response:
        to = data.get("to") or data.get("recipient")
        if data.get("messaging_product") != "whatsapp" or not to:
            raise GraphError(400, 100, "(#100) Invalid parameter")
        if to in self.closed and data["type"] != "template":
            raise GraphError(400, 131047, "(#131047) Re-engagement message")
        text = self._text(data)
        receipt = f"wamid.OUT{len(self.sent):08d}"
        self.sent.append(Sent(to, text, receipt, time.monotonic(), data))
        self.changed()
        if self.tells:
            self._tell(to, receipt, data.get("biz_opaque_callback_data"))
        contact = {"input": to, "wa_id": to}
        return json_reply({"contacts": [contact], "messages": [{"id": receipt}]})

    def _text(self, data: dict[str, Any]) -> str:
        """What the person reads; refused as Graph refuses it."""
        kind = data["type"]
        content = data.get(kind) or {}
        match kind:
            case "text":
                return _checked(content["body"], 4096)
            case "interactive":
                buttons = content["action"]["buttons"]
                _check_buttons([one["reply"] for one in buttons])
                return _checked(content["body"]["text"], 1024)
            case "location":
                return f"{content['latitude']}, {content['longitude']}"
            case "template":
                (parameter,) = content["components"][0]["parameters"]
                if "\n" in parameter["text"]:
                    raise GraphError(400, 132018, "(#132018) New line in a parameter")
                return f"[{content['name']}] {_checked(parameter['text'], 1024)}"
        if content.get("id") not in self.uploads:
            raise GraphError(400, 131053, "(#131053) Media upload error")
        taken = TAKEN.get(kind)
        if taken is not None and self.uploads[content["id"]][2].partition(";")[0] not in taken:
            raise GraphError(400, 131053, "(#131053) Media upload error: unsupported type")
        caption = str(content.get("caption", ""))
        return _checked(caption, 1024) if caption else ""

    def _tell(self, to: str, receipt: str, key: Any) -> None:
        for state in ("sent", "delivered", "read"):
            status = {
                "id": receipt,
                "status": state,
                "timestamp": str(int(time.time())),
                "recipient_id": to,
                **({"biz_opaque_callback_data": key} if key else {}),
            }
            self.deliver({"statuses": [status]}, lane=f"statuses of {to}")

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        file = form.get("file")

        async def act() -> web.StreamResponse:
            try:
                self._check(request)
            except GraphError as error:
                return error.reply
            if not isinstance(file, web.FileField) or form.get("messaging_product") != "whatsapp":
                return GraphError(400, 100, "(#100) Invalid parameter").reply
            if file.content_type.partition(";")[0] not in UPLOADED:
                return GraphError(400, 100, "(#100) Param file must be of a supported type").reply
            handle = f"90{len(self.uploads)}"
            self.uploads[handle] = (file.filename, file.file.read(), str(form["type"]))
            return json_reply({"id": handle})

        return await self.answer("upload", request, dict(form), act)

    async def _node(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]

        async def act() -> web.StreamResponse:
            try:
                self._check(request)
            except GraphError as error:
                return error.reply
            if name == PNID:
                return json_reply(
                    {"display_phone_number": "+1 555 010 0000", "verified_name": "Fake", "id": PNID}
                )
            if name not in self.files:
                return GraphError(404, 100, "(#100) Unsupported get request").reply
            mime, content = self.files[name]
            return json_reply(
                {"url": f"{self.url}/files/{name}", "mime_type": mime, "file_size": len(content)}
            )

        return await self.answer("node", request, name, act)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]

        async def act() -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return web.Response(status=401)
            if name not in self.files:
                return web.Response(status=404)
            return web.Response(body=self.files[name][1])

        return await self.answer("file", request, name, act)


def _check_buttons(replies: list[dict[str, str]]) -> None:
    """One to three, none too long, no two alike."""
    for name, limit in (("title", 20), ("id", 256)):
        said = [reply[name] for reply in replies]
        long = any(not 0 < len(one) <= limit for one in said)
        if long or len(set(said)) < len(said) or not 1 <= len(said) <= 3:
            raise GraphError(400, 131009, "(#131009) Parameter value is not valid")


def _checked(text: str, limit: int) -> str:
    if not text or len(text.encode("utf-16-le")) // 2 > limit:
        raise GraphError(400, 100, f"(#100) Param text must be at most {limit} characters long")
    return text


def envelope(value: dict[str, Any], pnid: str = PNID) -> bytes:
    """A whole webhook call, as Meta writes it: everything beyond ASCII escaped."""
    metadata = {"display_phone_number": "15550100000", "phone_number_id": pnid}
    whole = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    change = {"field": "messages", "value": whole}
    entry = {"id": "102290129340398", "changes": [change]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def signed(body: bytes, secret: str = APP_SECRET) -> dict[str, str]:
    """The headers of an authentic call."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}


async def _serve(port: int) -> None:
    async with FakeWhatsapp(port=port) as fake:
        print(f"OPENCLAW_WHATSAPP_API_URL={fake.url} OPENCLAW_WHATSAPP_TOKEN={TOKEN}")
        print(f"OPENCLAW_WHATSAPP_PHONE_NUMBER_ID={PNID} OPENCLAW_WHATSAPP_APP_SECRET={APP_SECRET}")
        print(f"OPENCLAW_WHATSAPP_VERIFY_TOKEN={VERIFY_TOKEN}")
        fake.follow("http://127.0.0.1:8000/webhooks/whatsapp")
        while line := await asyncio.to_thread(input, "say: "):
            fake.say("15550001111", line)
            await asyncio.sleep(1)
            print([sent.text for sent in fake.sent[-3:]])


def main() -> None:
    """Blocks until an empty line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8082)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
