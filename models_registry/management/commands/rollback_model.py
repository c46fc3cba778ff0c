"""`rollback_model NAME`: activate the version that was active before."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, add_wait_arguments, command_user, report


class Command(RegistryCommand):
    """Roll back, and with --wait return when every live replica serves the version."""

    help = "Activates the version that was active before."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reason", default="", help="kept in the history")
        add_wait_arguments(parser, "every running replica serves it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Roll one model back."""
        model = services.get_model(options["name"])
        target = services.rollback_target(model)
        services.roll_back(model, by=command_user(), reason=options["reason"])
        model.refresh_from_db()
        report(self, model, options, said=f"{target}: active (generation {model.generation}).")
