"""Everybody who may come to a page, from the stranger to the superuser."""

from __future__ import annotations

from enum import IntEnum

from django.contrib.auth.models import Group, User
from django.test import Client

from tests.roles import make_roles


class Who(IntEnum):
    """Each can do what those before can, and more."""

    STRANGER = 0
    PERSON = 1
    STAFF = 2
    VIEWER = 3
    OPERATOR = 4
    ADMIN = 5
    SUPERUSER = 6
    NOBODY = 7


EVERYBODY = [who for who in Who if who is not Who.NOBODY]
ROLES = (Who.VIEWER, Who.OPERATOR, Who.ADMIN)


def account(who: Who) -> User:
    """An account, as an administrator would make it: staff, and in one group."""
    user = User.objects.create_user(
        who.name.lower(), is_staff=who >= Who.STAFF, is_superuser=who is Who.SUPERUSER
    )
    if who in ROLES:
        make_roles()
        user.groups.add(Group.objects.get(name=user.username))
    return user


def browser(who: Who) -> Client:
    """A browser in which this person is logged in."""
    client = Client()
    if who is not Who.STRANGER:
        client.force_login(account(who))
    return client
