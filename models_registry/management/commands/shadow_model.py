"""`shadow_model NAME VERSION`: send a version copies of the requests; `--off` ends it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from models_registry import services
from models_registry.management.base import RegistryCommand, command_user
from models_registry.models import RegisteredModel
from models_registry.services.shadows import DEFAULT_PERCENT


class Command(RegistryCommand):
    """Start or end the shadow of a model."""

    help = "Sends copies of a model's requests to a version; its answers are only compared. --off ends it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("version", metavar="VERSION", type=int, nargs="?")
        parser.add_argument(
            "--percent", type=float, metavar="P", help=f"share of the requests; default: {DEFAULT_PERCENT:g}"
        )
        parser.add_argument("--off", action="store_true", help="end the shadow of the model")
        parser.add_argument("--reason", default="", help="kept in the history")
        parser.add_argument(
            "--override", action="store_true", help="start against the validation's advice; needs --reason"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Start the shadow of one model, or end it."""
        model = services.get_model(options["name"])
        if options["off"]:
            self._end(model, options)
            return
        if options["version"] is None:
            raise CommandError("Name the version that gets copies, or give --off to end the shadow.")
        version = services.get_version(model, options["version"])
        percent = DEFAULT_PERCENT if options["percent"] is None else options["percent"]
        done = services.start_shadow(
            version, percent=percent, by=command_user(), reason=options["reason"], override=options["override"]
        )
        said = f"{version}: shadow with copies of {percent:g} % of the requests"
        self.stdout.write(f"{said}." if done else f"{said} already; nothing changes.")

    def _end(self, model: RegisteredModel, options: dict[str, Any]) -> None:
        if options["percent"] is not None or options["override"]:
            raise CommandError("--off ends the shadow; leave --percent and --override out.")
        running = services.current_shadow(model)
        if running is not None and options["version"] not in (None, running.version.number):
            raise CommandError(f"The shadow of {model.name} is version {running.version.number}. Leave VERSION out.")
        ended = services.end_shadow(model, by=command_user(), reason=options["reason"])
        said = f"version {ended.version.number} gets no more copies" if ended else "no shadow is running"
        self.stdout.write(f"{model.name}: {said}.")
