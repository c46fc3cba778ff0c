"""`archive_model NAME`: archive a model; its versions and its history are kept."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, add_wait_arguments, command_user, report


class Command(RegistryCommand):
    """Archive, and with --wait return when no live replica serves the model."""

    help = "Deactivates a model and removes it from the lists; restore_model restores it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reason", default="", help="kept in the history")
        add_wait_arguments(parser, "no running replica serves it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Archive one model."""
        model = services.get_model(options["name"])
        changed = services.archive(model, by=command_user(), reason=options["reason"])
        state = "is archived; no version is active" if changed else "was archived before; nothing changes"
        report(self, model, options, said=f"{model.name} {state} (generation {model.generation}).")
