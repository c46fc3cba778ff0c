"""The child side of the sandbox, run by its path in its own process.

Reads a question in JSON from standard input, and writes lines of JSON to standard output. A line is a stage that starts
or, at the end, the report. Only the standard library may be imported at the top, because the question contains the
import paths.
"""

import importlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_MAX_WARNINGS = 20
_MAX_WARNING_LENGTH = 300


class Answer:
    """The output to the parent; other output of the process cannot reach it."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output

    def write(self, **entry: Any) -> None:
        """Write and flush one line, so that it survives a crash."""
        self._output.write(json.dumps(entry, allow_nan=False) + "\n")
        self._output.flush()


def _take_output() -> Answer:
    """Reserve standard output for the report; other output goes to standard error."""
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return Answer(private)


@contextmanager
def _noted_warnings(found: list[str]) -> Iterator[None]:
    from models_registry.artifacts.expected_warnings import ignore_missing_names

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ignore_missing_names()
        yield
    found.extend(f"{one.category.__name__}: {one.message}"[:_MAX_WARNING_LENGTH] for one in caught)


def _confine(order: Mapping[str, Any]) -> list[str]:
    from models_registry.artifacts.sandbox import restrictions

    restrictions.limit_resources(
        memory_bytes=order["memory_bytes"],
        cpu_seconds=order["cpu_seconds"],
        file_size_bytes=order["file_size_bytes"],
    )
    return restrictions.deny_access(writable=order["writable"] and Path(order["writable"]))


def main() -> None:
    """Run the task."""
    answer = _take_output()
    order = json.load(sys.stdin)
    sys.path[:] = list(dict.fromkeys([*sys.path, *order["paths"]]))
    from models_registry.artifacts.sandbox import restrictions

    restrictions.die_with_parent()
    restrictions.give_way(order["niceness"])
    found: list[str] = []
    with _noted_warnings(found):
        task = importlib.import_module(order["task"])
        # Libraries are trusted and large, and some start threads: a task may import them before the limits apply.
        prepare = getattr(task, "import_libraries", None)
        if prepare is not None:
            prepare(order["question"])
        found.extend(_confine(order))
        report = task.run(order["question"], answer)
    answer.write(report=report, warnings=list(dict.fromkeys(found))[:_MAX_WARNINGS])
    # Exit without cleanup: an untrusted object must not run code, and native libraries can hang at exit.
    os._exit(0)


if __name__ == "__main__":
    main()
