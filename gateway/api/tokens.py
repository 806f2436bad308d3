"""Stored tokens: made once and shown once, kept as a hash, with the scopes they were given."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import OperationalError, transaction
from django.db.models import Q

from gateway.models import ApiToken, Audit
from sessions_app import clock
from sessions_app.models import Contact

PREFIX = "oc_"
_BYTES = 32
_TOUCH = timedelta(minutes=1)

SCOPES = {
    "chat": "talk to agents over the OpenAI-compatible entrance",
    "messages:write": "send messages, and put questions to agents in people's names",
    "sessions:read": "sessions, their messages and context",
    "sessions:write": "end and restore sessions, change their context",
    "turns:read": "calls of agents",
    "turns:write": "stop turns, ask again",
    "deliveries:read": "what goes out",
    "deliveries:write": "send again, let go",
    "schedules:read": "planned sends",
    "schedules:write": "plan sends and cancel them",
    "contacts:read": "people, their preferences and notes",
    "contacts:write": "change people's preferences and notes",
}
"""Every scope, and what it is for."""


class BadScope(ValueError):
    """There is no such scope; the text names it."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A stored token, and the one moment at which it can be read."""

    row: ApiToken
    secret: str


def make_token(
    actor: str,
    name: str,
    scopes: Iterable[str],
    contact: Contact | None = None,
    expires_at: datetime | None = None,
) -> NewToken:
    """Make one. `contact` narrows it to that person's own conversation. Raises `BadScope`."""
    wanted = sorted(set(scopes))
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise BadScope(f"there is no scope {unknown[0]!r}; there are {', '.join(SCOPES)}")
    if not wanted:
        raise BadScope(f"give it a scope: {', '.join(SCOPES)}")
    secret = PREFIX + secrets.token_urlsafe(_BYTES)
    with transaction.atomic():
        row = ApiToken.objects.create(
            name=name,
            digest=digest(secret),
            scopes=wanted,
            contact=contact,
            expires_at=expires_at,
        )
        _note(actor, "make_token", row)
    return NewToken(row, secret)


def revoke_tokens(actor: str, token_ids: Iterable[int]) -> int:
    """They count for nothing from now on. How many did until now."""
    with transaction.atomic():
        rows = ApiToken.objects.select_for_update().filter(pk__in=list(token_ids), revoked_at=None)
        found = list(rows)
        now = clock.now()
        ApiToken.objects.filter(pk__in=[row.pk for row in found]).update(revoked_at=now)
        for row in found:
            _note(actor, "revoke_token", row)
    return len(found)


def digest(secret: str) -> str:
    """What is kept of a token. It is random and long, so that a plain hash hides it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find(secret: str) -> ApiToken | None:
    """The row of a token that counts now; when it was used is noted once a minute."""
    row = ApiToken.objects.select_related("contact").filter(digest=digest(secret)).first()
    now = clock.now()
    if row is None or row.revoked_at or (row.expires_at and row.expires_at <= now):
        return None
    if row.last_used_at is None or row.last_used_at <= now - _TOUCH:
        _touch(row, now)
    return row


def _touch(row: ApiToken, now: datetime) -> None:
    earlier = Q(last_used_at=None) | Q(last_used_at__lte=now - _TOUCH)
    # where somebody else writes for too long, reading goes on, and the next call notes it
    with contextlib.suppress(OperationalError):
        ApiToken.objects.filter(earlier, pk=row.pk).update(last_used_at=now)


def _note(actor: str, action: str, row: ApiToken) -> None:
    detail = {"name": row.name, "scopes": row.scopes, "contact": row.contact_id}
    Audit.objects.create(
        at=clock.now(), actor=actor[:150], action=action, row=f"apitoken {row.pk}", detail=detail
    )
