"""Makers and readers for the tests of schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.ledger.schedules import NewSchedule, add_schedule
from gateway.models import Occurrence, Schedule
from sessions_app.models import Contact
from tests.core.kit import CHANNEL


def person(user: str = "u1", **changes: Any) -> Contact:
    """Somebody who has been let in."""
    fields: dict[str, Any] = {"channel": CHANNEL, "user_id": user, "access": "allowed"}
    return Contact.objects.get_or_create(channel=CHANNEL, user_id=user, defaults=fields | changes)[
        0
    ]


def new(user: str = "u1", **changes: Any) -> NewSchedule:
    """Once an hour, "hello", into the direct chat of `user`."""
    fields: dict[str, Any] = {
        "contact": person(user).pk,
        "channel": CHANNEL,
        "scope_key": f"user:{user}",
        "chat_id": f"chat-{user}",
        "kind": "every",
        "spec": "3600",
        "text": "" if changes.get("prompt") else "hello",
    }
    return NewSchedule(**(fields | changes))


def plan(user: str = "u1", **changes: Any) -> Schedule:
    """The same, kept."""
    return add_schedule("test", new(user, **changes))


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rows(schedule: Schedule | None = None) -> list[tuple[str, str]]:
    """(state, reason) of each occurrence, oldest first."""
    found = Occurrence.objects.filter(schedule=schedule) if schedule else Occurrence.objects.all()
    return list(found.order_by("due_at", "pk").values_list("state", "reason"))


def next_run(schedule: Schedule) -> datetime | None:
    """As it stands in the database."""
    return Schedule.objects.get(pk=schedule.pk).next_run
