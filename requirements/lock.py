"""Regenerates every lock from its input: `python requirements/lock.py [--upgrade]`, run by `make lock`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
UV = FOLDER.parent / ".venv-uv" / "bin" / "uv"
OPTIONS = (
    *("--quiet", "--universal", "--python-version", "3.11", "--fork-strategy", "fewest"),
    *("--generate-hashes", "--no-strip-extras", "--no-emit-index-url", "--no-header"),
)
# In this order, because later inputs refer to earlier locks.
INPUTS = (
    *("service", "uv", "signing", "otel", "encoders", "dev", "aws-tools", "checkov", "clients", "mlflow"),
    *("bench-peers", "bench-mlserver"),
)


def lock_of(name: str) -> Path:
    """Return the lock that belongs to the input `NAME.in`."""
    return FOLDER.parent / "requirements.txt" if name == "service" else FOLDER / f"{name}.txt"


def with_plain_names(lock: str) -> str:
    """Return a lock that also pins `name` wherever it pins `name[extra]`.

    For pip, `name` and `name[extra]` are different requirements. If the lock pins only one of them, a dependency on the
    other is not pinned: pip then selects a newer release, and refuses it because its hash is missing.
    """
    pinned = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)\[[^]]+\](?P<pin>==.*\n(?:    --hash=.*\n)+)", re.MULTILINE)
    return pinned.sub(lambda found: f"{found['name']}{found['pin']}{found[0]}", lock)


def main(arguments: list[str]) -> int:
    """Write every lock; return the exit status of the first failure, or 0."""
    for name in INPUTS:
        path = lock_of(name).relative_to(FOLDER.parent)
        print(f"{path} …", flush=True)
        # Relative paths: the lock's comments name the input.
        command = [str(UV), "pip", "compile", *OPTIONS, *arguments, f"requirements/{name}.in", "-o", str(path)]
        done = subprocess.run(command, cwd=FOLDER.parent, check=False)
        if done.returncode:
            return done.returncode
        lock_of(name).write_text(with_plain_names(lock_of(name).read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
