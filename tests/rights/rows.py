"""One row of every table, and where each is found."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.db.models import Model

from gateway import models as gateway
from sessions_app import clock
from sessions_app import models as conversations
from tests.rows import planned

KEY = "sk-not-a-key-0000"


def fill() -> dict[str, str]:
    """Table or name -> the id of a row: a running turn, a failed delivery, an open session."""
    contact = conversations.Contact.objects.create(channel="webchat", user_id="u1", name="Ada")
    lone = conversations.Contact.objects.create(channel="webchat", user_id="u2", name="Bob")
    session = conversations.Session.objects.create(
        channel="webchat", scope_key="s", contact=contact, chat_id="c"
    )
    message = conversations.Message.objects.create(
        session=session, seq=1000, role="user", origin="user", text="hi", channel="webchat",
        disposition="pending",
    )  # fmt: skip
    agent = gateway.Agent.objects.create(name="one", url="http://127.0.0.1:1/", api_key=KEY)
    other = gateway.Agent.objects.create(name="two", url="http://127.0.0.1:1/")
    schedule = planned(session)
    schedule.save()
    now = clock.now()
    made: list[Model] = [
        Group.objects.create(name="some"),
        User.objects.create_user("some"),
        agent,
        gateway.AgentHealth.objects.create(agent=other),
        gateway.ApiToken.objects.create(name="t", digest="d"),
        gateway.IdempotencyKey.objects.create(owner="t", key="k", status=200, body={}),
        gateway.Audit.objects.create(actor="somebody", action="look", row="r"),
        gateway.Cursor.objects.create(channel="webchat", value="1"),
        gateway.Delivery.objects.create(
            session=session, message=message, channel="webchat", chat_id="c", text="t",
            state="failed",
        ),
        gateway.Heartbeat.objects.create(name="h"),
        gateway.Occurrence.objects.create(schedule=schedule, due_at=now),
        gateway.PairingCode.objects.create(
            channel="webchat", user_id="u", code="c", expires_at=now + timedelta(hours=1)
        ),
        gateway.RoutingRule.objects.create(agent=agent),
        schedule,
        gateway.SetAside.objects.create(channel="webchat", reason="r", payload="p"),
        gateway.Turn.objects.create(
            session=session, upto_seq=1000, state="running", attempts=1, agent=agent
        ),
        gateway.Replay.objects.create(turn=gateway.Turn.objects.get(), agent="one"),
        conversations.Attachment.objects.create(message=message, kind="image"),
        conversations.ContactAlias.objects.create(
            channel="webchat", user_id="other", contact=session.contact
        ),
        conversations.Overheard.objects.create(
            channel="webchat", chat_id="g", external_id="o", sender="u", text="t"
        ),
        lone,
        message,
        session,
    ]  # fmt: skip
    found = {row._meta.label_lower: str(row.pk) for row in made}
    return found | {
        "user": found["auth.user"],
        "superuser": str(User.objects.create_superuser("root").pk),
        "turn": found["gateway.turn"],
        "delivery": found["gateway.delivery"],
        "session": session.pk,
    }
