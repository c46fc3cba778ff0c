"""`sync_models`: what is new in the storage, recorded and checked."""

from __future__ import annotations

from typing import Any

from models_registry import services
from models_registry.management.base import RegistryCommand, describe_verdict, who


class Command(RegistryCommand):
    """Find, record, check; mark what is gone."""

    help = "Finds what is new in the storage, records and checks it; what is gone is marked."

    def handle(self, *args: Any, **options: Any) -> None:
        """Look once, and check all that waits."""
        result = services.discover(by=who())
        for sentence in result.ignored:
            self.stderr.write(f"Ignored: {sentence}")
        for version in result.missing:
            self.stdout.write(f"{version}: missing. Its object is no longer in the storage.")
        for version in result.found + result.returned:
            self.stdout.write(f"{version}: found ({version.storage_key}). Checking …")
            self.stdout.write(describe_verdict(services.check_now(version, holder=who())))
        while (left := services.check_next(who())) is not None:
            self.stdout.write(describe_verdict(left))
        self.stdout.write(f"{len(result.found)} new, {len(result.returned)} returned, {len(result.missing)} missing.")
