"""/sessions: conversations, their messages and their context."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router

from gateway.api.callers import Token, caller_of, within
from gateway.api.conversations import session_of
from gateway.api.documents import change_context
from gateway.api.pages import DEFAULT, Cursor, Limit, Page, Word, page
from gateway.api.problems import Problem
from gateway.api.shapes import (
    Document,
    MessageOut,
    Patch,
    SessionOut,
    document,
    message_out,
    session_out,
)
from gateway.ledger import operate
from sessions_app.models import Message, Session

router = Router(tags=["sessions"])
READ, WRITE = Token("sessions:read"), Token("sessions:write")

State = Literal["", "active", "idle", "terminated"]


@router.get("", response=Page[SessionOut], auth=READ)
def list_sessions(
    request: HttpRequest,
    channel: Word = "",
    user_id: Word = "",
    state: State = "",
    limit: Limit = DEFAULT,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """Sessions, newest first."""
    wanted = {"channel": channel, "contact__user_id": user_id, "state": state}
    rows = Session.objects.select_related("contact").filter(**within(caller_of(request)))
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found, following = page(rows, limit, cursor)
    return {"items": [session_out(row) for row in found], "next": following}


@router.get("/{session_id}", response=SessionOut, auth=READ)
def get_session(request: HttpRequest, session_id: Word) -> SessionOut:
    """One session."""
    return session_out(session_of(caller_of(request), session_id))


@router.get("/{session_id}/messages", response=Page[MessageOut], auth=READ)
def list_messages(
    request: HttpRequest, session_id: Word, limit: Limit = DEFAULT, cursor: Cursor = ""
) -> dict[str, Any]:
    """What was said in a session, newest first."""
    session = session_of(caller_of(request), session_id)
    found, following = page(Message.objects.filter(session=session), limit, cursor, "seq")
    return {"items": [message_out(row) for row in found], "next": following}


@router.post("/{session_id}/terminate", response=SessionOut, auth=WRITE)
def terminate_session(request: HttpRequest, session_id: Word) -> SessionOut:
    """End an open session and stop its turns. What waits to be sent still goes out."""
    caller = caller_of(request)
    session = session_of(caller, session_id)
    if not operate.terminate_sessions(caller.name, [session.pk]):
        raise Problem(409, "This session has ended already.")
    return session_out(session_of(caller, session_id))


@router.post("/{session_id}/restore", response=SessionOut, auth=WRITE)
def restore_session(request: HttpRequest, session_id: Word) -> SessionOut:
    """Bring an ended session back, unless its person has begun a new one."""
    caller = caller_of(request)
    session = session_of(caller, session_id)
    if not operate.restore_sessions(caller.name, [session.pk]):
        raise Problem(409, "This session is open, or its person has begun a new one.")
    return session_out(session_of(caller, session_id))


@router.get("/{session_id}/context", response=Document, auth=READ)
def get_context(request: HttpRequest, session_id: Word) -> Document:
    """What agents asked to be kept with the session."""
    return document(session_of(caller_of(request), session_id).context)


@router.patch("/{session_id}/context", response=Document, auth=WRITE)
def patch_context(request: HttpRequest, session_id: Word, patch: Patch) -> Document:
    """Merge into it; null deletes. Answers all of it."""
    caller = caller_of(request)
    return change_context(caller.name, session_of(caller, session_id).pk, patch)
