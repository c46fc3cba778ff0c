"""`create_api_key NAME`: a key for predictions, shown once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.errors import RequestError
from models_registry.management.base import RegistryCommand, command_user


class Command(RegistryCommand):
    """Create a key and print it."""

    help = "Creates an API key for predictions and prints it; only its digest is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the limits of a key."""
        parser.add_argument("name", metavar="NAME", help="the user of the key, e.g. 'web shop'")
        parser.add_argument("--models", help="for these models only, separated by commas")
        parser.add_argument("--expires", type=float, metavar="DAYS", help="it expires after that many days")
        parser.add_argument("--rate", type=int, metavar="PER_MINUTE", help="the limit of requests per minute")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create one key."""
        row, key = services.create_key(
            options["name"],
            by=command_user(),
            model_names=read_names(options["models"]) if options["models"] is not None else (),
            expires_in_days=options["expires"],
            rate_per_minute=options["rate"],
        )
        self.stdout.write(key)
        self.stderr.write(
            f"This is the key of {row.name!r}. Copy it now: it is not shown again. Clients send it as "
            "'Authorization: Bearer KEY' or 'X-API-Key: KEY'. Replicas accept it after their next poll."
        )


def read_names(text: str) -> list[str]:
    """Return the names in `text`; an error if there are none, since that key would give access to every model."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise RequestError("--models names no model. Name some, or leave the option out for a key to every model.")
    return names
