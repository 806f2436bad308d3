"""Who calls: an agent by the grant of its session, or a program by a stored token.

What each may reach is decided here, by rows of ours, never by what a request says:
`within` narrows a query to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer

from gateway.api import grants, limits, tokens
from gateway.api.problems import Problem, unauthorized
from sessions_app.models import Contact, Session

DIRECT = "user:"
"""How the scope key of a direct chat begins."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that answers `session`, and may reach that conversation alone."""

    session: Session

    @property
    def name(self) -> str:
        """For the audit, and for what is counted by caller."""
        return f"agent:{self.session.pk}"

    @property
    def person(self) -> Contact | None:
        """Whose conversation it is; None in a group, which is nobody's alone."""
        return self.session.contact if is_direct(self.session) else None

    @property
    def conversation(self) -> tuple[str, str]:
        """(channel, scope key): all sessions of it are the same conversation."""
        return self.session.channel, self.session.scope_key


@dataclass(frozen=True, slots=True)
class Program:
    """A program with a stored token. With `contact` it reaches that person's chat alone."""

    token: int
    label: str
    scopes: frozenset[str]
    contact: Contact | None

    @property
    def name(self) -> str:
        """For the audit."""
        return f"api:{self.label}"


Caller = Agent | Program


def within(caller: Caller, prefix: str = "") -> dict[str, Any]:
    """Conditions on a session (at `prefix`, like "session__") that this caller may reach."""
    if isinstance(caller, Agent):
        channel, scope_key = caller.conversation
    elif caller.contact is None:
        return {}
    else:
        channel, scope_key = caller.contact.channel, f"{DIRECT}{caller.contact.user_id}"
    return {f"{prefix}channel": channel, f"{prefix}scope_key": scope_key}


def is_direct(session: Session) -> bool:
    """Whether a session is one person's, with nobody reading along."""
    return session.scope_key.startswith(DIRECT)


class Bearer(HttpBearer):
    """`Authorization: Bearer …`; nothing else counts, no cookie and no address."""

    def __call__(self, request: HttpRequest) -> Any:
        """The caller. Raises `Problem`."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != self.openapi_scheme or not token.strip():
            raise unauthorized("Send a token: Authorization: Bearer …")
        return self.authenticate(request, token.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        """The caller that the token stands for. Raises `Problem`."""
        caller = _program(token) if token.startswith(tokens.PREFIX) else _agent(token)
        limits.take(caller.name if isinstance(caller, Agent) else f"token:{caller.token}")
        self._admit(caller)
        return caller

    def _admit(self, caller: Caller) -> None:
        """Raises `Problem` 403 for who has no business here."""


class Grant(Bearer):
    """For agents, by the grant of a session."""

    openapi_description = "The grant that an agent gets with each turn: og_…"
    needs = "a grant"

    def _admit(self, caller: Caller) -> None:
        if not isinstance(caller, Agent):
            raise Problem(403, "This is for agents: it needs the grant of a session.")


class Token(Bearer):
    """For programs, by a stored token that has the scope."""

    openapi_description = "A stored token: oc_…, made by `manage.py create_api_token`"

    def __init__(self, scope: str) -> None:
        assert scope in tokens.SCOPES
        self.scope = scope
        self.needs = f"a token with {scope}"
        super().__init__()

    def _admit(self, caller: Caller) -> None:
        if not isinstance(caller, Program):
            raise Problem(403, "This is for programs: it needs a stored token.")
        if self.scope not in caller.scopes:
            raise Problem(403, f"This token does not have the scope {self.scope}.")


class Either(Token):
    """For agents, and for programs whose token has the scope."""

    openapi_description = "The grant of a session (og_…), or a stored token (oc_…)"

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.needs = f"a grant, or a token with {scope}"

    def _admit(self, caller: Caller) -> None:
        if isinstance(caller, Program):
            Token._admit(self, caller)


def caller_of(request: HttpRequest) -> Caller:
    """Who calls."""
    found: Any = getattr(request, "auth", None)
    assert isinstance(found, Agent | Program)  # every operation asks for one
    return found


def agent_of(request: HttpRequest) -> Agent:
    """The agent that calls, where only agents may."""
    caller = caller_of(request)
    assert isinstance(caller, Agent)
    return caller


def _program(secret: str) -> Program:
    row = tokens.find(secret)
    if row is None:
        raise unauthorized("This token does not count.")
    return Program(row.pk, row.name, frozenset(row.scopes), row.contact)


def _agent(token: str) -> Agent:
    try:
        session_id = grants.read(token)
    except grants.BadGrant as error:
        raise unauthorized(f"This token does not count: {error}.") from None
    session = Session.objects.select_related("contact").filter(pk=session_id).first()
    if session is None or session.state == Session.State.TERMINATED:
        raise unauthorized("The session of this grant has ended.")
    if _is_shut_out(session):
        raise unauthorized("The person of this grant is blocked.")
    return Agent(session)


def _is_shut_out(session: Session) -> bool:
    """Blocked. A group's session is not its first writer's alone."""
    own = session.scope_key.endswith(f"user:{session.contact.user_id}")
    return own and session.contact.access == Contact.Access.BLOCKED
