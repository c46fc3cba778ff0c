"""Drops the index of the replicas' heartbeats, which made each heartbeat a new row version in every index."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("models_registry", "0034_a_replica_names_its_storage")]

    operations = [
        migrations.AlterField(model_name="replica", name="heartbeat_at", field=models.DateTimeField()),
    ]
