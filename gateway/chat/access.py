"""Who a browser's cookies stand for, and what that person may see.

Synchronous and uncached: the same functions let somebody in and, every few
seconds, look whether they still may stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.http import HttpRequest

from gateway import invitations
from gateway.channels import rules
from gateway.ledger.pairing import code_of, shown
from sessions_app.models import Contact

CHANNEL = "webchat"

PAIR = "You are not let in yet. Give this code to the person who runs this chat: {code}"
CLOSED = "You are not let in here. Ask the person who runs this chat."
NOT_NOW = "It could not be taken now. Wait a minute, then send it again."
"""What somebody reads below a message that was not taken."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person on the page. `user_id` is "guest_…" or "user_<pk>", as in their contact row."""

    user_id: str
    name: str
    guest: bool = False
    blocked: bool = False


def is_enabled() -> bool:
    """Whether there is a web chat at all."""
    return CHANNEL in settings.OPENCLAW_CHANNELS


def visitor(cookies: Mapping[str, str]) -> Visitor | None:
    """Who this is: an invitation counts for more than a login, None if there is neither.

    An operator who opens an invitation to try it is that guest, until they leave.
    """
    guest = invitations.read_cookie(cookies)
    if guest is not None:
        return Visitor(guest.user_id, guest.name, True, _is_blocked(guest.user_id))
    user = login(cookies)
    if user is None:
        return None
    user_id = f"user_{user.pk}"
    return Visitor(user_id, user.get_full_name() or user.username, False, _is_blocked(user_id))


def why_not(user_id: str) -> str:
    """Why a message of this person was not taken, in words for them."""
    contact = Contact.objects.filter(channel=CHANNEL, user_id=user_id).first()
    if rules(CHANNEL).lets_in([user_id], contact.access if contact else Contact.Access.PENDING):
        return NOT_NOW
    code = code_of(CHANNEL, user_id)
    return PAIR.format(code=shown(code)) if code else CLOSED


def may_watch(cookies: Mapping[str, str]) -> bool:
    """Whether the login behind these cookies may see every turn, as on the live page."""
    user = login(cookies)
    return user is not None and user.is_staff and user.has_perm("gateway.view_turn")


def login(cookies: Mapping[str, str]) -> User | None:
    """The active account that is logged in, read afresh; None after a logout or new password."""
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user: AbstractBaseUser | AnonymousUser = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def _is_blocked(user_id: str) -> bool:
    return Contact.objects.filter(
        channel=CHANNEL, user_id=user_id, access=Contact.Access.BLOCKED
    ).exists()
