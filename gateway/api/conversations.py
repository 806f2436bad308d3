"""Which conversation a request means: by a session of it, or by channel and person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from ninja import Schema
from pydantic import Field

from gateway.api.callers import DIRECT, Agent, Caller, Program, within
from gateway.api.pages import Word
from gateway.api.problems import Problem, missing
from sessions_app.models import Contact, Message, Session


class Naming(Schema):
    """The conversation, by one of its sessions, or by channel and user_id (a direct chat)."""

    model_config = {"extra": "forbid"}

    session: Word | None = None
    channel: Word | None = None
    user_id: Word | None = Field(None, description="The platform's id of the person.")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Whose it is, and where what is said in it goes."""

    channel: str
    scope_key: str
    user_id: str
    chat_id: str
    target: dict[str, Any] = field(default_factory=dict)


def named(caller: Caller, naming: Naming) -> Conversation:
    """The conversation meant. Raises `Problem` 404 for what the caller may not reach."""
    if isinstance(caller, Agent):
        if naming.session or naming.channel or naming.user_id:
            raise Problem(422, "A grant is for its own conversation: name no other.")
        return of_session(caller.session)
    if naming.session and not (naming.channel or naming.user_id):
        return of_session(session_of(caller, naming.session))
    if naming.channel and naming.user_id and not naming.session:
        return _direct(caller, naming.channel, naming.user_id)
    raise Problem(422, "Name the conversation by session, or by channel and user_id.")


def session_of(caller: Caller, session: str) -> Session:
    """A session that the caller may reach. Raises `Problem` 404."""
    rows = Session.objects.select_related("contact").filter(**within(caller))
    if found := rows.filter(pk=session).first():
        return found
    raise missing("session")


def of_session(session: Session) -> Conversation:
    """The conversation that a session belongs to."""
    return Conversation(
        session.channel,
        session.scope_key,
        session.contact.user_id,
        session.chat_id,
        _target(session),
    )


def contact_of(conversation: Conversation) -> Contact:
    """The person whose access counts. Raises `Problem` 404 where nobody is known."""
    found = Contact.objects.filter(channel=conversation.channel, user_id=conversation.user_id)
    if contact := found.first():
        return contact
    raise missing("person")


def _direct(caller: Program, channel: str, user_id: str) -> Conversation:
    if channel not in settings.OPENCLAW_CHANNELS:
        raise Problem(422, "This channel is not enabled.")
    own = caller.contact
    if own and (own.channel, own.user_id) != (channel, user_id):
        raise missing("person")
    scope_key = f"{DIRECT}{user_id}"
    rows = Session.objects.select_related("contact").filter(channel=channel, scope_key=scope_key)
    if latest := rows.order_by("-pk").first():
        return of_session(latest)
    return Conversation(channel, scope_key, user_id, user_id)


def _target(session: Session) -> dict[str, Any]:
    """Where the last question of the session wanted its answer; the platform may need more
    than a chat's id."""
    asked = Message.objects.filter(session=session, role=Message.Role.USER).exclude(target={})
    last = asked.order_by("-seq").values_list("target", flat=True).first()
    return last if isinstance(last, dict) else {}
