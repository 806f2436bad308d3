"""Following a question to its answer: rows say how it stands, the stream what is being said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from channels.db import database_sync_to_async
from django.db import Error
from django.db.models import QuerySet

from gateway.entrance import CHANNEL
from gateway.entrance.wire import Refusal
from gateway.ledger.busy import SUPERSEDED
from gateway.models import Delivery, Turn
from gateway.stream import Frame, Watcher
from sessions_app.history import COMMAND
from sessions_app.models import SEQ_STEP, Message

LOOK_SECONDS = 1.0
"""How often the rows are read where the stream says nothing."""

PENDING = Message.Disposition.PENDING


@dataclass(frozen=True, slots=True)
class Standing:
    """How a question stands. `text` once it is answered."""

    session: str
    seq: int
    question: str
    disposition: str
    text: str = ""
    agent: str = ""
    error: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.disposition != PENDING


def standing(external_id: str) -> Standing | None:
    """How the question with this id stands; None where it was not taken."""
    message = Message.objects.filter(channel=CHANNEL, external_id=external_id).first()
    if message is None:
        return None
    turn = _reaching(session=message.session_id, upto_seq__gte=message.seq).first()
    ended = message.disposition != PENDING
    return Standing(
        session=message.session_id,
        seq=message.seq,
        question=message.text,
        disposition=message.disposition,
        text=_answer(message, turn) if ended else "",
        agent=turn.agent.name if turn and turn.agent else "",
        error=f"{turn.error_code}: {turn.error_detail}" if turn and turn.error_code else "",
        usage=turn.usage if turn else {},
    )


def _answer(message: Message, turn: Turn | None) -> str:
    """What was said to it: by the agent behind the turn's last message, by us behind a command."""
    answered = message.disposition == Message.Disposition.ANSWERED
    place = turn.upto_seq if turn and answered else message.seq
    replies = Message.objects.filter(
        session=message.session_id, seq__gt=place, seq__lt=place + SEQ_STEP
    ).exclude(role=Message.Role.USER)
    if COMMAND not in message.context:  # our word that somebody has to wait is no answer
        replies = replies.exclude(role=Message.Role.SYSTEM)
    reply = replies.order_by("-seq").first()
    if reply is None:
        return ""
    parts = Delivery.objects.filter(message=reply).order_by("part").values_list("text", flat=True)
    return "\n\n".join(part for part in parts if part) or reply.text


class Spoken:
    """What the caller was given of an answer, while the answer may begin again."""

    def __init__(self) -> None:
        self._sent = ""
        self._now = ""

    def more(self, frame: Frame) -> str:
        """What a frame adds for the caller."""
        self._now = frame["text"] if frame["offset"] == 0 else self._now + frame["text"]
        return self.up_to(self._now.lstrip())

    def up_to(self, text: str) -> str:
        """What is still lacking of `text`.

        What was said cannot be taken back: another text comes after an empty line. Blanks
        alone make no other text.
        """
        if self._sent.startswith(text):
            return ""  # the same words once more, or a blank end that was cut off
        said = _place_behind(self._sent, text)
        self._sent = text
        return f"\n\n{text}" if said is None else text[said:]


def _place_behind(sent: str, text: str) -> int | None:
    """Where in `text` begins what comes after the words of `sent`; None in another text."""
    if text.startswith(sent):
        return len(sent)
    place = 0
    for word in sent.split():
        place += len(text[place:]) - len(text[place:].lstrip())
        if not text.startswith(word, place):
            return None
        place += len(word)
    return place


class Following:
    """One question on its way. Iterate `pieces`, then look at `end`."""

    def __init__(self, watcher: Watcher, external_id: str, first: Standing) -> None:
        self._watcher, self._external_id = watcher, external_id
        self._spoken = Spoken()
        self._turn = ""
        self.end = first
        watcher.session = first.session
        watcher.resync()  # watched first, read afterwards: nothing falls between

    async def pieces(self, seconds: float) -> AsyncIterator[str]:
        """The answer's text as it comes; an empty piece now and then while nothing does.

        Raises `Refusal` where no answer comes, or none within `seconds`.
        """
        deadline = time.monotonic() + seconds
        self.end = await self._look()
        while not self.end.ended:
            if time.monotonic() > deadline:
                raise Refusal(504, "There is no answer yet.", "timeout", asked=True)
            piece, look = await self._hear()
            yield piece
            if look:
                self.end = await self._look()
        if self.end.disposition in (Message.Disposition.FAILED, Message.Disposition.HANDED_OVER):
            raise failure(self.end)
        yield self._spoken.up_to(self.end.text)

    async def _hear(self) -> tuple[str, bool]:
        """What was said now, and whether the rows are worth a look."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                frames = await self._watcher.frames()
        except TimeoutError:
            return "", True
        said, look = "", False
        for frame in frames:
            if "event" in frame:
                look = True
            elif await self._is_ours(frame["turn"]):
                said += self._spoken.more(frame)
                look = look or frame["state"] != "running"
                if frame["state"] == "cancelled":
                    self._turn = ""  # another may have taken its place
        return said, look

    async def _is_ours(self, turn: str) -> bool:
        """Whether a turn answers the question: the first that reaches up to it."""
        if not self._turn and await reading(_reaches, turn, self.end.seq):
            self._turn = turn
        return turn == self._turn

    async def _look(self) -> Standing:
        found: Standing | None = await reading(standing, self._external_id)
        if found is None:
            raise Refusal(410, "The conversation is gone.", "gone", asked=True)
        return found


def failure(end: Standing) -> Refusal:
    """Why there is no answer."""
    if end.disposition == Message.Disposition.HANDED_OVER:
        return Refusal(503, "A person has taken over.", "handed_over", asked=True)
    message = f"The agent did not answer ({end.error or 'no reason given'})."
    return Refusal(502, message, "agent_failed", asked=True)


async def reading(function: Any, *arguments: Any) -> Any:
    """Run a function that reads the database, in a thread. Raises `Refusal` 503."""
    try:
        return await database_sync_to_async(function)(*arguments)
    except Error:
        retry = ((b"retry-after", b"1"),)
        raise Refusal(503, "The database is busy.", "unavailable", headers=retry) from None


def _reaches(turn: str, seq: int) -> bool:
    return _reaching(pk=turn, upto_seq__gte=seq).exists()


def _reaching(**wanted: Any) -> QuerySet[Turn]:
    """Turns that answer, the first one first; those that another took the place of do not."""
    turns = Turn.objects.filter(**wanted).exclude(error_code=SUPERSEDED)
    return turns.select_related("agent").order_by("upto_seq", "pk")
