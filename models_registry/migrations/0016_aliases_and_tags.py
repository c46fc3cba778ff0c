"""Names for versions, and words for models."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("models_registry", "0015_batch_jobs")]

    operations = [
        migrations.AddField(
            model_name="registeredmodel",
            name="aliases",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="registeredmodel",
            name="tags",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
    ]
