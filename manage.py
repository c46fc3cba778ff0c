#!/usr/bin/env python3
"""Django's command line: Django's commands and the registry's commands."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

VENV_PYTHON = Path(__file__).resolve().parent / ".venv" / "bin" / "python"


def main() -> None:
    """Run one command; start again with the virtual environment's Python if Django is missing."""
    if find_spec("django") is None and VENV_PYTHON.exists():
        # A user may run this with the system's Python; `make run` has installed Django into .venv only.
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])  # noqa: S606 - this project's interpreter, with the same arguments
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Wrong setting: {error}")


if __name__ == "__main__":
    main()
