"""The roles see the new tables; operators see pairing codes, for they decide about them."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

WHO = {
    "viewer": ("view_contactalias", "view_overheard"),
    "operator": ("view_contactalias", "view_overheard", "view_pairingcode"),
    "admin": ("view_contactalias", "view_overheard", "view_pairingcode"),
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
        taken = WHO["viewer"] if name == "admin" else WHO[name]
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
        ("gateway", "0006_pairing_state"),
        ("sessions_app", "0006_what_people_send"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(give, take_back)]
