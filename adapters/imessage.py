"""iMessage, on a Mac of your own or by a BlueBubbles server.

On the Mac itself (OPENCLAW_IMESSAGE_MODE=chatdb, the default):

1. Sign in to Messages with the bot's own Apple ID, and stay logged in.
2. System Settings, Privacy & Security, Full Disk Access: allow the Python that
   runs the gateway. `manage.py channels imessage --probe` names it.
3. The first answer asks for the permission to control Messages: allow it
   (later under Automation).

By a BlueBubbles server, for a gateway that runs elsewhere: set
OPENCLAW_IMESSAGE_MODE=bluebubbles, OPENCLAW_IMESSAGE_API_URL to the server's
address, OPENCLAW_IMESSAGE_PASSWORD to its password, and, where the server can
reach the gateway, OPENCLAW_IMESSAGE_SECRET to a long random text. Without the
secret messages are asked for every few seconds.

In groups the bot answers when it is replied to, or when a message has the word in
OPENCLAW_IMESSAGE_NAME.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from adapters._dialect import PLAIN, render
from adapters._imessage_blue import BlueBubbles
from adapters._imessage_mac import Mac, mac_from
from adapters._imessage_text import person
from adapters._payload import KINDS
from adapters._text import clean
from adapters._webhook import missing
from adapters.base import (
    Adapter,
    Arriving,
    Capabilities,
    Forbidden,
    Inlet,
    Media,
    Outbound,
    Problem,
    Rate,
    Receipt,
    Reply,
    Request,
    setting,
)

HUNDRED_MEGABYTES = 100 * 1024 * 1024
MODES = ("chatdb", "bluebubbles")


@dataclass(frozen=True, slots=True, repr=False)
class ImessageConfig:
    """Settings of the channel."""

    mode: str = setting("chatdb", help="`chatdb` on the Mac itself, or `bluebubbles`.")
    name: str = setting(help="What people call the bot in groups.")
    db: str = setting("~/Library/Messages/chat.db", help="chatdb: Messages' database.")
    osascript: str = setting("/usr/bin/osascript", help="chatdb: the program that runs scripts.")
    folder: str = setting(
        "~/Pictures/OpenClaw", help="chatdb: where files lie while Messages sends them."
    )
    api_url: str = setting(help="bluebubbles: the server's address, `http://host:1234`.")
    password: str = setting(help="bluebubbles: the server's password.", secret=True)
    secret: str = setting(
        help="bluebubbles: stands in the webhook's address; without it there is no webhook.",
        secret=True,
    )


class ImessageAdapter(Adapter):
    """One account. Roles: WebhookReceiver, Listener, MediaSource, Settler."""

    name = "imessage"
    capabilities = Capabilities(
        text_limit=2000,  # none is enforced; longer ones are hard to read on a phone
        text_unit="codepoints",
        markup="plain text",
        media=dict.fromkeys(KINDS, HUNDRED_MEGABYTES),
        bot_rate=Rate(1, 10),  # none is published; faster senders have been blocked
        chat_rate=Rate(1, 4),
        group_rate=Rate(1, 4),
    )
    Config = ImessageConfig

    def __init__(self, config: ImessageConfig, http: httpx.AsyncBaseTransport) -> None:
        self._blue = BlueBubbles(config, http) if config.mode == "bluebubbles" else None
        self._mac = mac_from(config)

    async def open(self, webhook_url: str | None) -> None:
        """Look whether everything is allowed, or say hello to the server."""
        if self._blue is not None:
            await self._blue.open(webhook_url)
        else:
            await self._mac.open()

    async def probe(self) -> str:
        """Which permissions are there; the error names the one that is missing."""
        return await (self._blue or self._mac).probe()

    async def close(self) -> None:
        """Nothing is held open."""

    async def send(self, outbound: Outbound) -> Receipt:
        """One message. A text beside a file goes before it, since files have no caption here."""
        if outbound.file is not None and outbound.text:
            await self._side.send(_text_alone(outbound), _words(outbound))
        return await self._side.send(outbound, _words(outbound))

    async def settle(self, outbound: Outbound) -> Receipt | None:
        """Whether this part was sent: chat.db shows it."""
        return await self._side.settle(outbound, _words(outbound))

    async def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """A file that came with a message."""
        async for piece in self._side.fetch(media):
            yield piece

    @property
    def _side(self) -> BlueBubbles | Mac:
        return self._blue or self._mac

    # --- listening ----------------------------------------------------------

    @property
    def listens(self) -> bool:
        """Always: a webhook of BlueBubbles is called once, and may be missed."""
        return True

    async def listen(self, inlet: Inlet) -> None:
        """Runs until cancelled."""
        await self._side.listen(inlet)

    def handshake(self, request: Request) -> Reply | None:
        """There is none."""
        return None

    def verify(self, request: Request) -> None:
        """BlueBubbles calls; a Mac's own database does not."""
        if self._blue is None:
            raise Forbidden("there is no webhook in this mode")
        self._blue.verify(request)

    def parse(self, request: Request) -> Sequence[Arriving]:
        """The one event of a call."""
        assert self._blue is not None
        return self._blue.parse(request)

    @classmethod
    def user_id(cls, written: str) -> str:
        """A number in any writing, or an address."""
        return person(written)

    @classmethod
    def problems(cls, config: ImessageConfig, public_url: str) -> list[Problem]:
        """An unknown mode, or a server without address or password."""
        if config.mode not in MODES:
            hint = "Set OPENCLAW_IMESSAGE_MODE to chatdb or bluebubbles."
            return [Problem("mode", f"There is no mode {config.mode!r}.", hint)]
        if config.mode == "chatdb":
            return []
        hints = {
            "api_url": "The address of the BlueBubbles server, http://host:1234.",
            "password": "The password that stands in the BlueBubbles server's settings.",
        }
        found = missing(cls.name, config, hints)
        if config.api_url and urlsplit(config.api_url).scheme not in ("http", "https"):
            found.append(Problem("api_url", "The server's address is no URL.", hints["api_url"]))
        return found


def _words(outbound: Outbound) -> str:
    """The text as it is read there: without marks, which nothing would show."""
    text = clean(outbound.text)
    if outbound.plain:
        return text
    return render(text, PLAIN, ImessageAdapter.capabilities.text_limit, "codepoints")


def _text_alone(outbound: Outbound) -> Outbound:
    """The text that stands beside a file, as a part of its own."""
    key = f"{outbound.key[:24]}t"
    return Outbound(key, outbound.chat_id, outbound.text, outbound.target, outbound.plain)
