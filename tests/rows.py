"""Rows and forms that several suites need: a schedule, an agent as the admin posts it."""

from __future__ import annotations

from typing import Any

from gateway.models import Schedule
from sessions_app.models import Session

AGENT_FORM = {
    "name": "one",
    "url": "http://127.0.0.1:9/",
    "command": "",
    "instances": "shared",
    "max_instances": "20",
    "idle_seconds": "900",
    "protocol": "rpc",
    "busy": "queue",
    "debounce_seconds": "2",
    "enabled": "on",
}


def planned(session: Session, **changes: Any) -> Schedule:
    """A row that sends "hello" into the session's conversation once a minute."""
    return Schedule(
        **{
            "contact": session.contact,
            "channel": session.channel,
            "scope_key": session.scope_key,
            "chat_id": session.chat_id,
            "kind": "every",
            "spec": "60",
            "text": "hello",
            **changes,
        }
    )
