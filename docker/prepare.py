"""What a container does before it serves: migrate the registry and see to the admin's account, one container at a time.

It is its own process, so that Django's memory is given back before the workers start.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_DATABASE_SECONDS = 120
_PAUSE_SECONDS = 2


def main() -> int:
    """Prepare the registry; 1 when its database did not answer in time, or cannot be used."""
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
        # Around the account, too: two containers would both make it.
        with migration_lock():
            call_command("migrate", interactive=False, verbosity=1, skip_checks=False)
            if os.environ.get("DJANGO_SUPERUSER_PASSWORD"):
                call_command("ensure_admin")
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def wait_for_database(seconds: float = _DATABASE_SECONDS) -> bool:
    """Wait until the database answers; a container often starts before it."""
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
