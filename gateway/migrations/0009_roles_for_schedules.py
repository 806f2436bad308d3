"""Operators plan sends; the roles see the new tables, and the answered calls only the admin."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

SEEN = ("view_agenthealth", "view_replay")
PLANS = ("add_schedule", "change_schedule", "delete_schedule")
WHO = {
    "viewer": SEEN,
    "operator": (*SEEN, *PLANS),
    "admin": (*SEEN, *PLANS, "view_idempotencykey"),
}


def give(apps: Any, editor: Any) -> None:
    database = editor.connection.alias
    for label in ("gateway", "sessions_app"):
        config = apps.get_app_config(label)
        before = getattr(config, "models_module", None)
        config.models_module = True  # else taken for an app without models
        create_permissions(config, apps=apps, verbosity=0, using=database)
        config.models_module = before
    for name, wanted in WHO.items():
        for group in apps.get_model("auth", "Group").objects.using(database).filter(name=name):
            group.permissions.add(*_permissions(apps, database, wanted))


def take_back(apps: Any, editor: Any) -> None:
    database = editor.connection.alias
    for name in WHO:
        # the admin could plan before
        taken = [one for one in WHO[name] if name != "admin" or one not in PLANS]
        for group in apps.get_model("auth", "Group").objects.using(database).filter(name=name):
            group.permissions.remove(*_permissions(apps, database, taken))


def _permissions(apps: Any, database: str, names: Any) -> list[Any]:
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    return list(
        permissions.filter(
            codename__in=names, content_type__app_label__in=("gateway", "sessions_app")
        )
    )


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0008_schedules_circuits_replays"),
        ("sessions_app", "0007_generated_messages"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(give, take_back)]
