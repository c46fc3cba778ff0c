"""A task that tries what the sandbox denies, and reports what succeeded."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return the names of the attempts that succeeded, or where the process comes from."""
    answer.write(stage="while it tried")
    if question.get("sleep"):
        time.sleep(question["sleep"])
    if question.get("lineage"):
        return {"parent": os.getppid(), "group": os.getpgid(0), "own": os.getpid()}
    inside, outside = Path(question["inside"]), Path(question["outside"])
    attempts: dict[str, Callable[[], object]] = {
        "write inside": lambda: (inside / "made").write_text("x"),
        "make a directory inside": (inside / "folder").mkdir,
        "write outside": lambda: (outside / "made").write_text("x"),
        "remove outside": (outside / "there").unlink,
        "run a file": lambda: subprocess.run(["true"], check=True),
        "open a socket": socket.socket,
        "read a credential": lambda: os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    return {"succeeded": [name for name, attempt in attempts.items() if _succeeds(attempt)]}


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, KeyError, subprocess.SubprocessError):
        return False
    return True
