"""Prepares the registry before a container serves: migrates the database and creates the admin's first account.

This is a separate process, so that its memory is free again when the workers start.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_DATABASE_SECONDS = 120
_PAUSE_SECONDS = 2


def main() -> int:
    """Prepare the registry; return 1 if its database does not answer in time or cannot be used."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")
    import django
    from django.conf import settings
    from django.core.management import CommandError, call_command

    Path(settings.VAR_DIR).mkdir(parents=True, exist_ok=True)
    django.setup()
    if not wait_for_database():
        return 1
    from mlapi.migration_lock import migration_lock

    try:
        # The lock includes the account, because two containers would both create it.
        with migration_lock():
            call_command("migrate", interactive=False, verbosity=1, skip_checks=False)
            if os.environ.get("DJANGO_SUPERUSER_PASSWORD"):
                call_command("ensure_admin")
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def wait_for_database(seconds: float = _DATABASE_SECONDS) -> bool:
    """Wait at most `seconds` for the database, which often starts later; return whether it answers."""
    from django.db import OperationalError, connection

    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > deadline:
                print(f"The registry's database did not answer in {seconds:.0f} s: {error}", file=sys.stderr)
                return False
            time.sleep(_PAUSE_SECONDS)
        else:
            return True


if __name__ == "__main__":
    sys.exit(main())
