"""What operators do: stop, end, bring back, send again, let go; each with a line in the audit.

Every function takes the acting account's name and a list of row ids, owns its
transaction, and returns how many rows it changed: a row that has moved on
meanwhile is left alone. They work in any process. The running gateway notices
the commit within half a second, closes what was taken away from it and claims
what was put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Greatest

from gateway import channels
from gateway.ledger.busy import SUPERSEDED
from gateway.ledger.deliveries import MAX_TRACE, RETRY
from gateway.ledger.handover import HANDED_OVER
from gateway.ledger.turns import DROP_PREVIEW
from gateway.ledger.undelivered import note_undelivered
from gateway.models import Audit, Delivery, Turn
from sessions_app import clock
from sessions_app.history import COMMAND
from sessions_app.models import Attachment, Message, Session
from sessions_app.sql import run_each

OPEN = (Turn.State.QUEUED, Turn.State.RUNNING)
BAD = (Turn.State.QUARANTINED, Turn.State.FAILED)
TAKEN = (SUPERSEDED, HANDED_OVER)
"""Error codes of cancelled turns whose messages somebody else answers; nobody stopped those."""

AGAIN = Q(state__in=BAD) | Q(state=Turn.State.CANCELLED) & ~Q(error_code__in=TAKEN)
"""Turns that can be asked again: those that ended badly, and those that somebody stopped."""

DEAD = (Delivery.State.FAILED, Delivery.State.EXPIRED, Delivery.State.UNSURE)

DISCARDED = "discarded"
"""Error code of a delivery that an operator let go."""

BATCH = 500
"""Ids in one query."""

Row = TypeVar("Row", bound=models.Model)
Note = tuple[str, dict[str, Any]]
"""(public id of the row, what it was before)."""


def cancel_turns(actor: str, turn_ids: Iterable[str]) -> int:
    """Stop turns that wait or run. What they were to answer ends silent."""
    with transaction.atomic():
        return _cancel(actor, _hold(Turn.objects.filter(state__in=OPEN), turn_ids), {})


def requeue_turns(actor: str, turn_ids: Iterable[str]) -> int:
    """Ask again where the answer failed or was stopped: what it was to answer is pending again.

    Its count of calls goes on, for it is the fence; so a turn that had used up its
    tries gets one more. Later turns of the session that wait, wait for it.
    """
    now = clock.now()
    with transaction.atomic():
        # whose conversation is in an operator's hands, is not answered by an agent
        answerable = Turn.objects.filter(AGAIN).exclude(session__handler="operator")
        turns = _hold(answerable, turn_ids)
        # what it had said before stands where it stands: the answer is a message of its own
        said = Delivery.objects.filter(turn__in=[turn.pk for turn in turns], state="sent")
        said.update(turn="")
        Turn.objects.filter(pk__in=[turn.pk for turn in turns]).update(
            state=Turn.State.QUEUED,
            # 0 is for turns never begun, of which a session has one at most
            attempts=Greatest(F("attempts"), 1),
            crashes=0,
            not_before=now,
            partial_text="",
            error_code="",
            error_detail="",
            ended_at=None,
        )
        for turn in turns:
            stopped = turn.state == Turn.State.CANCELLED
            was = Message.Disposition.SILENT if stopped else Message.Disposition.FAILED
            # a command among them was obeyed then, and is no question
            asked = _messages(turn, was, _before(turn)).exclude(context__has_key=COMMAND)
            asked.update(disposition=Message.Disposition.PENDING)
        # an answer will stand among messages that the agent's history may have passed
        _revise({turn.session_id for turn in turns})
        return _note(actor, "requeue_turn", [(turn.pk, _was(turn)) for turn in turns], now)


def discard_turns(actor: str, turn_ids: Iterable[str]) -> int:
    """Let quarantined turns go: they failed for good."""
    now = clock.now()
    with transaction.atomic():
        turns = _hold(Turn.objects.filter(state=Turn.State.QUARANTINED), turn_ids)
        Turn.objects.filter(pk__in=[turn.pk for turn in turns]).update(
            state=Turn.State.FAILED, ended_at=now
        )
        _revise({turn.session_id for turn in turns})
        return _note(actor, "discard_turn", [(turn.pk, _was(turn)) for turn in turns], now)


def retry_deliveries(actor: str, delivery_ids: Iterable[int]) -> int:
    """Send again what failed, expired or is unsure; the unsure with the mark of a repeat.

    Tries and age count from here. In its lane it goes first, being the oldest.
    """
    now = clock.now()
    with transaction.atomic():
        letters = _hold(Delivery.objects.filter(state__in=DEAD), delivery_ids)
        notes = [(letter.key, _was(letter)) for letter in letters]
        for letter in letters:
            letter.repeated = letter.repeated or letter.state == Delivery.State.UNSURE
            letter.state = Delivery.State.QUEUED
            letter.not_before = letter.retried_at = now
            letter.attempts = 0
            letter.error_code = letter.error_detail = letter.status = ""
            letter.receipt = letter.receipt if letter.turn else ""
            letter.trace = [*letter.trace, _retry_entry(actor, now)][-MAX_TRACE:]
        Delivery.objects.bulk_update(
            letters,
            (
                "repeated",
                "state",
                "not_before",
                "retried_at",
                "attempts",
                "error_code",
                "error_detail",
                "status",
                "receipt",
                "trace",
            ),
            batch_size=BATCH,
        )
        note_undelivered([letter.pk for letter in letters])
        return _note(actor, "retry_delivery", notes, now)


def discard_deliveries(actor: str, delivery_ids: Iterable[int]) -> int:
    """Let dead letters go, and what waits to be sent: nobody waits for them any more.

    A part that waits holds up its lane; the next one goes out as soon as it is let go.
    """
    now = clock.now()
    with transaction.atomic():
        gone = (*DEAD, Delivery.State.QUEUED)
        waiting = Delivery.objects.filter(state__in=gone).exclude(error_code=DISCARDED)
        letters = _hold(waiting, delivery_ids)
        Delivery.objects.filter(pk__in=[letter.pk for letter in letters]).update(
            state=Delivery.State.FAILED, error_code=DISCARDED, failed_at=now
        )
        note_undelivered([letter.pk for letter in letters])
        notes = [(letter.key, _was(letter)) for letter in letters]
        return _note(actor, "discard_delivery", notes, now)


def fetch_files(actor: str, file_ids: Iterable[int]) -> int:
    """Try once more to fetch files that could not be fetched. Answers to come get them."""
    now = clock.now()
    with transaction.atomic():
        failed = Attachment.objects.filter(state=Attachment.State.FAILED).exclude(handle="")
        files = _hold(failed.exclude(message__external_id=None), file_ids)
        Attachment.objects.filter(pk__in=[file.pk for file in files]).update(
            state=Attachment.State.WAITING, attempts=0, not_before=now, created_at=now, error=""
        )
        sessions = Message.objects.filter(attachments__in=files).values_list("session_id")
        _revise({session for (session,) in sessions})
        return _note(actor, "fetch_file", [(str(f.pk), {"error": f.error}) for f in files], now)


def hand_over(actor: str, session_ids: Iterable[str], handler: str) -> int:
    """Give open sessions to an operator, or back to their agent; the fence is raised.

    The turns of a session that changes hands are stopped: what they had said is
    kept with them and not sent, and what they were to answer is handed over.
    """
    now = clock.now()
    with transaction.atomic():
        others = Session.objects.exclude(state=Session.State.TERMINATED).exclude(handler=handler)
        sessions = _hold(others, session_ids)
        ids = [session.pk for session in sessions]
        Session.objects.filter(pk__in=ids).update(handler=handler, fence=F("fence") + 1)
        turns = list(Turn.objects.filter(state__in=OPEN, session__in=ids).select_for_update())
        disposition = Message.Disposition.HANDED_OVER
        _cancel(actor, turns, {"because": HANDED_OVER}, disposition, HANDED_OVER)
        notes = [(session.pk, {"handler": session.handler}) for session in sessions]
        return _note(actor, "hand_over", notes, now)


def terminate_sessions(actor: str, session_ids: Iterable[str]) -> int:
    """End open sessions and stop their turns. What was said already still goes out."""
    now = clock.now()
    with transaction.atomic():
        still_open = Session.objects.exclude(state=Session.State.TERMINATED)
        sessions = _hold(still_open, session_ids)
        ids = [session.pk for session in sessions]
        turns = Turn.objects.filter(state__in=OPEN, session__in=ids).values_list("pk", flat=True)
        _cancel(actor, _hold(Turn.objects.filter(state__in=OPEN), turns), {"because": "ended"})
        channels.session_manager().close(ids, now)
        notes = [(session.pk, {"state": session.state}) for session in sessions]
        return _note(actor, "terminate_session", notes, now)


def restore_sessions(actor: str, session_ids: Iterable[str]) -> int:
    """Bring ended sessions back, except where their person has begun a new one."""
    now = clock.now()
    with transaction.atomic():
        restored = channels.session_manager().restore(list(session_ids), now)
        notes: list[Note] = [(session, {"state": "terminated"}) for session in restored]
        return _note(actor, "restore_session", notes, now)


def _cancel(
    actor: str,
    turns: Sequence[Turn],
    detail: dict[str, Any],
    disposition: str = Message.Disposition.SILENT,
    code: str = "",
) -> int:
    now = clock.now()
    why = {"error_code": code} if code else {}
    Turn.objects.filter(pk__in=[turn.pk for turn in turns]).update(
        state=Turn.State.CANCELLED, ended_at=now, lease_owner="", lease_until=None, **why
    )
    run_each(DROP_PREVIEW, [(turn.pk,) for turn in turns])  # a beginning that nobody has seen yet
    for turn in turns:
        _messages(turn, Message.Disposition.PENDING, _before(turn, state__in=OPEN)).update(
            disposition=disposition
        )
    return _note(actor, "cancel_turn", [(turn.pk, _was(turn) | detail) for turn in turns], now)


def _hold(rows: QuerySet[Row], ids: Iterable[Any]) -> list[Row]:
    """Those of the rows with these ids, locked until the transaction ends."""
    wanted = list(dict.fromkeys(ids))
    return [
        row
        for start in range(0, len(wanted), BATCH)
        for row in rows.select_for_update().filter(pk__in=wanted[start : start + BATCH])
    ]


def _messages(turn: Turn, disposition: str, after_seq: int) -> QuerySet[Message]:
    """The messages that a turn answers."""
    return Message.objects.filter(
        session=turn.session_id,
        disposition=disposition,
        seq__gt=after_seq,
        seq__lte=turn.upto_seq,
    )


def _before(turn: Turn, **conditions: Any) -> int:
    """Up to which place earlier turns of the session reach; -1 where there is none."""
    earlier = (
        Turn.objects.filter(session=turn.session_id, upto_seq__lt=turn.upto_seq, **conditions)
        .exclude(error_code=SUPERSEDED)  # what those were to answer is the next one's
        .aggregate(last=Max("upto_seq"))
    )
    return -1 if earlier["last"] is None else int(earlier["last"])


def _revise(sessions: Iterable[str]) -> None:
    """History changed where it stood: it is read anew, and written to its file again."""
    changed = Session.objects.filter(pk__in=list(sessions))
    changed.update(revision=F("revision") + 1, archived_at=None)


def _was(row: Turn | Delivery) -> dict[str, Any]:
    return {"state": row.state, "error": row.error_code, "session": row.session_id}


def _retry_entry(actor: str, now: datetime) -> dict[str, str]:
    at = now.isoformat(timespec="milliseconds")
    return {"at": at, "result": RETRY, "detail": f"by {actor}"}


def _note(actor: str, action: str, notes: Sequence[Note], now: datetime) -> int:
    """Write the audit. Returns how many rows there were."""
    Audit.objects.bulk_create(
        [Audit(at=now, actor=actor, action=action, row=row, detail=was) for row, was in notes],
        batch_size=BATCH,
    )
    return len(notes)
