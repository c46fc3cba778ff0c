"""`rollback_model NAME`: the version that was active before."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, wait, who
from models_registry.management.commands.activate_model import WAIT_SECONDS


class Command(RegistryCommand):
    """Roll back, and with --wait return when every live replica has."""

    help = "Activates the version that was active before."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the contract's arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reason", default="", help="kept in the history")
        parser.add_argument("--wait", action="store_true", help="until every live replica serves it")
        parser.add_argument("--timeout", type=float, default=WAIT_SECONDS, help="seconds that --wait waits at most")

    def handle(self, *args: Any, **options: Any) -> None:
        """Roll one model back."""
        model = services.get_model(options["name"])
        target = services.rollback_target(model)
        services.roll_back(model, by=who(), reason=options["reason"])
        model.refresh_from_db()
        self.stdout.write(f"{target}: active (generation {model.generation}).")
        if options["wait"]:
            wait(self, model, timeout_seconds=options["timeout"])
