"""`revoke_api_key NAME`: an end to a key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, who


class Command(RegistryCommand):
    """Revoke one key."""

    help = "Revokes an API key, by its name or its visible prefix; replicas refuse it from their next poll on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare which key."""
        parser.add_argument("key", metavar="NAME", help="its name, or its prefix as list_api_keys shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke it."""
        key = services.get_key(options["key"])
        services.revoke_key(key, by=who())
        self.stdout.write(f"{key}: revoked. Replicas refuse it after their next poll.")
