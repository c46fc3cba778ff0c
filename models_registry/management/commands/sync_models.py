"""`sync_models`: register and validate new versions in the storage."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from models_registry import services
from models_registry.errors import RequestError, StorageError
from models_registry.management.base import RegistryCommand, command_user, describe_verdict
from models_registry.models import ModelVersion


class Command(RegistryCommand):
    """Find, register and validate new versions; mark missing ones."""

    help = "Finds new versions in the storage, registers and validates them; marks missing ones."

    def handle(self, *args: Any, **options: Any) -> None:
        """Scan once, and validate all queued versions."""
        failures = services.follow_mlflow(by=command_user())
        for sentence in failures:
            self.stderr.write(sentence)
        result = services.discover(by=command_user())
        for sentence in result.ignored:
            self.stderr.write(f"Ignored: {sentence}")
        for version in result.missing:
            self.stdout.write(f"{version}: missing. Its object is no longer in the storage.")
        for version in result.found + result.returned:
            self.stdout.write(f"{version}: found ({version.storage_key}).")
        postponed = self._check(services.versions_to_check(result.found + result.returned))
        self.stdout.write(f"{len(result.found)} new, {len(result.returned)} returned, {len(result.missing)} missing.")
        if postponed:
            raise CommandError(f"{postponed} could not be validated; a serving replica retries.")
        if failures:
            raise CommandError("Not every MLflow registry could be read; a serving replica retries.")

    def _check(self, versions: list[ModelVersion]) -> int:
        """Validate them, and return how many are postponed: unreadable bytes of one version do not stop the others."""
        postponed = 0
        for number, version in enumerate(versions, start=1):
            self.stdout.write(f"{version}: checking … ({number} of {len(versions)})")
            try:
                self.stdout.write(describe_verdict(services.check_now(version, holder=command_user())))
            except (StorageError, RequestError) as error:
                self.stderr.write(f"{version}: postponed. {error}")
                postponed += 1
        return postponed
