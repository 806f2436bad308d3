"""Rows that wait for a person, made for the tests of the start page and the repair page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from gateway.models import (
    Agent,
    AgentHealth,
    ApiToken,
    Audit,
    Cursor,
    Delivery,
    Heartbeat,
    IdempotencyKey,
    Occurrence,
    PairingCode,
    Replay,
    RoutingRule,
    SetAside,
    Turn,
)
from sessions_app import clock
from sessions_app.models import Attachment, Contact, Message, Session
from tests.rows import planned

PASSWORD = "not-a-password-1"


def account(name: str, *permissions: str) -> User:
    """A staff account that may see everything the console shows, and `permissions`."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    seen = Permission.objects.filter(
        codename__startswith="view_", content_type__app_label__in=("gateway", "sessions_app")
    )
    extra = Permission.objects.filter(codename__in=permissions)
    user.user_permissions.add(*seen, *extra)
    return user


def conversation(number: int = 1, channel: str = "webchat", name: str = "") -> Session:
    """A session with one question in it."""
    contact = Contact.objects.create(
        channel=channel, user_id=f"u{number}", name=name or f"Person {number}"
    )
    session = Session.objects.create(
        channel=channel, scope_key=f"user:u{number}", contact=contact, chat_id=f"c{number}"
    )
    Message.objects.create(
        session=session, seq=1000, role="user", origin="user", channel=channel,
        text=f"question {number}", disposition="pending",
    )  # fmt: skip
    return session


def letter(session: Session, code: str = "refused", **values: Any) -> Delivery:
    """A part of an answer that was not sent."""
    state = {"unsure": "unsure", "expired": "expired"}.get(code, "failed")
    return Delivery.objects.create(
        **{
            "session": session, "channel": session.channel, "chat_id": session.chat_id,
            "text": "an answer", "state": state, "error_code": code, "attempts": 1,
            "error_detail": "Forbidden: bot was blocked by the user",
            "trace": [{"at": "2026-01-01T00:00:00.000+00:00", "result": code, "detail": "why"}],
            **values,
        }
    )  # fmt: skip


def turn(session: Session, state: str = "quarantined", code: str = "", **values: Any) -> Turn:
    """A turn that ended badly."""
    code = code or ("quarantined" if state == "quarantined" else "unreachable")
    ended = clock.now() if state == "failed" else None
    return Turn.objects.create(
        **{"session": session, "upto_seq": 1000, "state": state, "error_code": code,
           "attempts": 5, "error_detail": "connection refused", "ended_at": ended, **values}
    )  # fmt: skip


def payload(number: int = 1, channel: str = "webchat", text: str = '{"odd": true}') -> SetAside:
    """Something that could not be read."""
    return SetAside.objects.create(
        channel=channel, external_id=f"x{number}", reason="no such kind", payload=text
    )


def all_well() -> None:
    """Every process beats, the channel is up, an agent is set up."""
    now = clock.now()
    report = {"state": "up", "detail": "", "last_inbound_at": now.isoformat(), "denied": 0}
    for name, detail in (("gateway", {}), ("worker", {}), ("channel:webchat", report)):
        Heartbeat.objects.update_or_create(name=name, defaults={"at": now, "detail": detail})
    Agent.objects.get_or_create(name="pi", defaults={"url": "http://127.0.0.1:9000/"})


def ago(**span: float) -> Any:
    """A moment in the past."""
    return clock.now() - timedelta(**span)


NASTY = (
    '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
    "'\"><svg onload=window.hurt=1> [a](javascript:window.hurt=1)"
)
"""A text that takes over a page which does not escape it."""


def around(text: str) -> dict[str, Any]:
    """What stands around a message: who wrote it, what it answers, what was said before."""
    said = {"name": text, "sender_name": text, "text": text}
    return {"name": text, "forwarded": text, "quote": said, "overheard": [said, said]}


def everything(text: str = "some text") -> None:
    """Something in every table and on every page, with `text` wherever people or agents write."""
    session = conversation(name=text[:200])
    Message.objects.update(text=text, context=around(text))
    message = Message.objects.get()
    Attachment.objects.create(
        message=message, kind="document", name=text[:200], handle=text, state="failed",
        error=text[:255],
    )  # fmt: skip
    agent, _ = Agent.objects.get_or_create(name="pi", defaults={"url": "http://127.0.0.1:9/"})
    RoutingRule.objects.create(agent=agent, user_pattern=text[:200])
    letter(session, text=text, error_detail=text, message=message)
    letter(session, "unsure", text=text, trace=[{"at": text, "result": text, "detail": text}])
    events = [
        {"kind": "tool_call", "data": {"name": text, "input": text}},
        {"kind": "reasoning", "data": {"text": text}},
    ]
    AgentHealth.objects.create(agent=agent, detail=text[:500])
    IdempotencyKey.objects.create(owner="t", key=text[:255], status=200, body={"text": text})
    answered = turn(session, agent=agent, error_detail=text, partial_text=text, events=events)
    Replay.objects.create(turn=answered, agent="pi", text=text, events=events, ended_at=clock.now())
    turn(conversation(2), "failed", code="reported", error_detail=text, events=events)
    payload(text=text)
    schedule = planned(session, text=text)
    schedule.save()
    Occurrence.objects.create(schedule=schedule, due_at=clock.now(), reason=text[:200])
    Cursor.objects.create(channel="pigeon", value=text[:200])
    PairingCode.objects.create(
        channel="pigeon", user_id=text[:200], code="c", expires_at=clock.now()
    )
    ApiToken.objects.create(name=text[:64], digest="d")
    Heartbeat.objects.create(name="channel:pigeon", detail={"state": text, "detail": text})
    Audit.objects.create(actor="olga", action="look", row=text[:128])
    Group.objects.create(name=text[:100])


def superuser() -> str:
    """The session key of somebody who may do everything."""
    user = User.objects.create_superuser("root", password=PASSWORD)
    client = Client()
    client.force_login(user)
    return str(client.session.session_key)
