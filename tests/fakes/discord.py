"""A Discord of our own: REST and gateway over real sockets, on 127.0.0.1.

In a test::

    async with FakeDiscord() as fake:       # or: with FakeDiscord.in_thread() as fake:
        fake.say(5, "hello")                # person 5 writes directly; returns the message
        fake.fail("send", status=403, code=50007)
        fake.gateway.drop()                 # the connection is cut
        fake.texts(direct_chat(5))          # what the bot sent there, as it reads now

By hand: `python -m tests.fakes.discord --port 8083`, the gateway with
`OPENCLAW_DISCORD_API_URL=http://127.0.0.1:8083/api/v10`,
`OPENCLAW_DISCORD_GATEWAY_URL=ws://127.0.0.1:8083/gateway` and any token of the
form a.b.c, then::

    curl -d '{"person": 5, "text": "hello"}' http://127.0.0.1:8083/_ctl/say
    curl http://127.0.0.1:8083/_ctl/sent

Methods that change something may be called from any thread.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes._discord_gateway import FakeGateway
from tests.fakes._discord_parts import (
    BOT,
    BOT_ID,
    Call,
    Chat,
    Fault,
    Snowflakes,
    direct_chat,
    json_reply,
    user,
    user_id,
)
from tests.fakes._discord_rest import ROUTES, RestSide
from tests.fakes._telegram_parts import in_a_thread
from tests.fakes._weather import Push

LOOK_AGAIN_SECONDS = 0.05


class FakeDiscord(RestSide):
    """The server. `url` and `gateway_url` go into the adapter's configuration."""

    def __init__(
        self, *, port: int = 0, token: str | None = None, dedupe_seconds: float = 120.0
    ) -> None:
        super().__init__(token, dedupe_seconds)
        self.guilds: dict[str, dict[str, Any]] = {}
        self._delayed: Counter[str] = Counter()  # events still to go out, by chat
        self._last_at: dict[str, float] = {}
        self.gateway = FakeGateway(token, self._ready, self.notify)
        self.url = self.gateway_url = self.origin = ""
        self._port = port
        self._ids = Snowflakes()
        self._changed = threading.Condition()
        self._wakes: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None

    # --- life ---------------------------------------------------------------

    async def __aenter__(self) -> FakeDiscord:
        self._loop = asyncio.get_running_loop()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        add = app.router.add_route
        add("GET", "/gateway/", self._gateway)
        add("GET", "/gateway", self._gateway)
        for method, path, what in ROUTES:
            add(method, f"/api/v10{path}", self.route(what))
        add("GET", "/attachments/{number}/{name}", self.file)
        add("GET", "/stickers/{name}", self.file)
        add("POST", "/_ctl/say", self._ctl_say)
        add("GET", "/_ctl/sent", self._ctl_sent)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.origin = f"http://127.0.0.1:{self._port}"
        self.url = f"{self.origin}/api/v10"
        self.gateway_url = f"ws://127.0.0.1:{self._port}/gateway"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self.gateway.stop()
        assert self._runner is not None
        await self._runner.cleanup()

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Any) -> Iterator[FakeDiscord]:
        """The same in a thread with a loop of its own, for tests that are not async."""
        build: Any = lambda: cls(**options)  # noqa: E731
        with in_a_thread(build) as fake:
            yield fake  # type: ignore[misc]  # the helper is written for another fake

    # --- what a test does ---------------------------------------------------

    def direct(self, person: int) -> Chat:
        """The direct chat of a person; made when it is first asked for."""
        number = direct_chat(person)
        return self.chats.setdefault(number, Chat(number, person=person))

    def add_guild(self, guild: int = 1) -> str:
        """A server with one text channel and the bot's own role. Returns the channel's id."""
        number, role = str(500_000_000_000_000_000 + guild), str(510_000_000_000_000_000 + guild)
        self.guilds[number] = {
            "id": number, "name": f"Guild {guild}", "owner_id": user_id(1), "emojis": [],
            "stickers": [], "members": [], "presences": [], "voice_states": [],
            "stage_instances": [], "guild_scheduled_events": [], "features": [],
            "unavailable": False, "member_count": 3, "verification_level": 0, "mfa_level": 0,
            "explicit_content_filter": 0, "default_message_notifications": 0, "nsfw_level": 0,
            "preferred_locale": "en-US", "premium_tier": 0, "system_channel_flags": 0,
            "soundboard_sounds": [],
            "roles": [
                {"id": number, "name": "@everyone", "permissions": "0", "position": 0, "color": 0},
                {"id": role, "name": "Bot", "permissions": "0", "position": 1, "color": 0,
                 "tags": {"bot_id": BOT_ID}},
            ],
        }  # fmt: skip
        return self.add_channel(number, 0)

    def add_channel(self, guild_id: str, kind: int = 0) -> str:
        """A channel (or thread: 11) of a server. Returns its id."""
        number = self._ids.new()
        self.chats[number] = Chat(number, kind, guild_id, "channel")
        return number

    def say(
        self, person: int, text: str = "", chat: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """A person writes, directly or into `chat`. `fields` go into the message."""

        def speak() -> dict[str, Any]:
            where = self.chats[chat] if chat else self.direct(person)
            message = self.message_of(where, user(person), text)
            message.update(fields)
            where.messages.append(message)
            self._hand_out("MESSAGE_CREATE", self.with_guild(where, message))
            return message

        return self._on_loop(speak)  # type: ignore[no-any-return]

    def edit(self, message: dict[str, Any], text: str) -> None:
        """The writer changes a message."""

        def change() -> None:
            message.update(content=text, edited_timestamp=_now())
            where = self.chats[message["channel_id"]]
            self.gateway.dispatch("MESSAGE_UPDATE", self.with_guild(where, message))

        self._on_loop(change)

    def dispatch(self, kind: str, data: Any) -> None:
        """Any event, readable or not."""
        self._on_loop(lambda: self.gateway.dispatch(kind, data))

    def press(self, person: int, receipt: str, custom_id: str) -> dict[str, Any]:
        """A person presses a button under a message of the bot."""

        def push() -> dict[str, Any]:
            sent = next(one for one in self.sent if one.id == receipt)
            chat = self.chats[sent.chat]
            number = self._ids.new()
            data = {
                "id": number, "application_id": BOT_ID, "type": 3, "version": 1,
                "token": f"interaction-token-{number}", "channel_id": chat.id, "user": user(person),
                "message": self.message_of(chat, BOT, sent.text, sent.id),
                "data": {"component_type": 2, "custom_id": custom_id},
                "entitlements": [], "attachment_size_limit": 10485760,
                "authorizing_integration_owners": {},
            }  # fmt: skip
            self.gateway.dispatch("INTERACTION_CREATE", data)
            return data

        return self._on_loop(push)  # type: ignore[no-any-return]

    def attach(self, name: str, data: bytes, mime: str) -> dict[str, Any]:
        """An attachment for `say(…, attachments=[…])`."""
        number = self._ids.new()
        path = f"/attachments/{number}/{name}"
        self.attachments[path] = data
        return {
            "id": number, "filename": name, "size": len(data), "content_type": mime,
            "url": f"{self.origin}{path}?ex=1&is=2&hm=3", "proxy_url": f"{self.origin}{path}",
        }  # fmt: skip

    def fail(self, what: str, *, times: int = 1, chat: str | None = None, **how: Any) -> None:
        """The next `times` calls of `what` (send, edit, me, history, …) go wrong.

        `status=403, code=50007`; `body=b"…"`; `retry_after=7` (`banned=True`: by what
        stands before Discord); `drop="before"` or `"after"` it is done; `half=True`;
        `hang=True`.
        """
        self._on_loop(lambda: self._faults.append(Fault(what, times, chat, **how)))

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self._on_loop(self._faults.clear)

    def on_gateway(self, act: Callable[[FakeGateway], Any]) -> Any:
        """`act(gateway)` in the fake's own loop."""
        return self._on_loop(lambda: act(self.gateway))

    # --- what a test looks at -----------------------------------------------

    def texts(self, chat: str | None = None) -> list[str]:
        """Texts of the bot, as they read now, in order."""
        return [sent.text for sent in list(self.sent) if chat in (None, sent.chat)]

    def called(self, what: str) -> list[Call]:
        """Calls of one kind, in order."""
        return [call for call in list(self.calls) if call.what == what]

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Blocks until `predicate()` is true. Not for the loop's thread."""
        deadline = time.monotonic() + timeout
        while not (found := predicate()):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {timeout} s; sent: {self.texts()[-5:]}"
            with self._changed:
                self._changed.wait(min(left, LOOK_AGAIN_SECONDS))
        return found

    async def until(self, predicate: Callable[[], Any], timeout: float = 30.0) -> Any:
        """The same for async tests."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            async with asyncio.timeout(timeout):
                while not (found := predicate()):
                    wake.clear()
                    await wake.wait()
        finally:
            self._wakes.discard(wake)
        return found

    # --- inside -------------------------------------------------------------

    def _on_loop(self, act: Callable[[], Any]) -> Any:
        assert self._loop is not None, "not started"
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            return act()

        async def run() -> Any:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def notify(self) -> None:
        """Something happened: whoever waits looks again."""
        with self._changed:
            self._changed.notify_all()
        for wake in self._wakes:
            wake.set()

    def _ready(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        guilds = []
        for number, guild in self.guilds.items():
            chats = [chat for chat in self.chats.values() if chat.guild_id == number]
            channels = [chat.shown() for chat in chats if chat.type not in (10, 11, 12)]
            threads = [
                {**chat.shown(), "parent_id": channels[0]["id"], "owner_id": user_id(1),
                 "message_count": 1, "member_count": 1, "rate_limit_per_user": 0,
                 "thread_metadata": {"archived": False, "auto_archive_duration": 60,
                                     "archive_timestamp": _now(), "locked": False}}
                for chat in chats if chat.type in (10, 11, 12)
            ]  # fmt: skip
            guilds.append({**guild, "channels": channels, "threads": threads})
        away = [{"id": number, "unavailable": True} for number in self.guilds]
        ready = {
            "v": 10, "user": BOT, "guilds": away, "resume_gateway_url": self.gateway_url,
            "application": {"id": BOT_ID, "flags": 1 << 19}, "private_channels": [],
        }  # fmt: skip
        return ready, guilds

    def message_of(
        self, chat: Chat, author: dict[str, Any], text: str, number: str = ""
    ) -> dict[str, Any]:
        return {
            "id": number or self._ids.new(), "channel_id": chat.id, "author": author,
            "content": text, "timestamp": _now(), "edited_timestamp": None, "tts": False,
            "mention_everyone": False, "mentions": [], "mention_roles": [], "attachments": [],
            "embeds": [], "pinned": False, "type": 0, "flags": 0, "components": [],
        }  # fmt: skip

    def with_guild(self, chat: Chat, message: dict[str, Any]) -> dict[str, Any]:
        """As the gateway shows it: the history shows no guild."""
        if not chat.guild_id:
            return dict(message)
        member = {"roles": [], "joined_at": _now(), "deaf": False, "mute": False, "flags": 0}
        return {**message, "guild_id": chat.guild_id, "member": member}

    def _hand_out(self, kind: str, data: dict[str, Any]) -> None:
        """In order within a chat, whatever the weather: chats overtake each other."""
        assert self._loop is not None
        push = self.weather.on_push() if self.weather else Push()
        chat = str(data.get("channel_id"))

        def dispatch() -> None:
            for _ in range(push.times):
                self.gateway.dispatch(kind, data)

        def dispatch_late() -> None:
            self._delayed[chat] -= 1
            dispatch()

        if not push.delay and not self._delayed[chat]:
            dispatch()
            return
        at = max(self._loop.time() + push.delay, self._last_at.get(chat, 0.0) + 0.0001)
        self._last_at[chat] = at
        self._delayed[chat] += 1
        self._loop.call_at(at, dispatch_late)

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if self.weather and self.weather.on_call("gateway") in ("lost", "cut", "broken"):
            return web.Response(status=503)
        return await self.gateway.serve(request)

    # --- by hand ------------------------------------------------------------

    async def _ctl_say(self, request: web.Request) -> web.Response:
        return json_reply(self.say(**await request.json()))

    async def _ctl_sent(self, request: web.Request) -> web.Response:
        return json_reply([{"chat": sent.chat, "text": sent.text} for sent in self.sent])


def _now() -> str:
    return datetime.now(UTC).isoformat()


async def _serve(port: int) -> None:
    async with FakeDiscord(port=port) as fake:
        print(f"REST at {fake.url}   gateway at {fake.gateway_url}   {fake.origin}/_ctl/say")
        await asyncio.Event().wait()


def main() -> None:
    """Runs until interrupted."""
    parser = argparse.ArgumentParser(description="A fake Discord.")
    parser.add_argument("--port", type=int, default=8083)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
