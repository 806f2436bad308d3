"""Why a circuit is open: how many calls found nobody, which sessions were left waiting."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0009_roles_for_schedules")]

    operations = [
        migrations.AddField(
            model_name="agenthealth",
            name="evidence",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
    ]
