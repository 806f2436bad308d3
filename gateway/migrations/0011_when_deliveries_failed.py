from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0010_circuit_evidence"),
    ]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="failed_at",
            field=models.DateTimeField(
                blank=True, help_text="When it last failed: a try, or for good.", null=True
            ),
        ),
        migrations.RemoveIndex(model_name="delivery", name="delivery_letter"),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(
                    ("state__in", ["failed", "expired", "unsure"]),
                    models.Q(("error_code", "discarded"), _negated=True),
                ),
                fields=["channel", "error_code", "failed_at", "created_at"],
                name="delivery_letter",
            ),
        ),
    ]
