"""Rename `wished_generation`: the field's standard term is the desired state."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("models_registry", "0006_tokens_are_stored_as_digests")]

    operations = [
        migrations.RenameField("replicamodel", "wished_generation", "desired_generation"),
        migrations.AlterField(
            "replicamodel",
            "desired_generation",
            models.PositiveIntegerField(
                default=0,
                help_text="The generation that its state is about: the desired state as this replica last read it.",
            ),
        ),
    ]
