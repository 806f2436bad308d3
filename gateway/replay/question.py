"""What a past turn was asked, made anew from what is kept of it: see `DIFFERS`."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Max

from gateway.agents.base import Question
from gateway.ledger.busy import SUPERSEDED
from gateway.media.desk import MediaDesk
from gateway.models import Replay, Turn
from sessions_app.history import Conversation, History, Wanted
from sessions_app.models import SEQ_STEP, Message

DIFFERS = (
    "Asked anew out of what is kept today: the history up to that turn as it stands now (edits "
    "and what failed to arrive included, with new links to files), without what the agent had "
    "kept with the session, what is known of the person, and leave to use the gateway's API."
)
"""How a replay's question may differ from what was asked then, for people."""


def question_of(replay: Replay, turn: Turn) -> Question:
    """The turn's question: its history, its place, its origin; nothing of today.

    Ids are the replay's own, so that an agent that remembers turns or sessions answers anew
    and touches nothing of the conversation. There is no grant, so that tools cannot act, and
    no context and no person: both are as they are now, not as they were then.
    """
    session, last = turn.session, asked(turn)
    target = last.target if last else {}
    name = f"replay_{replay.pk}"
    said = _conversation(turn)
    return Question(
        turn=name,
        session=name,
        channel=session.channel,
        user_id=last.sender if last else "",
        chat_id=target.get("chat_id") or session.chat_id,
        history=said.messages,
        waiting=said.waiting,
        origin=last.origin if last else "user",
    )


def asked(turn: Turn) -> Message | None:
    """The last message that the turn was to answer."""
    return Message.objects.filter(session=turn.session_id, seq=turn.upto_seq).first()


def answered(turn: Turn) -> Message | None:
    """What came of it: the newest reply right behind the question."""
    behind = Message.objects.filter(
        session=turn.session_id,
        seq__gt=turn.upto_seq,
        seq__lt=turn.upto_seq + SEQ_STEP,
        role=Message.Role.ASSISTANT,
    )
    return behind.order_by("-seq").first()


def _conversation(turn: Turn) -> Conversation:
    history = History(settings.OPENCLAW_HISTORY_MESSAGES, MediaDesk().for_agents.to)
    wanted = Wanted(turn.session_id, turn.session.revision, turn.upto_seq, _waited(turn))
    return history.load([wanted])[turn.session_id]


def _waited(turn: Turn) -> list[int]:
    """The places of what the turn was to answer: what came since the turn before it, and
    what became of its last message became of all."""
    earlier = Turn.objects.filter(session=turn.session_id, upto_seq__lt=turn.upto_seq)
    before = earlier.exclude(error_code=SUPERSEDED).aggregate(last=Max("upto_seq"))["last"]
    messages = Message.objects.filter(session=turn.session_id, role=Message.Role.USER)
    last = messages.filter(seq=turn.upto_seq).values("disposition")
    ours = messages.filter(seq__lte=turn.upto_seq, disposition__in=last)
    if before is not None:
        ours = ours.filter(seq__gt=before)
    return list(ours.order_by("seq").values_list("seq", flat=True))
