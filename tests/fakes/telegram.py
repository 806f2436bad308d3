"""A Bot API server of our own: real HTTP, on 127.0.0.1.

In a test::

    async with FakeTelegram() as fake:      # or: with FakeTelegram.in_thread() as fake:
        fake.say(5, "hello")                # user 5 writes; returns the update
        fake.fail("sendMessage", status=500)
        fake.texts(5)                       # what the bot sent into chat 5

By hand: `python -m tests.fakes.telegram --port 8081`, the gateway with
`OPENCLAW_TELEGRAM_API_URL=http://127.0.0.1:8081` and any token, then::

    curl -d '{"user": 5, "text": "hello"}' http://127.0.0.1:8081/_ctl/say
    curl http://127.0.0.1:8081/_ctl/sent

Methods that change something may be called from any thread.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web

from tests.fakes._telegram_media import MediaSide, keyboard
from tests.fakes._telegram_parts import (
    ApiError,
    Call,
    Fault,
    Sent,
    Webhook,
    check_text,
    cut,
    in_a_thread,
    json_reply,
    message_from,
    parameters,
    send_half,
)

MENU_NAME = re.compile(r"[a-z0-9_]{1,32}", re.ASCII)
BOT = {"id": 7000000001, "is_bot": True, "first_name": "Fake", "username": "fake_bot"}
LONGEST_POLL_SECONDS = 50.0
LOOK_AGAIN_SECONDS = 0.05


class FakeTelegram(MediaSide):
    """The server. `url` is what goes into the adapter's `api_url`."""

    def __init__(self, *, port: int = 0, token: str | None = None, retry_seconds: float = 0.05):
        super().__init__()
        self.token = token
        self.calls: list[Call] = []
        self.sent: list[Sent] = []
        self.pending: dict[int, dict[str, Any]] = {}
        self.menu: list[dict[str, str]] = []
        self.webhook = Webhook(self, retry_seconds)
        self.url = ""
        self._port = port
        self._faults: list[Fault] = []
        self._blocked: set[int] = set()
        self._message_ids: defaultdict[int, int] = defaultdict(int)
        self._update_id = 1000
        self._poll = 0
        self._changed = threading.Condition()
        self._wakes: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()

    # --- life ---------------------------------------------------------------

    async def __aenter__(self) -> FakeTelegram:
        self._loop = asyncio.get_running_loop()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/bot{token}/{method}", self._api)
        app.router.add_get("/file/bot{token}/{path:.+}", self.file)
        app.router.add_post("/_ctl/say", self._ctl_say)
        app.router.add_get("/_ctl/sent", self._ctl_sent)
        app.router.add_post("/_ctl/fail", self._ctl_fail)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self.notify()
        await self.webhook.stop()
        assert self._runner is not None
        await self._runner.cleanup()

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Any) -> Iterator[FakeTelegram]:
        """The same in a thread with a loop of its own, for tests that are not async."""
        with in_a_thread(lambda: cls(**options)) as fake:
            yield fake

    # --- what a test does ---------------------------------------------------

    def say(
        self, user: int, text: str | None = None, chat: int | None = None, **fields: Any
    ) -> dict[str, Any]:
        """User `user` writes into `chat` (their own by default). `fields` go into the message."""

        def speak() -> dict[str, Any]:
            where = user if chat is None else chat
            self._message_ids[where] += 1
            message = message_from(user, where, self._message_ids[where], text, fields)
            return self._push({"message": message})

        return self._on_loop(speak)

    def edit(self, message: dict[str, Any], text: str) -> dict[str, Any]:
        """The writer changes a message (the `message` of an update) to `text`."""
        edited = {**message, "text": text, "edit_date": int(time.time())}
        return self.push({"edited_message": edited})

    def push(self, update: Any) -> Any:
        """Any update, readable or not; it gets an `update_id` if it has none."""
        return self._on_loop(lambda: self._push(update))

    def fail(self, method: str, *, times: int = 1, chat: int | None = None, **what: Any) -> None:
        """The next `times` calls of `method` (into `chat`) go wrong.

        `status=500` with `body=b"…"` or `description="…"`; `retry_after=7`;
        `migrate_to=-100…`; `drop="before"` or `"after"` the message is kept;
        `half=True` (half an answer, after it is kept); `hang=True` (no answer
        ever, nothing kept).
        """
        self._on_loop(lambda: self._faults.append(Fault(method, times, chat, **what)))

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self._on_loop(self._faults.clear)

    def block(self, chat: int) -> None:
        """The person blocks the bot."""
        self._on_loop(lambda: self._blocked.add(chat))

    # --- what a test looks at -----------------------------------------------

    def texts(self, chat: int | None = None) -> list[str]:
        """Texts sent into `chat` (everywhere by default), in order."""
        return [sent.text for sent in list(self.sent) if chat in (None, sent.chat_id)]

    def called(self, method: str) -> list[Call]:
        """Calls of one method, in order."""
        return [call for call in list(self.calls) if call.method.lower() == method.lower()]

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Blocks until `predicate()` is true and returns its value. Not for the loop's thread.

        Looks again whenever something happens here, and now and then besides.
        """
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

    def _push(self, update: Any) -> Any:
        if isinstance(update, dict):
            update = {"update_id": self._update_id + 1, **update}
            self._update_id = max(self._update_id, update["update_id"])
            self.pending[update["update_id"]] = update
        self.webhook.enqueue(update)
        self.notify()
        return update

    def confirm(self, update_id: int) -> None:
        """An update was taken; it will not come again."""
        self.pending.pop(update_id, None)
        self.notify()

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method, token = request.match_info["method"], request.match_info["token"]
        params = await parameters(request)
        self.calls.append(Call(method, params, time.monotonic(), token))
        self.notify()
        try:
            if ":" not in token:
                raise ApiError(404, "Not Found")
            if self.token is not None and token != self.token:
                raise ApiError(401, "Unauthorized")
            fault = self._fault(method, params)
            if fault is not None:
                return await self._go_wrong(fault, request, params)
            what = f"{method} {params.get('chat_id')}"
            return await self.in_weather(request, what, lambda: self._done(method, params))
        except ApiError as error:
            return error.reply()

    async def _done(self, method: str, params: dict[str, Any]) -> web.StreamResponse:
        return json_reply({"ok": True, "result": await self._answer(method, params)})

    def _fault(self, method: str, params: dict[str, Any]) -> Fault | None:
        chat = str(params.get("chat_id"))
        for fault in self._faults:
            meant = fault.method.lower() == method.lower() and fault.times > 0
            if meant and (fault.chat is None or str(fault.chat) == chat):
                fault.times -= 1
                return fault
        return None

    async def _go_wrong(
        self, fault: Fault, request: web.Request, params: dict[str, Any]
    ) -> web.StreamResponse:
        if fault.hang:
            await self._closing.wait()
        if fault.drop == "after" or fault.half:
            result = await self._answer(fault.method, params)
            if fault.half:
                await send_half(request, result)
        if fault.drop or fault.half or fault.hang:
            return cut(request)
        return fault.reply()

    async def _answer(self, method: str, params: dict[str, Any]) -> Any:
        handler = getattr(self, f"_do_{method.lower()}", None)
        if handler is None:
            raise ApiError(404, "Not Found")
        return await handler(params)

    async def _do_getme(self, params: dict[str, Any]) -> Any:
        return BOT

    async def _do_setwebhook(self, params: dict[str, Any]) -> Any:
        if params.get("drop_pending_updates"):
            self.pending.clear()
        await self.webhook.start(params)
        self.notify()
        return True

    async def _do_getwebhookinfo(self, params: dict[str, Any]) -> Any:
        found = {"url": self.webhook.url, "pending_update_count": len(self.pending)}
        if self.webhook.failed_at is None:
            return found
        return found | {
            "last_error_date": int(self.webhook.failed_at),
            "last_error_message": "Wrong response from the webhook: 503",
        }

    async def _do_deletewebhook(self, params: dict[str, Any]) -> Any:
        if params.get("drop_pending_updates"):
            self.pending.clear()
        await self.webhook.stop()
        self.notify()
        return True

    async def _do_getupdates(self, params: dict[str, Any]) -> Any:
        if self.webhook.url:
            raise ApiError(
                409, "Conflict: can't use getUpdates method while webhook is active; use "
                "deleteWebhook to delete the webhook first",
            )  # fmt: skip
        self._poll += 1
        mine = self._poll
        self.notify()
        limit = min(int(params.get("limit", 100)), 100)
        self._forget_below(int(params.get("offset", 0)))
        wait = min(float(params.get("timeout", 0)), LONGEST_POLL_SECONDS)
        try:
            await self.until(
                lambda: self.pending or self._poll != mine or self._closing.is_set(), wait
            )
        except TimeoutError:
            return []
        if self._poll != mine:
            raise ApiError(409, "Conflict: terminated by other getUpdates request; make sure "
                           "that only one bot instance is running")  # fmt: skip
        return [self.pending[update_id] for update_id in sorted(self.pending)][:limit]

    def _forget_below(self, offset: int) -> None:
        if offset < 0:
            offset = sorted(self.pending)[offset:][0] if self.pending else 0
        for update_id in [found for found in self.pending if found < offset]:
            del self.pending[update_id]

    async def _do_sendmessage(self, params: dict[str, Any]) -> Any:
        chat = self._chat(params)
        text, entities = check_text(params)
        keyboard(params)
        self._message_ids[chat] += 1
        sent = Sent(chat, text, self._message_ids[chat], time.monotonic(), entities, params)
        self.sent.append(sent)
        self.notify()
        return self._message(sent)

    async def _do_editmessagetext(self, params: dict[str, Any]) -> Any:
        chat = self._chat(params)
        text, entities = check_text(params)
        for sent in self.sent:
            if (sent.chat_id, sent.message_id) == (chat, int(params.get("message_id", 0))):
                if (sent.text, sent.entities) == (text, entities):
                    raise ApiError(400, "Bad Request: message is not modified: specified new "
                                   "message content is exactly the same")  # fmt: skip
                sent.text, sent.entities = text, entities
                self.notify()
                return self._message(sent)
        raise ApiError(400, "Bad Request: message to edit not found")

    async def _do_setmycommands(self, params: dict[str, Any]) -> Any:
        menu = [(one["command"], one["description"]) for one in params["commands"]]
        if not all(MENU_NAME.fullmatch(name) and 1 <= len(what) <= 256 for name, what in menu):
            raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
        self.menu = params["commands"]
        self.notify()
        return True

    async def _do_sendchataction(self, params: dict[str, Any]) -> Any:
        self._chat(params)
        return True

    def _chat(self, params: dict[str, Any]) -> int:
        try:
            chat = int(params["chat_id"])
        except (KeyError, ValueError):
            raise ApiError(400, "Bad Request: chat not found") from None
        if chat in self._blocked:
            raise ApiError(403, "Forbidden: bot was blocked by the user")
        return chat

    def _message(self, sent: Sent) -> dict[str, Any]:
        kind = "private" if sent.chat_id > 0 else "supergroup"
        return {
            "message_id": sent.message_id,
            "from": BOT,
            "chat": {"id": sent.chat_id, "type": kind},
            "date": int(time.time()),
            "text": sent.text,
            "entities": sent.entities,
        }

    # --- by hand ------------------------------------------------------------

    async def _ctl_say(self, request: web.Request) -> web.Response:
        return json_reply(self.say(**await request.json()))

    async def _ctl_sent(self, request: web.Request) -> web.Response:
        chat = request.query.get("chat")
        return json_reply(
            [self._message(sent) for sent in self.sent if chat in (None, str(sent.chat_id))]
        )

    async def _ctl_fail(self, request: web.Request) -> web.Response:
        self.fail(**await request.json())
        return json_reply({"ok": True})


async def _serve(port: int) -> None:
    async with FakeTelegram(port=port) as fake:
        print(f"Bot API at {fake.url}   say: {fake.url}/_ctl/say   sent: {fake.url}/_ctl/sent")
        await asyncio.Event().wait()


def main() -> None:
    """Runs until interrupted."""
    parser = argparse.ArgumentParser(description="A fake Telegram Bot API server.")
    parser.add_argument("--port", type=int, default=8081)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
