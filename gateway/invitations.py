"""Signed invitations to the web chat: a link that makes whoever holds it one guest.

The link's token is traded for a cookie at once, so that it stays out of the
address bar, the history and the Referer. Both are signed with the secret key
and carry the time they were made; neither is stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.http import HttpResponseBase

MAX_AGE = timedelta(days=90)
"""How long a link can be opened, and how long the cookie lasts after the last visit."""

COOKIE = "openclaw_guest"
_LINK_SALT = "openclaw.webchat.invitation"
_COOKIE_SALT = "openclaw.webchat.guest"


class BadInvitation(Exception):
    """The token is not ours, damaged, or too old (`expired`)."""

    def __init__(self, expired: bool) -> None:
        super().__init__("expired" if expired else "invalid")
        self.expired = expired


@dataclass(frozen=True, slots=True)
class Guest:
    """Who an invitation is for. `user_id` is the contact's id on channel webchat."""

    user_id: str
    name: str


def new_guest(name: str) -> Guest:
    """A guest nobody was before: "guest_" and 20 random characters."""
    return Guest(f"guest_{secrets.token_hex(10)}", name)


def invitation_url(user_id: str, name: str, base_url: str) -> str:
    """A link to the chat page for one guest. `base_url` has no trailing slash."""
    token = signing.dumps({"user": user_id, "name": name}, salt=_LINK_SALT)
    return f"{base_url}/chat/?{urlencode({'invite': token})}"


def base_url() -> str:
    """What the world sees, or else this machine's own address of the gateway."""
    if settings.OPENCLAW_PUBLIC_URL:
        return str(settings.OPENCLAW_PUBLIC_URL)
    host = settings.OPENCLAW_HOST
    if host in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.OPENCLAW_PORT}"


def read_invitation(token: str) -> Guest:
    """Whom a link's token is for. Raises `BadInvitation`."""
    return _read(token, _LINK_SALT)


def read_cookie(cookies: Mapping[str, str]) -> Guest | None:
    """The guest whose cookie this is, or None if there is none, or an old or forged one."""
    try:
        return _read(cookies.get(COOKIE, ""), _COOKIE_SALT)
    except BadInvitation:
        return None


def set_cookie(response: HttpResponseBase, guest: Guest) -> None:
    """Remember the guest in this browser. Set at each visit, so that regulars stay."""
    response.set_cookie(
        COOKIE,
        signing.dumps({"user": guest.user_id, "name": guest.name}, salt=_COOKIE_SALT),
        max_age=MAX_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def forget_cookie(response: HttpResponseBase) -> None:
    """Make this browser nobody's."""
    response.delete_cookie(COOKIE, samesite="Lax")


def _read(token: str, salt: str) -> Guest:
    try:
        value: Any = signing.loads(token, salt=salt, max_age=MAX_AGE)
    except signing.SignatureExpired:
        raise BadInvitation(expired=True) from None
    except signing.BadSignature:
        raise BadInvitation(expired=False) from None
    return Guest(value["user"], value["name"])
