"""/me: what an agent may know and change of the conversation it answers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from gateway.api.callers import Grant, agent
from gateway.api.people import zone_of

router = Router(auth=Grant(), tags=["me"])


class Person(Schema):
    """Whom the agent talks to; empty in groups."""

    name: str
    preferences: dict[str, Any]
    notes: dict[str, Any]


class Me(Schema):
    """The conversation of this grant."""

    session: str
    channel: str
    chatId: str
    person: Person
    timezone: str = Field(description="The person's, from their preferences; else UTC.")


@router.get("", response=Me)
def me(request: HttpRequest) -> dict[str, Any]:
    """Which conversation this grant is for, and with whom."""
    caller = agent(request)
    person = caller.person
    return {
        "session": caller.session.pk,
        "channel": caller.session.channel,
        "chatId": caller.session.chat_id,
        "person": {
            "name": person.name if person else "",
            "preferences": person.preferences if person else {},
            "notes": person.notes if person else {},
        },
        "timezone": zone_of(person.preferences if person else {}),
    }
