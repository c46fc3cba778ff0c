"""`restore_model NAME`: restore an archived model."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, command_user


class Command(RegistryCommand):
    """Restore a model; no version becomes active."""

    help = "Restores an archived model. No version is active until you activate one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the argument."""
        parser.add_argument("name", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore one model."""
        model = services.get_model(options["name"])
        if services.restore(model, by=command_user()):
            self.stdout.write(f"{model.name} is restored. No version is active: activate one.")
        else:
            self.stdout.write(f"{model.name} was not archived; nothing changes.")
