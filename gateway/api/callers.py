"""Who calls: an agent by the grant of its session, or a program by a stored token."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer

from gateway.api import grants
from gateway.api.problems import Problem, unauthorized
from sessions_app.models import Contact, Session

logger = logging.getLogger(__name__)

DIRECT = "user:"
"""How the scope key of a direct chat begins."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that answers `session`, and may reach that conversation alone."""

    session: Session

    @property
    def name(self) -> str:
        """For the audit."""
        return f"agent:{self.session.pk}"

    @property
    def person(self) -> Contact | None:
        """Whose conversation it is; None in a group, which is nobody's alone."""
        return self.session.contact if is_direct(self.session) else None


def is_direct(session: Session) -> bool:
    """Whether a session is one person's, with nobody reading along."""
    return session.scope_key.startswith(DIRECT)


def agent_of(token: str) -> Agent:
    """Whom a grant lets in. Raises `Problem`."""
    try:
        session_id = grants.read(token)
    except grants.BadGrant as error:
        raise unauthorized(f"This grant does not count: {error}.") from None
    session = Session.objects.select_related("contact").filter(pk=session_id).first()
    if session is None or session.state == Session.State.TERMINATED:
        raise unauthorized("The session of this grant has ended.")
    if _is_shut_out(session):
        raise unauthorized("The person of this grant is blocked.")
    return Agent(session)


def _is_shut_out(session: Session) -> bool:
    """Blocked. A group's session is not its first writer's alone."""
    shared = session.scope_key == f"chat:{session.chat_id}"
    return not shared and session.contact.access == Contact.Access.BLOCKED


class Bearer(HttpBearer):
    """`Authorization: Bearer …`; nothing else counts, no cookie and no address."""

    def __call__(self, request: HttpRequest) -> Any:
        """The caller. Raises `Problem`."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != self.openapi_scheme or not token.strip():
            raise unauthorized("Send a token: Authorization: Bearer …")
        return self.authenticate(request, token.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """The caller that the token stands for. Raises `Problem`."""
        return self._admit(agent_of(token))

    def _admit(self, caller: Agent) -> Any:
        return caller


class Grant(Bearer):
    """Agents only: what is said about "me" has no meaning for a program."""


def agent(request: HttpRequest) -> Agent:
    """The agent that calls. Raises `Problem` 403 for any other caller."""
    found: Any = getattr(request, "auth", None)
    if not isinstance(found, Agent):
        raise Problem(403, "This is for agents: it needs the grant of a session.")
    return found
