"""Discord, by a bot of your own.

1. At https://discord.com/developers/applications choose New Application, then
   Bot: Reset Token shows the token once; put it into OPENCLAW_DISCORD_TOKEN.
2. On the same page, under Privileged Gateway Intents, enable Message Content
   Intent. Without it Discord lets the bot in nowhere.
3. To add the bot to a server: OAuth2, URL Generator, scope `bot`, with the
   permissions View Channels, Send Messages, Send Messages in Threads, Read
   Message History and Attach Files; open the link it makes.
4. People write to it directly, or in a channel or thread by mentioning it or
   replying to it. No public address is needed: the gateway connects to Discord.

One process holds one Discord bot.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx
import yarl

from adapters._discord_client import INTENT_HINT, Client, place_of, reason
from adapters._discord_event import Me
from adapters._discord_listen import Listening
from adapters._discord_rest import ANSWER_SECONDS, CALL_SECONDS, Rest
from adapters._discord_sdk import discord
from adapters._discord_text import button_rows, render
from adapters._http import Multipart, redact
from adapters._text import clean
from adapters.base import (
    Adapter,
    Capabilities,
    ChannelDown,
    Inlet,
    Media,
    Outbound,
    Problem,
    Rate,
    RateLimited,
    Receipt,
    Refused,
    Transient,
    Unsure,
    setting,
)

DISCORD = "https://discord.com/api/v10"
CDN = ("https://cdn.discordapp.com", "https://media.discordapp.net")
TEN_MEGABYTES = 10 * 1024 * 1024
CLOSE_SECONDS = 3.0
CONNECT_SECONDS = 60.0
MAX_KEPT_CHATS = 10_000
MESSAGE_CONTENT = 1 << 18 | 1 << 19  # flags of an application: the intent, of a verified bot or not

_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_MESSAGES = "/channels/{channel_id}/messages"


@dataclass(frozen=True, slots=True, repr=False)
class DiscordConfig:
    """Settings of the channel."""

    token: str = setting(help="The bot's token, from the developer portal.", secret=True)
    api_url: str = setting(DISCORD, help="Base URL of the REST API; a proxy, or a test's.")
    gateway_url: str = setting(help="URL of the gateway; empty for Discord's own.")


class DiscordAdapter(Adapter):
    """One bot. Roles: Listener, Typist, Editor, MediaSource.

    A repeated nonce gives the first message again "within the past few minutes"
    (docs: Create Message); two minutes are counted on, the least that "few" can mean. A
    send may wait in discord.py for 45 seconds of them before it leaves (`CALL_SECONDS`).
    """

    name = "discord"
    capabilities = Capabilities(
        text_limit=2000,  # code points: discord-api-docs issue 1315
        text_unit="codepoints",
        markup="discord markdown",
        media=dict.fromkeys(  # docs: Uploading Files, the default limit
            ("image", "video", "audio", "voice", "animation", "sticker", "file"), TEN_MEGABYTES
        ),
        buttons=25,  # five rows of five
        edits=True,
        edit_seconds=1.2,  # about five in five seconds per channel
        typing_seconds=10.0,
        bot_rate=Rate(50, 50),  # docs: Global Rate Limit
        chat_rate=Rate(1, 5),
        group_rate=Rate(1, 5),
        dedupe_seconds=120.0 - CALL_SECONDS,
    )
    Config = DiscordConfig

    def __init__(self, config: DiscordConfig, http: httpx.AsyncBaseTransport) -> None:
        self._config, self._http = config, http
        self._rest = Rest(config.token, config.api_url, http)
        self._hosts = CDN if self._is_discords_own() else (_origin(config.api_url),)
        self._me = Me(cdn=self._hosts[0])
        self._direct_chats: dict[str, None] = {}
        self._spent_session = ""

    async def open(self, webhook_url: str | None) -> None:
        """Ask who we are. Sends work from here on, whether the gateway is connected or not."""
        self._me.id = (await self._who())["id"]

    async def _who(self) -> dict[str, Any]:
        me = await self._rest.call("GET", "/users/@me")
        if not isinstance(me, dict) or not isinstance(me.get("id"), str):
            raise Transient("users/@me: an answer without an id")
        return me

    def _is_discords_own(self) -> bool:
        return self._config.api_url.rstrip("/") == DISCORD

    async def probe(self) -> str:
        """The bot's name and number. Raises `ChannelDown` where it may not read messages."""
        me = await self._who()
        application = await self._rest.call("GET", "/oauth2/applications/@me")
        flags = application.get("flags") if isinstance(application, dict) else None
        if isinstance(flags, int) and not flags & MESSAGE_CONTENT:
            raise ChannelDown(INTENT_HINT)
        return f"@{me.get('username', '')} ({me['id']})"

    async def close(self) -> None:
        """Nothing to let go of: the transport is shared, and a listener closes its own client."""

    # --- sending ------------------------------------------------------------

    async def send(self, outbound: Outbound) -> Receipt:
        """One message. Repeated with the same key it comes out once, for two minutes.

        Discord refuses no formatting, so nothing is ever `Unformatted`; a `plain`
        text goes out as it is, because escapes would make it longer.
        """
        message = {
            **self._content(outbound),
            "nonce": outbound.key,
            "enforce_nonce": True,
        }
        if "reply_to" in outbound.target:
            message["message_reference"] = {
                "message_id": str(outbound.target["reply_to"]),
                "fail_if_not_exists": False,
            }
        sent = await self._rest.send(
            "POST", _MESSAGES, channel_id=outbound.chat_id, **_body(message, outbound)
        )
        if not isinstance(sent, dict) or not isinstance(sent.get("id"), str) or not sent["id"]:
            raise Unsure("an answer without a message id")
        return Receipt(sent["id"])

    async def edit(self, outbound: Outbound, receipt: str) -> None:
        """Replace the text, and the buttons, of our message."""
        await self._rest.call(
            "PATCH",
            f"{_MESSAGES}/{{message_id}}",
            body=self._content(outbound),
            channel_id=outbound.chat_id,
            message_id=receipt,
        )

    def _content(self, outbound: Outbound) -> dict[str, Any]:
        """Text and buttons. Nobody is notified by what stands in a text."""
        text = clean(outbound.text)
        if not outbound.plain:
            text = render(text, self.capabilities.text_limit)
        found: dict[str, Any] = {"content": text, "allowed_mentions": {"parse": []}}
        if outbound.buttons:
            found["components"] = button_rows(outbound.buttons)
        return found

    async def typing(self, chat_id: str, target: Mapping[str, Any]) -> None:
        """Shows "… is typing" for ten seconds or until our next message."""
        await self._rest.call("POST", "/channels/{channel_id}/typing", channel_id=chat_id)

    # --- files --------------------------------------------------------------

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """An attachment's bytes, from Discord's own hosts only. Its link expires in a day."""
        if _origin(media.handle) not in self._hosts:
            raise Refused("the file lies on a host that is not Discord's")
        limits = {"connect": 5.0, "read": ANSWER_SECONDS, "write": 10.0, "pool": 5.0}
        request = httpx.Request("GET", media.handle, extensions={"timeout": limits})
        try:
            response = await self._http.handle_async_request(request)
            try:
                _check_file(response)
                async for piece in response.aiter_bytes():
                    yield piece
            finally:
                await response.aclose()
        except httpx.HTTPError as failure:
            detail = redact(f"the file did not come: {type(failure).__name__}")
            raise Transient(detail) from None

    # --- listening ----------------------------------------------------------

    @property
    def listens(self) -> bool:
        """Always: Discord hands messages over by its gateway only."""
        return True

    async def listen(self, inlet: Inlet) -> None:
        """Run discord.py's client, a new one each time, until it or the database ends it."""
        self._aim()
        while len(self._direct_chats) > MAX_KEPT_CHATS:
            self._direct_chats.pop(next(iter(self._direct_chats)))
        listening = Listening(self._rest, self._me, inlet, self._direct_chats)
        earlier = place_of(await inlet.cursor())
        if earlier is not None and earlier.session not in ("", self._spent_session):
            self._spent_session = earlier.session
            listening.go_on(earlier)
        else:
            earlier = None
        client = Client(listening)
        running = asyncio.create_task(client.run_for_ever(self._config.token, earlier))
        consuming = asyncio.create_task(listening.consume())
        try:
            await self._watch(running, consuming, listening)
            inlet.failing(reason(running.exception()).detail)
            raise reason(running.exception()) from None
        finally:
            running.cancel()
            consuming.cancel()
            await asyncio.gather(running, consuming, return_exceptions=True)
            await listening.close()
            await client.leave(CLOSE_SECONDS)

    async def _watch(
        self, running: asyncio.Task[None], consuming: asyncio.Task[None], listening: Listening
    ) -> None:
        """Until the client ends. Raises what ended handing over, and where nothing connects.

        A session that the client ended with is not resumed again: what broke it
        would come again. Where the database ended it, it is.
        """
        connecting = asyncio.create_task(listening.connected.wait())
        first = {running, consuming, connecting}
        try:
            await asyncio.wait(first, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connecting.cancel()
        if not listening.connected.is_set() and not running.done() and not consuming.done():
            raise Transient("no connection to Discord's gateway")
        await asyncio.wait({running, consuming}, return_when=asyncio.FIRST_COMPLETED)
        if not consuming.done():
            await listening.finish(consuming)
            self._spent_session = listening.session
        else:
            self._spent_session = ""
            consuming.result()

    def _aim(self) -> None:
        """discord.py keeps its addresses in classes: they are set only where ours differ."""
        if not self._is_discords_own():
            discord.http.Route.BASE = self._config.api_url.rstrip("/")
        if self._config.gateway_url:
            discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(self._config.gateway_url)

    # --- configuration ------------------------------------------------------

    @classmethod
    def problems(cls, config: DiscordConfig, public_url: str) -> list[Problem]:
        """Missing or malformed token; addresses that are none."""
        found = []
        if not _TOKEN.fullmatch(config.token):
            message = "The bot's token does not look like one." if config.token else ""
            found.append(
                Problem(
                    "token",
                    message or "The bot has no token.",
                    "Set OPENCLAW_DISCORD_TOKEN to what Bot, Reset Token shows in the developer "
                    "portal: three texts with dots between them.",
                )
            )
        found += _address_problems("api_url", config.api_url, ("https", "http"))
        if config.gateway_url:
            found += _address_problems("gateway_url", config.gateway_url, ("wss", "ws"))
        return found


def _address_problems(slug: str, url: str, schemes: tuple[str, str]) -> list[Problem]:
    if _origin(url) and urlsplit(url).scheme in schemes:
        return []
    hint = f"Unset OPENCLAW_DISCORD_{slug.upper()}, or give a URL that starts with {schemes[0]}://."
    return [Problem(slug, "This is no address of Discord's servers.", hint)]


def _origin(url: str) -> str:
    """Scheme, host and port; empty where there are none, or a user stands in it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    plain = parts.scheme and parts.hostname and "@" not in parts.netloc and "\\" not in url
    return f"{parts.scheme}://{parts.hostname}{port}" if plain else ""


def _body(message: dict[str, Any], outbound: Outbound) -> dict[str, Any]:
    """JSON; with a file, the same beside it."""
    if outbound.file is None:
        return {"body": message}
    message["attachments"] = [{"id": 0, "filename": outbound.file.name}]
    fields = {"payload_json": json.dumps(message)}
    return {"upload": Multipart(fields, "files[0]", outbound.file)}


def _check_file(response: httpx.Response) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        header = response.headers.get("Retry-After", "")
        raise RateLimited("too many files", float(header) if header.isdecimal() else 1.0)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        raise Transient(f"the file did not come: status {status}")
    raise Refused(f"the file is gone: status {status}")
