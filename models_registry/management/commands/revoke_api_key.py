"""`revoke_api_key NAME`: revoke an API key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, command_user


class Command(RegistryCommand):
    """Revoke one key."""

    help = "Revokes an API key, by its name or its visible prefix; replicas refuse it from their next poll on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("key", metavar="NAME", help="its name, or its prefix as list_api_keys shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke the key."""
        key = services.get_key(options["key"])
        services.revoke_key(key, by=command_user())
        self.stdout.write(f"{key}: revoked. Replicas refuse it after their next poll.")
