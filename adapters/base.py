"""What every channel adapter is made of: facts, payload types, roles and errors.

An adapter translates between one platform and the gateway. It never retries,
sleeps, splits, logs message bodies or touches the database: the core does that
for all of them, from the facts in `Capabilities` and the type of the error.

Errors an adapter raises while sending::

    SendError
    ├── Transient       certainly not sent; worth another try
    ├── RateLimited     certainly not sent; try again after `retry_after` seconds
    ├── Unsure          may have been sent: the answer never came
    ├── Refused         never will be sent; a dead letter at once
    ├── Unformatted     the formatting was refused; send the same text plain
    └── ChannelDown     token revoked or account closed: the channel stops

Errors it raises while reading what the platform handed over::

    PayloadError
    ├── Malformed       not even JSON: 400
    ├── Forbidden       wrong or missing signature or secret: 403
    ├── Unsupported     understood, and nothing for us: 200, ignored
    └── Unreadable      authentic but not understood: set aside as a row, 200
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import httpx

from adapters._payload import (
    KINDS as KINDS,
)
from adapters._payload import (
    Arriving as Arriving,
)
from adapters._payload import (
    Button as Button,
)
from adapters._payload import (
    File as File,
)
from adapters._payload import (
    Inbound as Inbound,
)
from adapters._payload import (
    Location as Location,
)
from adapters._payload import (
    Media as Media,
)
from adapters._payload import (
    Outbound as Outbound,
)
from adapters._payload import (
    Quote as Quote,
)
from adapters._payload import (
    Receipt as Receipt,
)
from adapters._payload import (
    Rejected as Rejected,
)
from adapters._payload import (
    Reply as Reply,
)
from adapters._payload import (
    Request as Request,
)
from adapters._payload import (
    SamePerson as SamePerson,
)
from adapters._payload import (
    Status as Status,
)

TextUnit = Literal["utf16", "codepoints", "bytes"]


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `burst` sends at once, refilled at `per_second`."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about a platform, read by the core. Each adapter names its sources.

    text_limit       longest text of one message, counted in `text_unit`
    markup           dialect the adapter renders markdown to; shown to people only
    media            kinds it can send (of `KINDS`), with the largest size in bytes; what is
                     missing here or too large goes out as a link
    locations        whether it can send a place on the map; otherwise its coordinates are text
    buttons          how many buttons can stand under a message; 0 for none
    button_text      longest text with buttons under it; None: as long as any
    edits            whether a sent message can be edited, so that an answer grows in place
    edit_seconds     shortest pause between two edits of one message
    draft_seconds    how long a draft stays unless it is shown again; None: for ever
    typing_seconds   how long a typing sign stays; None where there is none
    bot_rate         sends allowed for the whole bot; None where unlimited
    chat_rate        sends allowed into one direct chat
    group_rate       sends allowed into one group
    dedupe_seconds   for how long the platform drops a repeated send; 0 for never
    settle_seconds   for how long to wait for the platform's own word (a `Status`) about a
                     send that may have arrived, before it is repeated
    """

    text_limit: int
    text_unit: TextUnit = "codepoints"
    markup: str = "plain"
    media: Mapping[str, int] = field(default_factory=dict)
    locations: bool = False
    buttons: int = 0
    button_text: int | None = None
    edits: bool = False
    edit_seconds: float = 1.0
    draft_seconds: float | None = None
    typing_seconds: float | None = None
    bot_rate: Rate | None = None
    chat_rate: Rate | None = None
    group_rate: Rate | None = None
    dedupe_seconds: float = 0.0
    settle_seconds: float = 0.0


class SendError(Exception):
    """A send that did not end with a receipt. `detail` is safe to show: no token, no body."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Transient(SendError):
    """Certainly not sent; worth another try."""


class RateLimited(SendError):
    """Certainly not sent; the platform asks to wait `retry_after` seconds.

    `scope` says who waits: this chat's lane, or all that the bot sends.
    """

    def __init__(
        self, detail: str, retry_after: float, scope: Literal["lane", "bot"] = "lane"
    ) -> None:
        super().__init__(detail)
        self.retry_after, self.scope = retry_after, scope


class Unsure(SendError):
    """The request left us and no answer came: it may have been sent."""


class Refused(SendError):
    """The platform will never take this message."""


class Unformatted(SendError):
    """The platform refused the formatting; the same text can go out plain."""


class ChannelDown(SendError):
    """The whole channel is out: token revoked, account closed."""


class PayloadError(Exception):
    """A payload that leads to no message. The message is safe to log."""


class Malformed(PayloadError):
    """Not even JSON."""


class Forbidden(PayloadError):
    """Secret or signature wrong or missing."""


class Unsupported(PayloadError):
    """Understood, and nothing for us."""


class Unreadable(PayloadError):
    """Authentic, but not understood. `external_id` names it if it could be found."""

    def __init__(self, reason: str, external_id: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.external_id = external_id


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a channel's configuration, found without asking the platform."""

    slug: str
    message: str
    hint: str


def setting(default: Any = "", *, help: str, secret: bool = False) -> Any:
    """A field of an adapter's `Config`: read from OPENCLAW_<CHANNEL>_<FIELD>."""
    return field(default=default, repr=not secret, metadata={"help": help, "secret": secret})


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listener had got to. `age_seconds` since it was last moved."""

    value: str
    age_seconds: float


class Inlet(Protocol):
    """The core's side of a listener."""

    async def cursor(self) -> Cursor | None:
        """The durable position, or None at the very first start."""

    async def chats(self) -> list[str]:
        """Chats in which somebody wrote to us in the last 30 days, newest first, 1,000 at most."""

    async def accept(self, arrivals: Sequence[Arriving], cursor: str | None = None) -> None:
        """Keep `arrivals` and move the cursor, in one commit. Returns after the commit."""

    def alive(self) -> None:
        """The inbound side works: a poll came back, a heartbeat was acknowledged."""

    def failing(self, detail: str) -> None:
        """The inbound side does not work; `detail` is shown to the operator."""


class Adapter(ABC):
    """The code for one channel. Subclasses declare what they are as class attributes.

    `config` is an instance of the subclass's own `Config`; `http` is the
    process's shared transport, injected so that tests can replace it.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    Config: ClassVar[type[Any]]

    @abstractmethod
    async def send(self, outbound: Outbound) -> Receipt:
        """Hand one part to the platform. Raises a `SendError`."""

    @abstractmethod
    async def open(self, webhook_url: str | None) -> None:
        """Make ready: say hello to the platform, register the webhook. Raises a `SendError`.

        `webhook_url` is where the world reaches this channel's webhook; None
        where no public URL is set.
        """

    @abstractmethod
    async def probe(self) -> str:
        """Ask the platform who we are there, changing nothing: a line for people.

        For example "@my_bot (7000000001)". Raises a `SendError` that says what is wrong.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""

    @classmethod
    def user_id(cls, written: str) -> str:
        """A person's id as an operator writes it in an allowlist -> as messages have it."""
        return written.strip()

    @classmethod
    @abstractmethod
    def problems(cls, config: Any, public_url: str) -> list[Problem]:
        """What is wrong with this configuration. Empty when it can start."""


Build = Callable[[Any, httpx.AsyncBaseTransport], Adapter]
"""`config`, transport -> adapter: the signature of every adapter's constructor."""


@runtime_checkable
class WebhookReceiver(Protocol):
    """The platform calls us. Order: `handshake`, else `verify`, then `parse`."""

    def handshake(self, request: Request) -> Reply | None:
        """The answer to a set-up call, or None if this is none."""

    def verify(self, request: Request) -> None:
        """Raises `Forbidden` unless the platform itself sent this. Constant time."""

    def parse(self, request: Request) -> Sequence[Arriving]:
        """The messages in it. Raises `Malformed` or `Unsupported`."""


@runtime_checkable
class Listener(Protocol):
    """We ask the platform. Only where `listens` says so (a mode may use webhooks instead)."""

    @property
    def listens(self) -> bool:
        """Whether this configuration listens at all."""

    async def listen(self, inlet: Inlet) -> None:
        """Runs until cancelled. Raises `ChannelDown`; the core supervises its end."""


@runtime_checkable
class Watched(Protocol):
    """The platform can say whether its calls still reach our webhook. Asked now and then,
    where we do not listen ourselves."""

    async def inbound_trouble(self) -> str | None:
        """Why messages do not reach us; None where they do. Puts right what it can.

        Raises a `SendError` where the platform cannot be asked.
        """


@runtime_checkable
class Typist(Protocol):
    """The platform can show that an answer is being written."""

    async def typing(self, chat_id: str, target: Mapping[str, Any]) -> None:
        """Show the sign once. Raises a `SendError`, which the core ignores."""


@runtime_checkable
class Editor(Protocol):
    """A sent message can be edited: an answer grows in place. With `capabilities.edits`."""

    async def edit(self, outbound: Outbound, receipt: str) -> None:
        """Replace the text of our message `receipt`. The same text again is no error.

        Raises a `SendError`; `Refused` where the message is gone or can no longer be edited.
        """


@runtime_checkable
class Drafter(Protocol):
    """The platform can show a draft of the answer that vanishes when the answer is sent."""

    def drafts(self, chat_id: str, target: Mapping[str, Any]) -> bool:
        """Whether there are drafts in this chat."""

    async def draft(self, outbound: Outbound) -> None:
        """Show or grow the draft named `outbound.key`. Raises a `SendError`; the core gives up."""


@runtime_checkable
class MediaSource(Protocol):
    """The files in its messages can be fetched."""

    def fetch(self, media: Media) -> AsyncIterator[bytes]:
        """The file's bytes in pieces (an async generator). The core caps and stores them.

        Raises `Transient` or `RateLimited` (worth another try) or `Refused` (gone, too large).
        """


@runtime_checkable
class Acknowledger(Protocol):
    """The platform wants to hear that a message arrived (a button's press, a read mark)."""

    async def acknowledge(self, inbound: Inbound) -> None:
        """Called once after the commit. Raises a `SendError`, which the core ignores."""


@runtime_checkable
class Prompter(Protocol):
    """The platform can show people what they may say to a bot."""

    async def prompt(self, commands: Mapping[str, str]) -> None:
        """`commands`: as they are written -> what they do. Replaces what was shown.

        Called each time the channel is opened. Raises a `SendError`, which the core ignores.
        """


@runtime_checkable
class Settler(Protocol):
    """The platform can be asked whether a delivery was sent."""

    async def settle(self, outbound: Outbound) -> Receipt | None:
        """The receipt if it was sent, None if it certainly was not. Raises `Unsure`."""
