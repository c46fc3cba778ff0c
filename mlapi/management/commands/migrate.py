"""`migrate`: Django's command, run by one process at a time."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate

from mlapi.migration_lock import migration_lock


class Command(migrate.Command):
    """Migrate the database while no other process does."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the lock first: another process may apply migrations meanwhile."""
        with migration_lock(options["database"]):
            super().handle(*args, **options)
