"""`delete_version NAME VERSION`: delete a rejected version."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from models_registry import conf, services
from models_registry.management.base import RegistryCommand, command_user


class Command(RegistryCommand):
    """Delete the registry's data of a rejected version."""

    help = "Deletes a rejected version from the registry; its number, its reasons and its file in the storage stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("version", metavar="VERSION", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete one version."""
        version = services.get_version(services.get_model(options["name"]), options["version"])
        services.delete_version(version, by=command_user())
        location = conf.storage().location_of(version.storage_key)
        self.stdout.write(f"{version} is deleted. Its file stays in the storage: {location}.")
