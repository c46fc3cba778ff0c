"""`promote_model NAME`: activate the canary of a model."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, add_wait_arguments, command_user, report


class Command(RegistryCommand):
    """Promote, and with --wait return when every live replica serves the candidate to all requests."""

    help = "Makes the canary of a model its active version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reason", default="", help="kept in the history")
        add_wait_arguments(parser, "every running replica serves it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Promote the candidate of one model."""
        model = services.get_model(options["name"])
        number = services.require_canary(model).version.number
        services.promote(model, by=command_user(), reason=options["reason"])
        model.refresh_from_db()
        report(self, model, options, said=f"{model.name} {number}: active (generation {model.generation}).")
