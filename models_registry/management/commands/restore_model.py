"""`restore_model NAME`: let an archived model be used again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, who


class Command(RegistryCommand):
    """Restore; nothing is activated by it."""

    help = "Restores an archived model. No version is active until you activate one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the argument."""
        parser.add_argument("name", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore one model."""
        model = services.get_model(options["name"])
        if services.restore(model, by=who()):
            self.stdout.write(f"{model.name} is restored. No version is active: activate one.")
        else:
            self.stdout.write(f"{model.name} was not archived; nothing changes.")
