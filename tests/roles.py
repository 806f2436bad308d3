"""The roles that migrations make, for a database that a test has emptied."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models.signals import post_migrate

STEPS = (
    ("0004_roles", "make_roles"),
    ("0007_roles_for_new_tables", "give"),
    ("0009_roles_for_schedules", "give"),
)


def make_roles(**sent: Any) -> None:
    """The groups as the migrations leave them, where they are gone."""
    if Group.objects.filter(name="viewer").exists():
        return
    for module, verb in STEPS:
        migration = import_module(f"gateway.migrations.{module}")
        getattr(migration, verb)(apps, SimpleNamespace(connection=connection))
    # the first step gave away what did not exist when it was written
    secret = Permission.objects.get(codename="view_idempotencykey")
    for group in Group.objects.filter(name__in=("viewer", "operator")):
        group.permissions.remove(secret)


def keep_roles() -> None:
    """From now on the roles come back whenever a database was emptied (`flush` says so)."""
    post_migrate.connect(
        make_roles, sender=apps.get_app_config("gateway"), dispatch_uid="roles of the tests"
    )
