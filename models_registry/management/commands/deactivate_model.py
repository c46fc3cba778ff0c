"""`deactivate_model NAME`: deactivate a model."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, add_wait_arguments, command_user, report


class Command(RegistryCommand):
    """Deactivate, and with --wait return when no live replica serves the model."""

    help = "Deactivates a model. Its versions and history stay, and rollback_model activates it again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reason", default="", help="kept in the history")
        add_wait_arguments(parser, "no running replica serves it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Deactivate one model."""
        model = services.get_model(options["name"])
        done = services.deactivate(model, by=command_user(), reason=options["reason"])
        state = "no version is active" if done else "no version was active; nothing changes"
        report(self, model, options, said=f"{model.name}: {state} (generation {model.generation}).")
