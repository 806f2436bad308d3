"""People, their sessions, and calls of the API as an agent or a program would make them."""

from __future__ import annotations

from typing import Any

import orjson
from django.test import Client

from gateway.api.grants import grant
from gateway.api.tokens import SCOPES, digest
from gateway.models import ApiToken
from sessions_app.models import Contact, Message, Session

CHANNEL = "webchat"
PROBLEM = "application/problem+json"


def person(name: str, **changes: Any) -> Contact:
    """A contact who may write."""
    fields: dict[str, Any] = {"channel": CHANNEL, "user_id": f"u-{name}", "access": "allowed"}
    return Contact.objects.create(name=name, **(fields | changes))


def session_of(contact: Contact, **changes: Any) -> Session:
    """Their direct chat."""
    fields: dict[str, Any] = {
        "channel": contact.channel,
        "scope_key": f"user:{contact.user_id}",
        "chat_id": contact.user_id,
        "contact": contact,
    }
    return Session.objects.create(**(fields | changes))


def group_of(contact: Contact, chat_id: str = "g1", **changes: Any) -> Session:
    """A group's session that they began."""
    return session_of(contact, scope_key=f"chat:{chat_id}", chat_id=chat_id, **changes)


def said(session: Session, *texts: str, role: str = "user", **changes: Any) -> list[Message]:
    """Messages at the end of a session."""
    made = []
    for text in texts:
        session.last_seq += 1000
        fields: dict[str, Any] = {
            "role": role,
            "origin": "user" if role == "user" else "agent",
            "channel": session.channel,
            "target": {"chat_id": session.chat_id, "is_group": False},
        }
        made.append(
            Message.objects.create(
                session=session, seq=session.last_seq, text=text, **(fields | changes)
            )
        )
    session.save(update_fields=["last_seq"])
    return made


def token(*scopes: str, contact: Contact | None = None, **changes: Any) -> ApiToken:
    """A stored token's row; its secret is its name."""
    name = changes.pop("name", f"oc_{len(scopes)}-{contact}-{ApiToken.objects.count()}")
    return ApiToken.objects.create(
        name=name, digest=digest(name), scopes=list(scopes), contact=contact, **changes
    )


def program(*scopes: str, contact: Contact | None = None, **changes: Any) -> Caller:
    """A program with these scopes (all of them, where none is named)."""
    return Caller(token(*(scopes or SCOPES), contact=contact, **changes).name)


class Caller:
    """Somebody with a token."""

    def __init__(self, token: str) -> None:
        self.token = token
        self._client = Client()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request; `body` goes as JSON."""
        fields = {"authorization": f"Bearer {self.token}", **headers}
        content = {} if body is None else {"data": orjson.dumps(body)}
        return self._client.generic(
            method,
            f"/api/v1{path}",
            content_type="application/json",
            headers=fields,
            **content,
        )

    def get(self, path: str) -> Any:
        """GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """POST."""
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None) -> Any:
        """PATCH."""
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        """DELETE."""
        return self.call("DELETE", path)


def agent_of(session: Session) -> Caller:
    """The agent that answers this session."""
    return Caller(grant(session.pk))


def refused(answer: Any, status: int) -> str:
    """What is wrong, by an answer that must be a problem of this status."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["Content-Type"] == PROBLEM
    body = answer.json()
    assert body["status"] == status and body["title"] and body["detail"]
    return str(body["detail"])
