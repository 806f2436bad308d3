"""A session as one reads it: messages in their order, what each turn did, what became of replies.

One page is read with a constant number of queries, by place (`seq`), from the
end or before any place: it costs the same in a conversation of 10,000 messages.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.console.kept import Kept, files_of
from gateway.console.work import Call, Part
from gateway.models import Delivery, Turn
from sessions_app.models import SEQ_STEP, Message, Session

PAGE = 120
"""Messages shown at first and in each step back."""

AFTER = 50
"""Messages shown after one that was looked for."""

PAGE_CHARACTERS = 2_000_000
"""Long messages make shorter pages."""

PARTS = 100
"""Parts of one reply that are shown, those first that are not sent; the rest is a number."""

SIBLINGS = 30
"""The person's other sessions, newest first, that are named in the list."""

ANSWERS = (Message.Origin.AGENT, Message.Origin.SCHEDULE)
"""Origins of what a turn has said; a schedule's is one that was planned."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the transcript: a message with all that belongs to it, or a turn alone.

    `more` is how many parts are not among `parts`; one that is not sent is the last to be left out.
    """

    key: str
    seq: float
    at: datetime
    message: Message | None = None
    call: Call | None = None
    parts: Sequence[Part] = ()
    more: int = 0
    files: Sequence[Kept] = ()

    @property
    def iso(self) -> str:
        """When it was, for machines."""
        return self.at.isoformat(timespec="seconds")

    @property
    def clock(self) -> str:
        """When it was, until the page knows the reader's zone."""
        return f"{self.at:%H:%M}"

    @property
    def kind(self) -> str:
        """What it looks like: person, agent, operator, note or turn."""
        if self.message is None:
            return "turn"
        if self.message.origin == Message.Origin.OPERATOR:
            return "operator"
        return {"user": "person", "assistant": "agent"}.get(self.message.role, "note")

    @property
    def of(self) -> int:
        """How many parts there are."""
        return len(self.parts) + self.more

    @property
    def delivered(self) -> bool:
        """Every part is sent: nothing to say but so."""
        return all(part.row.state == Delivery.State.SENT for part in self.parts)

    @property
    def moving(self) -> bool:
        """Something here will change by itself."""
        waiting = any(part.row.state in ("queued", "sending") for part in self.parts)
        return waiting or bool(self.call and self.call.open)

    @property
    def revision(self) -> str:
        """Changes when anything shown of it does."""
        shown: list[Any] = [self.message and (self.message.text, self.message.disposition)]
        if self.call:
            turn = self.call.row
            shown += [turn.state, turn.attempts, turn.error_code, turn.partial_text, turn.agent_id]
        for part in self.parts:
            row = part.row
            shown += [row.state, row.attempts, row.receipt, row.error_code, row.error_detail]
            shown += [row.status]
        shown += [(file.row.state, file.row.error) for file in self.files]
        return format(zlib.crc32(repr(shown).encode("utf-8", "replace")), "x")


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the transcript.

    `first` is its earliest place, None where it is empty; `end` the place it ends
    before, None where it reaches the end.
    """

    entries: Sequence[Entry]
    first: int | None = None
    earlier: bool = False
    end: int | None = None

    @property
    def moving(self) -> bool:
        """Something on it will change by itself."""
        return any(entry.moving for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Siblings:
    """The same person's other sessions."""

    before: Session | None = None
    after: Session | None = None
    newest: Sequence[Session] = field(default_factory=list)


def before(session: Session, seq: int | None = None) -> Page:
    """The `PAGE` messages before place `seq`; the newest where it is None."""
    messages = Message.objects.filter(session=session)
    if seq is not None:
        messages = messages.filter(seq__lt=seq)
    rows = list(messages.order_by("-seq")[: PAGE + 1])
    kept = _fitting(rows[:PAGE])
    earlier = len(rows) > len(kept)
    # a turn stands behind what it answers, which may be the last message of the page before
    start = step(kept[-1].seq) if earlier else 0
    calls = _calls(session, start, None if seq is None else step(seq))
    return _page(kept[::-1], calls, seq, earlier)


def around(session: Session, seq: int) -> Page:
    """A page with place `seq` on it and some of what came after."""
    later = Message.objects.filter(session=session, seq__gt=seq).order_by("seq")
    end = later.values_list("seq", flat=True)[AFTER : AFTER + 1].first()
    return before(session, end)


def since(session: Session, seq: int) -> Page:
    """From place `seq` on, `PAGE` messages at most; the next page begins at its `end`."""
    messages = Message.objects.filter(session=session, seq__gte=seq)
    rows = list(messages.order_by("seq")[: PAGE + 1])
    kept = _fitting(rows[:PAGE])
    end = rows[len(kept)].seq if len(rows) > len(kept) else None
    if end is not None and kept[0].seq < step(end):
        end = step(end)  # a message and what answers it stay on one page
        kept = [row for row in kept if row.seq < end]
    return _page(kept, _calls(session, seq, end), end, False)


def siblings(session: Session) -> Siblings:
    """The same person's earlier and later sessions: ids sort by the time they were made."""
    others = Session.objects.filter(contact=session.contact_id)
    return Siblings(
        others.filter(pk__lt=session.pk).order_by("-pk").first(),
        others.filter(pk__gt=session.pk).order_by("pk").first(),
        list(others.order_by("-pk")[:SIBLINGS]),
    )


def _fitting(rows: list[Message]) -> list[Message]:
    """The first of these rows whose texts fit one page; two at least."""
    total = 0
    for count, row in enumerate(rows):
        total += len(row.text)
        if total > PAGE_CHARACTERS and count >= 2:
            return rows[:count]
    return rows


def _page(
    rows: list[Message], calls: dict[int, list[Call]], end: int | None, earlier: bool
) -> Page:
    ids = [row.pk for row in rows]
    files = files_of(ids)
    parts: dict[int, list[Delivery]] = defaultdict(list)
    for part in Delivery.objects.filter(message__in=ids).order_by("part", "pk"):
        parts[part.message_id or 0].append(part)
    entries = []
    for row in reversed(rows):
        call = _call_of(row, calls)
        entries.append(_entry(row, call, parts[row.pk], files[row.pk]))
    entries += [_alone(call) for waiting in calls.values() for call in waiting]
    entries.sort(key=lambda entry: (entry.seq, entry.key))
    return Page(entries, rows[0].seq if rows else None, earlier, end)


def _calls(session: Session, start: int, end: int | None) -> dict[int, list[Call]]:
    """The turns that answer messages in this range, by place, oldest first."""
    turns = Turn.objects.filter(session=session, upto_seq__gte=start).select_related("agent")
    if end is not None:
        turns = turns.filter(upto_seq__lt=end)
    found: dict[int, list[Call]] = defaultdict(list)
    for turn in turns.order_by("-upto_seq", "-pk")[: 2 * PAGE]:
        found[turn.upto_seq].insert(0, Call(turn))
    return found


def _call_of(message: Message, calls: dict[int, list[Call]]) -> Call | None:
    """The finished turn that this reply came from, taken from the list."""
    if message.role != Message.Role.ASSISTANT or message.origin not in ANSWERS:
        return None
    waiting = calls.get(step(message.seq), [])
    for call in reversed(waiting):
        if call.row.state == Turn.State.DONE:
            waiting.remove(call)
            return call
    return None


def _entry(
    row: Message, call: Call | None, parts: Sequence[Delivery], files: Sequence[Kept]
) -> Entry:
    told = sorted(parts, key=lambda part: part.state == Delivery.State.SENT)[:PARTS]
    told.sort(key=lambda part: (part.part, part.pk))
    shown = [Part(part, len(parts)) for part in told]
    more = len(parts) - len(shown)
    return Entry(f"m{row.pk}", row.seq, row.created_at, row, call, shown, more, files)


def _alone(call: Call) -> Entry:
    """A turn without a reply: it waits, runs, failed, was stopped, or had nothing to say."""
    turn = call.row
    return Entry(f"t{turn.pk}", turn.upto_seq + 0.5, turn.ended_at or turn.queued_at, call=call)


def step(seq: int) -> int:
    """The place of the inbound message that `seq` belongs behind."""
    return seq // SEQ_STEP * SEQ_STEP
