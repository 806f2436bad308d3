"""The fake Bot API beyond texts: files both ways, places, drafts, presses of buttons, weather."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fakes._telegram_parts import ApiError, Sent, check_text, cut, message_from
from tests.fakes._weather import Weather

LARGEST_DOWNLOAD = 20 * 1024 * 1024
LARGEST = {"photo": 10 * 1024 * 1024, "voice": 1024 * 1024}
LARGEST_OTHER = 50 * 1024 * 1024
MAX_CALLBACK_BYTES = 64


class MediaSide:
    """Mixed into the fake."""

    sent: list[Sent]
    notify: Callable[[], None]
    push: Callable[[Any], Any]
    _chat: Callable[[dict[str, Any]], int]
    _message: Callable[[Sent], dict[str, Any]]
    _message_ids: defaultdict[int, int]
    _on_loop: Callable[[Callable[[], Any]], Any]

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.drafts: dict[tuple[int, int], list[str]] = {}
        self.presses: list[str] = []
        self.answered: list[str] = []
        self.weather: Weather | None = None

    # --- what a test does ---------------------------------------------------

    def press(self, user: int, sent: Sent, value: str) -> dict[str, Any]:
        """The user presses a button under a message of the bot's."""
        number = f"{9000 + len(self.presses)}"
        self.presses.append(number)
        query = {
            "id": number,
            "from": message_from(user, user, 1, "", {})["from"],
            "message": self._message(sent),
            "chat_instance": "1",
            "data": value,
        }
        update: dict[str, Any] = self.push({"callback_query": query})
        return update

    def forget_presses(self) -> None:
        """They are too old to be answered."""
        self.presses.clear()

    # --- methods ------------------------------------------------------------

    async def _do_sendphoto(self, params: dict[str, Any]) -> Any:
        return self._take_file("photo", params)

    async def _do_sendvideo(self, params: dict[str, Any]) -> Any:
        return self._take_file("video", params)

    async def _do_sendaudio(self, params: dict[str, Any]) -> Any:
        return self._take_file("audio", params)

    async def _do_sendvoice(self, params: dict[str, Any]) -> Any:
        return self._take_file("voice", params)

    async def _do_sendanimation(self, params: dict[str, Any]) -> Any:
        return self._take_file("animation", params)

    async def _do_sendsticker(self, params: dict[str, Any]) -> Any:
        return self._take_file("sticker", params)

    async def _do_senddocument(self, params: dict[str, Any]) -> Any:
        return self._take_file("document", params)

    def _take_file(self, field: str, params: dict[str, Any]) -> Any:
        chat = self._chat(params)
        content = params.get(field)
        if not isinstance(content, bytes) or not content:
            raise ApiError(400, "Bad Request: file must be non-empty")
        if len(content) > LARGEST.get(field, LARGEST_OTHER):
            raise ApiError(413, "Request Entity Too Large")
        caption = params.get("caption", "")
        if len(caption.encode("utf-16-le")) // 2 > 1024:
            raise ApiError(400, "Bad Request: message caption is too long")
        return self._take(chat, caption, params, file=content)

    async def _do_sendlocation(self, params: dict[str, Any]) -> Any:
        return self._take(self._chat(params), "", params)

    async def _do_sendvenue(self, params: dict[str, Any]) -> Any:
        if not params.get("title") or not params.get("address"):
            raise ApiError(400, "Bad Request: wrong venue")
        return self._take(self._chat(params), params["title"], params)

    def _take(
        self, chat: int, text: str, params: dict[str, Any], file: bytes | None = None
    ) -> dict[str, Any]:
        self._message_ids[chat] += 1
        sent = Sent(chat, text, self._message_ids[chat], time.monotonic(), [], params, file)
        self.sent.append(sent)
        self.notify()
        return self._message(sent)

    async def _do_sendmessagedraft(self, params: dict[str, Any]) -> Any:
        chat = self._chat(params)
        if chat < 0:
            raise ApiError(400, "Bad Request: drafts are for private chats")
        if not int(params.get("draft_id", 0)):
            raise ApiError(400, "Bad Request: DRAFT_ID_INVALID")
        text, _ = check_text(params)
        self.drafts.setdefault((chat, int(params["draft_id"])), []).append(text)
        self.notify()
        return True

    async def _do_answercallbackquery(self, params: dict[str, Any]) -> Any:
        if params.get("callback_query_id") not in self.presses:
            raise ApiError(400, "Bad Request: query is too old and response timeout expired or "
                           "query ID is invalid")  # fmt: skip
        self.answered.append(params["callback_query_id"])
        self.notify()
        return True

    async def _do_getfile(self, params: dict[str, Any]) -> Any:
        content = self.files.get(params.get("file_id", ""))
        if content is None:
            raise ApiError(400, "Bad Request: invalid file_id")
        if len(content) > LARGEST_DOWNLOAD:
            raise ApiError(400, "Bad Request: file is too big")
        name = params["file_id"]
        return {"file_id": name, "file_path": f"documents/{name}", "file_size": len(content)}

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file's bytes, where getFile said."""
        name = request.match_info["path"].rpartition("/")[2]
        if ":" not in request.match_info["token"] or name not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[name])

    async def in_weather(self, request: web.Request, what: str, act: Any) -> web.StreamResponse:
        """What befalls a call when nothing was arranged for it."""
        if self.weather is None:
            return await act()
        way = self.weather.on_call(what)
        if way == "busy":
            text = f"Too Many Requests: retry after {Weather.retry_after}"
            return ApiError(429, text, {"retry_after": Weather.retry_after}).reply()
        if way == "broken":
            return ApiError(500, "Internal Server Error").reply()
        if way == "slow":
            await asyncio.sleep(self.weather.pause())
        if way == "lost":
            return cut(request)
        done = await act()
        return cut(request) if way == "cut" else done


def keyboard(params: dict[str, Any]) -> list[dict[str, Any]]:
    """The buttons under a message, checked as Telegram checks them."""
    markup = params.get("reply_markup")
    if not markup:
        return []
    if isinstance(markup, str):
        markup = json.loads(markup)
    buttons = [button for row in markup["inline_keyboard"] for button in row]
    for button in buttons:
        if not button.get("text"):
            raise ApiError(400, "Bad Request: inline keyboard button text is empty")
        if not 1 <= len(button["callback_data"].encode()) <= MAX_CALLBACK_BYTES:
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return buttons
