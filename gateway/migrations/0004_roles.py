"""Three roles, as groups: viewer looks, operator steps in too, admin sets up too.

A group that has one of these names already keeps what it has and gets the rest.
"""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

OURS = ("gateway", "sessions_app")
SECRET = {"apitoken", "pairingcode"}
"""Tables of keys: only the admin's."""

OPERATOR = {
    ("sessions_app", "operate"),
    ("sessions_app", "change_contact"),
    ("gateway", "delete_setaside"),
}
ADMIN_TABLES = (
    ("gateway", "agent"),
    ("gateway", "routingrule"),
    ("gateway", "schedule"),
    ("gateway", "apitoken"),
    ("gateway", "pairingcode"),
    ("sessions_app", "contact"),
    ("auth", "user"),
    ("auth", "group"),
)


def make_roles(apps: Any, editor: Any) -> None:
    database = editor.connection.alias
    for label in (*OURS, "auth"):
        _make_permissions(apps, label, database)
    viewer = {
        (label, f"view_{model._meta.model_name}")
        for label in OURS
        for model in apps.get_app_config(label).get_models()
        if model._meta.model_name not in SECRET
    }
    admin = {
        (label, f"{verb}_{model}")
        for label, model in ADMIN_TABLES
        for verb in ("view", "add", "change", "delete")
    }
    _make_group(apps, database, "viewer", viewer)
    _make_group(apps, database, "operator", viewer | OPERATOR)
    _make_group(apps, database, "admin", viewer | OPERATOR | admin)


def remove_roles(apps: Any, editor: Any) -> None:
    names = ("viewer", "operator", "admin")
    groups = apps.get_model("auth", "Group").objects.using(editor.connection.alias)
    groups.filter(name__in=names).delete()


def _make_permissions(apps: Any, label: str, database: str) -> None:
    """On a fresh database they would only be made when all migrations have run."""
    config = apps.get_app_config(label)
    before = getattr(config, "models_module", None)
    config.models_module = True  # else taken for an app without models
    create_permissions(config, apps=apps, verbosity=0, using=database)
    config.models_module = before


def _make_group(apps: Any, database: str, name: str, wanted: set[tuple[str, str]]) -> None:
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name=name)
    found = [
        permission
        for permission in permissions.select_related("content_type")
        if (permission.content_type.app_label, permission.codename) in wanted
    ]
    assert len(found) == len(wanted), f"permissions for {name} are missing"
    group.permissions.add(*found)


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0003_retried_deliveries"),
        ("sessions_app", "0004_session_files"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
