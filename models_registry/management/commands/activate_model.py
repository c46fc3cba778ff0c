"""`activate_model NAME VERSION`: activate a version."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, add_wait_arguments, report, who


class Command(RegistryCommand):
    """Activate, and with --wait return when every live replica serves it."""

    help = "Activates a version; --wait returns when every live replica serves it, or says which do not and exits 1."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the contract's arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("version", metavar="VERSION", type=int)
        parser.add_argument("--reason", default="", help="kept in the history")
        add_wait_arguments(parser, "every running replica serves it")
        parser.add_argument(
            "--override", action="store_true", help="although its check advises against it; needs --reason"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Activate one version."""
        model = services.get_model(options["name"])
        version = services.get_version(model, options["version"])
        done = services.activate(version, by=who(), reason=options["reason"], override=options["override"])
        state = "active" if done else "active already; nothing changes"
        report(self, model, options, said=f"{version}: {state} (generation {model.generation}).")
