from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0001_initial"),
        ("sessions_app", "0003_message_times"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(
                    ("state__in", ["failed", "expired", "unsure"]),
                    models.Q(("error_code", "discarded"), _negated=True),
                ),
                fields=["channel", "error_code", "created_at"],
                name="delivery_letter",
            ),
        ),
        migrations.AddIndex(
            model_name="turn",
            index=models.Index(
                condition=models.Q(("state__in", ["failed", "quarantined"])),
                fields=["state", "ended_at"],
                name="turn_bad",
            ),
        ),
    ]
