"""A session's page: the conversation as one reads it, live at its end, with what can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render as render_part
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET, require_POST

from gateway.console import transcript
from gateway.console.frame import OPERATE, render
from gateway.console.standing import standing, troubles
from gateway.console.work import OPEN
from gateway.ledger import operate
from gateway.models import Delivery, Turn
from sessions_app.models import Attachment, Message, Session

PERMISSIONS = ("sessions_app.view_session", "sessions_app.view_message")
NOTHING = "Nothing to do: it has moved on meanwhile."

Verb = tuple[Callable[[str, list[Any]], int], str, str]
"""(what is called, what is said afterwards, what is said where nothing was to do)."""


def give_back(actor: str, sessions: list[Any]) -> int:
    """To their agent, which answers what comes from now on."""
    return operate.hand_over(actor, sessions, Session.Handler.AGENT)


SESSION_VERBS: dict[str, Verb] = {
    "terminate": (operate.terminate_sessions, "The conversation is ended.", NOTHING),
    "restore": (
        operate.restore_sessions,
        "The conversation goes on where it was.",
        "Not restored: a newer conversation of this person is open. End that one first.",
    ),
    "give": (give_back, "The agent answers from now on.", NOTHING),
}
TURN_VERBS: dict[str, Verb] = {
    "cancel": (operate.cancel_turns, "Stopped.", NOTHING),
    "again": (operate.requeue_turns, "The agent is asked again.", NOTHING),
    "discard": (operate.discard_turns, "Let go: the turn failed for good.", NOTHING),
}
DELIVERY_VERBS: dict[str, Verb] = {
    "send": (operate.retry_deliveries, "It will be sent again.", NOTHING),
    "drop": (operate.discard_deliveries, "Let go: it will not be sent.", NOTHING),
}


FILE_VERBS: dict[str, Verb] = {
    "fetch": (operate.fetch_files, "The file is fetched again.", NOTHING),
}


def urls(wrap: Callable[..., Any]) -> list[URLPattern]:
    """The page's own addresses, below the session's."""
    return [
        path("<str:pk>/entries/", wrap(entries), name="conversation-entries"),
        path("<str:pk>/act/", wrap(act), name="conversation-act"),
    ]


def page(request: HttpRequest, session: Session) -> HttpResponse:
    """The conversation, open at its end, or around the place that `at` names."""
    if not request.user.has_perms(PERMISSIONS) or request.method == "POST":
        raise PermissionDenied
    at = _place(request, "at")
    shown = transcript.before(session) if at is None else transcript.around(session, at)
    context = _head(session) | {"page": shown, "siblings": transcript.siblings(session)}
    return render(request, "console/conversation.html", str(session.contact), context)


@require_GET
def entries(request: HttpRequest, pk: str) -> HttpResponse:
    """Part of the page: what comes before a place, or everything since one and the head."""
    session = _session(request, pk)
    before, since = _place(request, "before"), _place(request, "since")
    if before is not None:
        shown = transcript.before(session, before)
    else:
        shown = transcript.since(session, since or 0)
    context = _head(session) | {"page": shown, "may_operate": request.user.has_perm(OPERATE)}
    return render_part(request, "console/conversation_part.html", context)


@require_POST
def act(request: HttpRequest, pk: str) -> HttpResponse:
    """Do what a button says: "verb" for the session, "verb:row" for a turn or a delivery."""
    session = _session(request, pk)
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied
    name, _, row = request.POST.get("do", "").partition(":")
    (function, done, nothing), ids, anchor = _wanted(session, name, row)
    if function(request.user.get_username(), ids):
        messages.success(request, done)
    else:
        messages.warning(request, nothing)
    return HttpResponseRedirect(address(session) + anchor)


def address(session: Session) -> str:
    """Where the session's page is."""
    return reverse("admin:sessions_app_session_change", args=(session.pk,))


def _wanted(session: Session, name: str, row: str) -> tuple[Verb, list[Any], str]:
    """The verb, the ids it is for and where to look afterwards; 404 if not of this session."""
    if name in SESSION_VERBS and not row:
        return SESSION_VERBS[name], [session.pk], ""
    if name in TURN_VERBS:
        turn = Turn.objects.filter(session=session, pk=row).first()
        if turn:
            return TURN_VERBS[name], [turn.pk], f"?at={turn.upto_seq}#t{turn.pk}"
    if name in DELIVERY_VERBS and row.isdecimal() and len(row) < 19:
        part = Delivery.objects.filter(session=session, pk=int(row)).select_related("message")
        for found in part:
            place = f"?at={found.message.seq}#m{found.message.pk}" if found.message else ""
            return DELIVERY_VERBS[name], [found.pk], place
    if name in FILE_VERBS and row.isdecimal() and len(row) < 19:
        files = Attachment.objects.filter(message__session=session, pk=int(row))
        for file in files.select_related("message"):
            place = f"?at={file.message.seq}#m{file.message.pk}"
            return FILE_VERBS[name], [file.pk], place
    raise Http404("no such thing in this conversation")


def _session(request: HttpRequest, pk: str) -> Session:
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    session = Session.objects.select_related("contact").filter(pk=pk).first()
    if session is None:
        raise Http404("no such session")
    return session


def _place(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 18 else None


def _head(session: Session) -> dict[str, Any]:
    """What the head of the page says: who, where, how it stands."""
    opened = Turn.objects.filter(session=session, state__in=OPEN)
    states = set(opened.values_list("state", flat=True)[:50])
    last = Message.objects.filter(session=session, seq=session.last_seq).first()
    wrong = troubles([session.pk], {session.pk: last} if last else {})
    look = standing(session, states, wrong.get(session.pk))
    return {"session": session, "contact": session.contact, "standing": look}
