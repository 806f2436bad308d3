"""/me: what an agent may know and change of the conversation it answers.

Which one that is, is said by the grant alone: no parameter names a session or a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from gateway.api.callers import Agent, Grant, agent_of
from gateway.api.documents import change_context, change_person
from gateway.api.pages import DEFAULT, Cursor, Limit, Page, Word, page
from gateway.api.problems import Problem
from gateway.api.shapes import Document, Patch, document
from gateway.ledger.reminding import timezone_of
from gateway.models import Turn
from sessions_app import clock
from sessions_app.models import Contact, Message

router = Router(auth=Grant(), tags=["me"])


class Person(Schema):
    """Whom the agent talks to; empty in groups."""

    name: str
    preferences: Document
    notes: Document


class Me(Schema):
    """The conversation of this grant."""

    session: str
    channel: str
    chatId: str
    person: Person
    timezone: str = Field(description="The person's, from their preferences; else the gateway's.")


class Said(Schema):
    """One message of the history."""

    role: str
    text: str
    at: datetime
    session: str


class Spent(Schema):
    """Sums over what agents reported of their turns."""

    input_tokens: int
    output_tokens: int
    cost: float


class Usage(Schema):
    """What was spent in this session, and today in the whole conversation."""

    session: Spent
    day: Spent


@router.get("", response=Me)
def me(request: HttpRequest) -> dict[str, Any]:
    """Which conversation this grant is for, and with whom."""
    caller = agent_of(request)
    person = caller.person
    return {
        "session": caller.session.pk,
        "channel": caller.session.channel,
        "chatId": caller.session.chat_id,
        "person": {
            "name": person.name if person else "",
            "preferences": _preferences(caller),
            "notes": document(person.notes) if person else {},
        },
        "timezone": timezone_of(_preferences(caller)),
    }


@router.patch("/notes", response=Document)
def patch_notes(request: HttpRequest, patch: Patch) -> Document:
    """Merge into the notes about the person; null deletes. Answers all of them."""
    caller = agent_of(request)
    return change_person(caller.name, _person(caller).pk, "notes", patch)


@router.patch("/preferences", response=Document)
def patch_preferences(request: HttpRequest, patch: Patch) -> Document:
    """Merge into the person's preferences; null deletes. Answers all of them."""
    caller = agent_of(request)
    return change_person(caller.name, _person(caller).pk, "preferences", patch)


@router.get("/context", response=Document)
def my_context(request: HttpRequest) -> Document:
    """The session's context."""
    return document(agent_of(request).session.context)


@router.patch("/context", response=Document)
def patch_my_context(request: HttpRequest, patch: Patch) -> Document:
    """Merge into the session's context; null deletes. Answers all of it."""
    caller = agent_of(request)
    return change_context(caller.name, caller.session.pk, patch)


@router.get("/messages", response=Page[Said])
def my_messages(
    request: HttpRequest, q: Word = "", limit: Limit = DEFAULT, cursor: Cursor = ""
) -> dict[str, Any]:
    """What was said in this conversation, in this session and earlier ones, newest first.

    With q only messages in which each of its words stands, whatever the case.
    """
    channel, scope_key = agent_of(request).conversation
    rows = Message.objects.filter(session__channel=channel, session__scope_key=scope_key)
    rows = rows.exclude(origin=Message.Origin.SYSTEM)
    for word in q.split()[:10]:
        rows = rows.filter(text__iregex=re.escape(word))
    found, following = page(rows, limit, cursor)
    items = [
        {"role": row.role, "text": row.text, "at": row.created_at, "session": row.session_id}
        for row in found
    ]
    return {"items": items, "next": following}


@router.get("/usage", response=Usage)
def my_usage(request: HttpRequest) -> dict[str, Any]:
    """What was spent in this session, and since midnight where the person lives."""
    caller = agent_of(request)
    channel, scope_key = caller.conversation
    whole = Turn.objects.filter(session__channel=channel, session__scope_key=scope_key)
    today = whole.filter(queued_at__gte=_midnight(caller))
    return {
        "session": _spent(whole.filter(session=caller.session).values_list("usage", flat=True)),
        "day": _spent(today.values_list("usage", flat=True)),
    }


def _person(caller: Agent) -> Contact:
    """Raises `Problem` 403 in a group, where nothing is one person's."""
    if caller.person is None:
        raise Problem(403, "This is a group's conversation: notes and preferences are a person's.")
    return caller.person


def _preferences(caller: Agent) -> Document:
    return document(caller.person.preferences) if caller.person else {}


def _midnight(caller: Agent) -> datetime:
    zone = ZoneInfo(timezone_of(_preferences(caller)))
    today = clock.now().astimezone(zone).date()
    return datetime.combine(today, time(), zone)


def _spent(usages: Iterable[Any]) -> dict[str, Any]:
    """The sums; agents and OpenAI-compatible servers name their counts differently."""
    reported = [usage for usage in usages if isinstance(usage, dict)]
    return {
        "input_tokens": int(sum(_number(u, "input_tokens", "prompt_tokens") for u in reported)),
        "output_tokens": int(
            sum(_number(u, "output_tokens", "completion_tokens") for u in reported)
        ),
        "cost": sum(_number(u, "cost") for u in reported),
    }


def _number(usage: dict[str, Any], *names: str) -> float:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
            return float(value)
    return 0.0
