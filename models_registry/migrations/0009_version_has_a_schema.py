"""Rename `signature` to `schema` in the models; the column keeps its name."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes Django's state alone."""

    dependencies = [("models_registry", "0008_usage_windows")]

    operations = [
        migrations.AlterField("modelversion", "signature", models.JSONField(null=True, blank=True, db_column="signature")),
        migrations.RenameField("modelversion", "signature", "schema"),
    ]
