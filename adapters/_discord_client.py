"""discord.py's client as we run it: without caches, and going on with an earlier session.

discord.py resumes by itself, but only what the same client began. A process
that was killed left a session that Discord keeps for a few minutes: resumed, it
replays everything, also what no history shows (a new person's direct chat).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import yarl

from adapters._discord_sdk import discord
from adapters.base import ChannelDown, Cursor, SendError, Transient

INTENTS = 46593
"""guilds, guild_messages, dm_messages, message_content, guild_reactions, dm_reactions."""

LOGIN_SECONDS = 60.0
RESUMABLE_SECONDS = 300.0  # after that the session is gone, and asking for it takes time
FATAL_CLOSES = {4004, 4010, 4011, 4012, 4013, 4014}  # docs: gateway close event codes
INTENT_HINT = (
    "The bot may not read messages: enable Message Content Intent at "
    "https://discord.com/developers/applications, your application, Bot, "
    "Privileged Gateway Intents."
)


@dataclass(slots=True)
class Place:
    """Where listening had got to: the cursor of the channel.

    after     the highest message id; history is read from there on
    session   the gateway's session, empty where there is none to resume
    sequence  the last event of the session that is kept
    url       where the session is resumed
    roles     guild: the bot's own role, which a resumed session does not tell again
    """

    after: int = 0
    session: str = ""
    sequence: int = 0
    url: str = ""
    roles: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))


def place_of(cursor: Cursor | None) -> Place | None:
    """The kept place; None at the very first start. A session is left out when it is too old."""
    if cursor is None:
        return None
    try:
        place = Place(**json.loads(cursor.value))
    except (TypeError, ValueError):
        return None
    if cursor.age_seconds > RESUMABLE_SECONDS:
        place.session = ""
    return place


class Receiver(Protocol):
    """What a client tells."""

    def frame(self, text: str) -> None:
        """A frame of the gateway, before the library reads it."""

    def lost(self) -> None:
        """The connection is gone; the library takes care of it."""


class Client(discord.Client):
    """Every frame goes to `receiver`."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(
            intents=discord.Intents._from_value(INTENTS),
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            enable_debug_events=True,  # gives on_socket_raw_receive
            max_ratelimit_timeout=30.0,
        )
        self._receiver = receiver

    async def on_socket_raw_receive(self, frame: str) -> None:
        """Runs in the order of the frames: it waits for nothing."""
        self._receiver.frame(frame)

    async def on_disconnect(self) -> None:
        """The library is about to reconnect."""
        self._receiver.lost()

    async def run_for_ever(self, token: str, earlier: Place | None) -> None:
        """Log in and stay connected. Ends only by an exception, or by `close`."""
        async with asyncio.timeout(LOGIN_SECONDS):
            await self.login(token)
        if earlier is not None and earlier.session:
            self._go_on(earlier)
        await self.connect(reconnect=True)

    def _go_on(self, earlier: Place) -> None:
        """Make the library believe that it lost this session: it resumes it, in its own way."""
        self.ws = _Lost(earlier.session, earlier.sequence, yarl.URL(earlier.url))  # type: ignore[assignment]  # all it reads
        connect = self.http.ws_connect

        async def first(url: str, **_: Any) -> Any:
            self.http.ws_connect = connect  # type: ignore[method-assign]  # from now on as ever
            raise discord.gateway.ReconnectWebSocket(self.shard_id)

        self.http.ws_connect = first  # type: ignore[method-assign]  # for the first call

    async def leave(self, seconds: float) -> None:
        """Close, in a way that lets the session be resumed. Waits no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                if self.ws is not None and self.ws.open:
                    await self.ws.close(4000)  # 1000 would end the session
                await self.close()
        except TimeoutError:
            await self.http.close()


@dataclass(slots=True)
class _Lost:
    """A websocket that is gone, as far as discord.py reads it to resume."""

    session_id: str
    sequence: int
    gateway: yarl.URL
    open: bool = False


def reason(error: BaseException | None) -> SendError:
    """Why listening ended, as one of ours. Says nothing of what came: it may be a message."""
    match error:
        case SendError():
            return error
        case discord.LoginFailure():
            return ChannelDown("Discord does not know this token")
        case discord.PrivilegedIntentsRequired():
            return ChannelDown(INTENT_HINT)
        case discord.ConnectionClosed() if error.code in FATAL_CLOSES:
            return ChannelDown(f"Discord closed the connection for good ({error.code})")
        case discord.HTTPException() if error.status == 401:
            return ChannelDown("Discord does not know this token")
        case None:
            return Transient("the connection to Discord ended")
    return Transient(f"discord.py's client ended: {type(error).__name__}")
