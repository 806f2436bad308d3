"""What the verbs are given and what they give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.base import Inbound, Outbound, Rejected, SamePerson, Status


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one webhook call or one poll brought: kept together, and the cursor moved with it.

    overheard      said in a chat, but not to us: context of the next message that is
    fetches_media  the channel's files can be fetched, and will be
    """

    channel: str
    inbounds: Sequence[Inbound] = ()
    overheard: Sequence[Inbound] = ()
    rejected: Sequence[Rejected] = ()
    statuses: Sequence[Status] = ()
    same_people: Sequence[SamePerson] = ()
    cursor: str | None = None
    group_per_member: bool = False
    fetches_media: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        said = self.inbounds or self.overheard or self.rejected
        return not (said or self.statuses or self.same_people or self.cursor is not None)

    def alone(self, inbound: Inbound) -> Arrival:
        """One of its messages, by itself."""
        return Arrival(
            self.channel,
            [inbound],
            group_per_member=self.group_per_member,
            fetches_media=self.fetches_media,
        )


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of an arrival.

    messages   the new rows as (session, message id)
    denied     how many came from people without access
    kept_out   why messages of people with access were not taken, one each
    refused    external ids of both
    cancelled  the turns that a command or a further message took away
    pause      after how many seconds a turn that was put off may begin
    """

    messages: Sequence[tuple[str, int]] = ()
    duplicates: int = 0
    denied: int = 0
    kept_out: Sequence[str] = ()
    refused: frozenset[str] = frozenset()
    cancelled: Sequence[str] = ()
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """A command as it was kept: the session it was said in, its place, where the answer goes.

    `text` is all of it, `user_id` who said it.
    """

    session: str
    seq: int
    channel: str
    chat_id: str
    target: Mapping[str, Any]
    text: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class ClaimedTurn:
    """A turn this process runs now.

    attempt  its own fence: only the latest attempt may end it
    fence    its session's, raised when the session changes hands
    waiting  how many of the history's last messages it is to answer
    name     who wrote, for people
    person   whose conversation it is, {"name", "preferences", "notes"}; nothing in groups
    shown    a part of its answer may be on the platform already, from an earlier try
    noticed  people were told that it has to wait: that stands behind what it answers
    """

    id: str
    attempt: int
    session: str
    channel: str
    user_id: str
    chat_id: str
    agent: int
    upto_seq: int
    origin: str
    target: Mapping[str, Any]
    context: Mapping[str, Any]
    history: Sequence[bytes]
    waiting: int = 1
    name: str = ""
    person: Mapping[str, Any] = field(default_factory=dict)
    fence: int = 0
    shown: bool = False
    noticed: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a reply as a platform takes it: a text, or what `extra` says beside it.

    `extra` may hold "file" {"kind", "path", "mime", "name", "size"}, "location"
    {"latitude", "longitude", "name"} or "buttons" [{"text", "value"}].
    """

    text: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a turn's answer, to be shown while the rest is written."""

    turn: ClaimedTurn
    text: str


@dataclass(frozen=True, slots=True)
class OpenPreview:
    """The row in which an answer grows: `receipt` is empty until the platform took it."""

    state: str
    receipt: str


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """How a call of an agent ended.

    state      done, failed, cancelled, or queued for another try after `not_before`
    agent      name of the agent that was asked
    text       the reply; empty with `silent`
    parts      the reply (or the notice) as the platform takes it, in order
    preview    the first part may have been shown already, while it was written
    notice     what the person is told when it failed; empty for nothing
    """

    turn: ClaimedTurn
    state: str
    agent: str = ""
    text: str = ""
    silent: bool = False
    parts: Sequence[Part] = ()
    preview: bool = False
    notice: str = ""
    partial: str = ""
    attachments: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    error_code: str = ""
    error_detail: str = ""
    first_token_at: datetime | None = None
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A part this process sends now. `attempt` is its fence.

    turn     the turn whose answer grows in this part; empty for others
    receipt  of the message that is there already: it is edited, not sent
    status   what the platform said about it before it was claimed
    extra    see `Part`
    """

    id: int
    attempt: int
    channel: str
    is_group: bool
    repeated: bool
    created_at: datetime
    trace: Sequence[Mapping[str, Any]]
    outbound: Outbound
    turn: str = ""
    receipt: str = ""
    status: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FinishedDelivery:
    """How a send ended: sent, failed, expired, unsure, or queued for another try.

    `receipt` None keeps the one that is there; an empty one means that nothing is there to edit.
    """

    delivery: ClaimedDelivery
    state: str
    receipt: str | None = None
    moved_to: str | None = None
    not_before: datetime | None = None
    plain: bool = False
    repeated: bool = False
    counts: bool = True
    error_code: str = ""
    error_detail: str = ""
