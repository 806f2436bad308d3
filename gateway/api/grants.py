"""Session grants: what lets an agent use the API for the one session it is answering.

A grant is signed, ends by itself, and names one session. Nothing of it is stored, so
making one for each turn costs no row; but each use looks at the session and its person,
so that it is dead at once when the session has ended or the person is blocked.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing

from sessions_app import clock

PREFIX = "og_"
_SALT = "openclaw.api.grant"
_AFTER_SECONDS = 3600
"""How much longer than a turn can take: tools may finish their work."""


class BadGrant(Exception):
    """Not signed by us, or over."""


def grant(session: str, seconds: float | None = None) -> str:
    """A token for one session. It holds as long as a turn can take and an hour, or `seconds`."""
    life = settings.OPENCLAW_AGENT_TOTAL_SECONDS + _AFTER_SECONDS if seconds is None else seconds
    until = int((clock.now() + timedelta(seconds=life)).timestamp())
    return PREFIX + signing.dumps([session, until], salt=_SALT)


def read(token: str) -> str:
    """The session that a grant is for. Raises `BadGrant`."""
    if not token.startswith(PREFIX):
        raise BadGrant("not a grant")
    try:
        said: Any = signing.loads(token.removeprefix(PREFIX), salt=_SALT)
    except (signing.BadSignature, ValueError) as error:
        raise BadGrant("not signed by this gateway") from error
    session, until = said
    if clock.now().timestamp() >= until:
        raise BadGrant("over")
    return str(session)


def base_url() -> str:
    """Where agents find the API (no trailing slash): by default this machine's own address."""
    default = f"http://127.0.0.1:{settings.OPENCLAW_PORT}/api/v1"
    return str(settings.OPENCLAW_AGENT_API_URL or default)


def access(session: str) -> dict[str, str]:
    """What an agent is given with a turn: {"url", "token"}."""
    return {"url": base_url(), "token": grant(session)}
