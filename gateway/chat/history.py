"""What one person sees of their conversations, as the page's JSON.

An entry is {"id", "session", "seq", "role", "origin", "text", "at"} (ISO 8601),
with "client" (the page's own id of a message it sent), "turn" (the turn that a
reply came from), "generated" (nobody in the conversation asked for it) and "files"
where there are any. What a program asked the agent in the person's place is left
out. An entry's place is (session, seq): session ids sort by the time they were
made. Text that was streamed before a turn failed or was stopped is an entry too:
{"partial": true, "state", …} with the turn's id and no message id, half a step
behind what it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from gateway.chat.access import CHANNEL
from gateway.media.links import Links
from gateway.models import Turn
from sessions_app.models import SEQ_STEP, Attachment, Message, Session

Entry = dict[str, Any]

PAGE = 50
"""Messages in the first view and in each step back."""

CATCH_UP = 200
"""Messages read at once after a lost connection; more come in further rounds."""

PAGE_CHARACTERS = 200_000
"""Long messages make shorter pages: one frame must stay small."""

_FIELDS = (
    "id",
    "session_id",
    "seq",
    "role",
    "origin",
    "text",
    "created_at",
    "external_id",
    "generated",
)
_ANSWERS = (Message.Origin.AGENT, Message.Origin.SCHEDULE)
_UNFINISHED = (Turn.State.FAILED, Turn.State.CANCELLED, Turn.State.QUARANTINED)


def open_session(user_id: str) -> str | None:
    """The person's conversation that is open now."""
    return (
        Session.objects.filter(channel=CHANNEL, contact__user_id=user_id)
        .exclude(state=Session.State.TERMINATED)
        .values_list("id", flat=True)
        .order_by("-id")
        .first()
    )


def latest(user_id: str) -> tuple[list[Entry], bool]:
    """The newest entries in order, and whether there are earlier ones."""
    return _page(_of(user_id))


def earlier(user_id: str, before: int) -> tuple[list[Entry], bool]:
    """The entries before message `before`, and whether there are still earlier ones."""
    mark = _of(user_id).filter(pk=before).values_list("session_id", "seq").first()
    if mark is None:
        return [], False
    session, seq = mark
    return _page(
        _of(user_id).filter(Q(session_id=session, seq__lt=seq) | Q(session_id__lt=session))
    )


def since(user_id: str, after: int) -> tuple[list[Entry], bool]:
    """Entries stored later than message `after`, and whether there are more than these.

    The message itself is read too: what a turn had said before it failed stands
    behind it and may be all that is new.
    """
    rows = list(_of(user_id).filter(pk__gte=after).order_by("pk").values(*_FIELDS)[: CATCH_UP + 1])
    kept = _fitting(rows[:CATCH_UP])
    return _entries(kept), len(rows) > len(kept)


def chosen(user_id: str, ids: Iterable[int]) -> list[Entry]:
    """These messages, as far as they are this person's."""
    rows = _of(user_id).filter(pk__in=list(ids)).order_by("session_id", "seq")
    return _entries(list(rows.values(*_FIELDS)))


def place(turn_id: str) -> float | None:
    """Where a running turn's text belongs in its session: right behind what it answers."""
    seq = Turn.objects.filter(pk=turn_id).values_list("upto_seq", flat=True).first()
    return None if seq is None else seq + 0.5


def _of(user_id: str) -> QuerySet[Message]:
    return Message.objects.filter(
        session__channel=CHANNEL,
        session__contact__channel=CHANNEL,
        session__contact__user_id=user_id,
    ).exclude(role=Message.Role.USER, generated=True)


def _page(messages: QuerySet[Message]) -> tuple[list[Entry], bool]:
    rows = list(messages.order_by("-session_id", "-seq").values(*_FIELDS)[: PAGE + 1])
    kept = _fitting(rows[:PAGE])
    return _entries(kept[::-1]), len(rows) > len(kept)


def _fitting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of these rows that fit one frame; two at least, so that each step gets on."""
    total = accumulate(len(row["text"]) for row in rows)
    return rows[: max(2, sum(size <= PAGE_CHARACTERS for size in total))]


def _entries(rows: Sequence[dict[str, Any]]) -> list[Entry]:
    """Entries of message rows, with the partial texts that belong between them."""
    if not rows:
        return []
    turns = _turns(rows)
    files = _files([row["id"] for row in rows])
    finished = {(t["session_id"], t["upto_seq"]): t["id"] for t in turns if t["state"] == "done"}
    entries = [_entry(row, finished, files) for row in rows]
    entries += [_partial(turn) for turn in turns if turn["state"] in _UNFINISHED]
    return sorted(entries, key=lambda entry: (entry["session"], entry["seq"]))


def _turns(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ended turns that answer messages in the range of these rows, oldest first."""
    ranges = Q()
    for session in {row["session_id"] for row in rows}:
        places = [row["seq"] for row in rows if row["session_id"] == session]
        first = min(places) // SEQ_STEP * SEQ_STEP
        ranges |= Q(session_id=session, upto_seq__range=(first, max(places)))
    unfinished = Q(state__in=_UNFINISHED) & ~Q(partial_text="")
    found = Turn.objects.filter(ranges).filter(Q(state=Turn.State.DONE) | unfinished)
    fields = "id", "session_id", "upto_seq", "state", "partial_text", "ended_at", "queued_at"
    return [dict(row) for row in found.order_by("queued_at", "id").values(*fields)]


def _entry(
    row: dict[str, Any],
    finished: dict[tuple[str, int], str],
    files: dict[int, list[dict[str, Any]]],
) -> Entry:
    entry = {
        "id": row["id"],
        "session": row["session_id"],
        "seq": row["seq"],
        "role": row["role"],
        "origin": row["origin"],
        "text": row["text"],
        "at": row["created_at"].isoformat(),
    }
    if row["role"] == Message.Role.USER and row["external_id"]:
        entry["client"] = row["external_id"].rpartition(":")[2]
    answered = row["session_id"], row["seq"] // SEQ_STEP * SEQ_STEP
    if row["role"] == Message.Role.ASSISTANT and row["origin"] in _ANSWERS:
        entry |= {"turn": finished[answered]} if answered in finished else {}
    if row["generated"]:
        entry["generated"] = True
    if row["id"] in files:
        entry["files"] = files[row["id"]]
    return entry


def _partial(turn: dict[str, Any]) -> Entry:
    return {
        "id": None,
        "turn": turn["id"],
        "session": turn["session_id"],
        "seq": turn["upto_seq"] + 0.5,
        "role": Message.Role.ASSISTANT,
        "origin": Message.Origin.AGENT,
        "partial": True,
        "state": turn["state"],
        "text": turn["partial_text"],
        "at": (turn["ended_at"] or turn["queued_at"]).isoformat(),
    }


def _files(messages: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Files that are kept here or reachable on the web; other handles mean nothing here."""
    found: dict[int, list[dict[str, Any]]] = {}
    link = Links("", settings.OPENCLAW_MEDIA_LINK_SECONDS).to
    for file in Attachment.objects.filter(message_id__in=messages).order_by("id"):
        item = {"kind": file.kind, "name": file.name, "size": file.size}
        if file.state == Attachment.State.STORED:
            item["url"] = link(file.path, file.name)
        elif file.handle.startswith(("http://", "https://")):
            item["url"] = file.handle
        else:
            continue
        found.setdefault(file.message_id, []).append(item)
    return found
