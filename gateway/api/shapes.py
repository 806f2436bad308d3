"""What rows look like from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Body, Schema
from pydantic import Field

from gateway.models import Delivery, Schedule, Turn
from sessions_app.models import Contact, Message, Session

Document = dict[str, Any]
Patch = Annotated[Document, Body()]
"""What is merged into a document; null deletes."""


class SessionOut(Schema):
    """One person's conversation with one agent; in groups, one chat's."""

    id: str
    channel: str
    chat_id: str
    user_id: str = Field(description="The platform's id of the person; in a group, who began it.")
    is_group: bool
    state: str = Field(description="active, idle or terminated.")
    handler: str = Field(description="agent or operator.")
    agent: str = Field(description="Who answered last.")
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None
    ended_at: datetime | None


class MessageOut(Schema):
    """One entry of a session's history."""

    id: int
    session: str
    role: str = Field(description="user, assistant or system.")
    origin: str = Field(description="user, agent, operator, schedule or system.")
    text: str
    generated: bool = Field(description="Nobody in the conversation asked for it.")
    disposition: str = Field(
        description="Of what a person wrote: pending, answered, silent, failed or handed_over."
    )
    at: datetime


class TurnOut(Schema):
    """One call of an agent."""

    id: str
    session: str
    agent: str | None
    state: str = Field(
        description="queued, running, done, failed, cancelled or quarantined (waits for a person)."
    )
    attempts: int
    error_code: str
    error_detail: str
    partial_text: str = Field(description="What was said before it failed.")
    usage: Document
    queued_at: datetime
    started_at: datetime | None
    first_token_at: datetime | None
    ended_at: datetime | None


class DeliveryOut(Schema):
    """One outgoing part of a message."""

    id: str
    session: str | None
    message: int | None
    channel: str
    chat_id: str
    part: int
    text: str
    state: str = Field(description="queued, sending, sent, failed, expired or unsure.")
    attempts: int
    repeated: bool = Field(description="It may have arrived before.")
    receipt: str = Field(description="The platform's id for it.")
    status: str = Field(description="What the platform said since: delivered, read.")
    error_code: str
    error_detail: str
    created_at: datetime
    sent_at: datetime | None


class ContactOut(Schema):
    """One person on one channel."""

    id: int
    channel: str
    user_id: str
    name: str
    access: str = Field(description="pending, allowed or blocked. It cannot be changed from here.")
    preferences: Document
    notes: Document
    created_at: datetime


class ScheduleOut(Schema):
    """A planned send: a text as it stands, or a prompt whose answer is sent."""

    id: str
    kind: str = Field(description="cron, every or at.")
    spec: str
    timezone: str
    text: str
    prompt: str
    catch_up: str = Field(description="What was missed: skip, once or all.")
    next_run: datetime | None = Field(description="Null when it is over.")
    enabled: bool
    channel: str
    chat_id: str


def document(value: Any) -> Document:
    """A JSON column where an object is meant; empty if somebody put something else there."""
    return value if isinstance(value, dict) else {}


def session_out(row: Session) -> SessionOut:
    """A session; its contact should be loaded."""
    return SessionOut(
        id=row.pk,
        channel=row.channel,
        chat_id=row.chat_id,
        user_id=row.contact.user_id,
        is_group=row.scope_key.startswith("chat:"),
        state=row.state,
        handler=row.handler,
        agent=row.agent,
        created_at=row.created_at,
        last_activity=row.last_activity,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
    )


def message_out(row: Message) -> MessageOut:
    """A message."""
    return MessageOut(
        id=row.pk,
        session=row.session_id,
        role=row.role,
        origin=row.origin,
        text=row.text,
        generated=row.generated,
        disposition=row.disposition,
        at=row.created_at,
    )


def turn_out(row: Turn) -> TurnOut:
    """A turn; its agent should be loaded."""
    return TurnOut(
        id=row.pk,
        session=row.session_id,
        agent=row.agent.name if row.agent else None,
        state=row.state,
        attempts=row.attempts,
        error_code=row.error_code,
        error_detail=row.error_detail,
        partial_text=row.partial_text,
        usage=document(row.usage),
        queued_at=row.queued_at,
        started_at=row.started_at,
        first_token_at=row.first_token_at,
        ended_at=row.ended_at,
    )


def delivery_out(row: Delivery) -> DeliveryOut:
    """A delivery."""
    return DeliveryOut(
        id=row.key,
        session=row.session_id,
        message=row.message_id,
        channel=row.channel,
        chat_id=row.chat_id,
        part=row.part,
        text=row.text,
        state=row.state,
        attempts=row.attempts,
        repeated=row.repeated,
        receipt=row.receipt,
        status=row.status,
        error_code=row.error_code,
        error_detail=row.error_detail,
        created_at=row.created_at,
        sent_at=row.sent_at,
    )


def contact_out(row: Contact) -> ContactOut:
    """A contact."""
    return ContactOut(
        id=row.pk,
        channel=row.channel,
        user_id=row.user_id,
        name=row.name,
        access=row.access,
        preferences=document(row.preferences),
        notes=document(row.notes),
        created_at=row.created_at,
    )


def schedule_out(row: Schedule) -> ScheduleOut:
    """A schedule."""
    return ScheduleOut(
        id=row.pk,
        kind=row.kind,
        spec=row.spec,
        timezone=row.timezone,
        text=row.text,
        prompt=row.prompt,
        catch_up=row.catch_up,
        next_run=row.next_run,
        enabled=row.enabled,
        channel=row.channel,
        chat_id=row.chat_id,
    )
