"""`publish_demo`: publish two demo models in an empty registry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from models_registry import demo, services
from models_registry.management.base import RegistryCommand, command_user, describe_rollout, describe_verdict
from models_registry.models import RegisteredModel, State


class Command(RegistryCommand):
    """Train, publish and activate the demo's models."""

    help = "Trains, publishes and activates the demo's models, if no model is registered."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do nothing if the registry has a model, or the storage has one that was not found yet."""
        services.discover(by=command_user())
        if RegisteredModel.objects.exists():
            self.stdout.write("The registry has models; the demo is not published.")
            return
        for name, write in demo.MODELS.items():
            self.stdout.write(f"Training the demo model {name} …")
            with tempfile.TemporaryDirectory() as directory:
                version = services.publish(name, write(Path(directory)), by=command_user())
            version = services.check_now(version, holder=command_user())
            if version.state != State.READY:
                raise CommandError(describe_verdict(version))
            self.stdout.write(describe_verdict(version))
            version.model.refresh_from_db()
            services.activate(version, by=command_user(), reason="The demo's first version.")
            self.stdout.write(f"{version}: active. {describe_rollout(version.model)}")
