#!/usr/bin/env python3
"""Django's command line: migrations, and the registry's own commands."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OWN_PYTHON = Path(__file__).resolve().parent / ".venv" / "bin" / "python"


def main() -> None:
    """Run one command."""
    if find_spec("django") is None and OWN_PYTHON.exists():
        # Typed with the system's Python: the requirements are in the environment that `make run` made.
        os.execv(OWN_PYTHON, [str(OWN_PYTHON), *sys.argv])  # noqa: S606 - our own interpreter, the same words
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Wrong setting: {error}")


if __name__ == "__main__":
    main()
