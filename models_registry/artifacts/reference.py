"""Reads the reference of a version, rows of its training data, in its own process: the file is untrusted."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from models_registry.artifacts import sandbox
from models_registry.artifacts.table import MEMORY_BYTES, SECONDS
from models_registry.artifacts.table_formats import table_format
from models_registry.errors import ManifestError

TASK = "models_registry.artifacts.reference_task"
# Kept of a reference: enough to compare its distribution with that of the served values.
MAX_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """Rows in the version's form, with the values of a column `prediction` if there is one.

    `total` counts the rows of the file; from more than MAX_ROWS, a seeded sample is kept.
    """

    total: int
    instances: list[Any]
    predictions: list[Any] | None


def stored_name(name: str) -> str:
    """Return the storage name of a file of reference rows; RequestError if it is not a table."""
    table_format(name)
    return f"reference{PurePath(name).suffix.lower()}"


def read_reference(path: Path, name: str, schema: Mapping[str, Any]) -> ReferenceTable:
    """Return the rows of the file at `path`, called `name`, in the form of a version with `schema`.

    Other columns are dropped; any feature may have missing values. Raises ManifestError for an invalid row, and if the
    file cannot be read within the memory and time limits.
    """
    question = {"path": str(path.absolute()), "format": table_format(name), "schema": dict(schema), "rows": MAX_ROWS}
    limits = sandbox.SandboxLimits(memory_bytes=MEMORY_BYTES, cpu_seconds=SECONDS, wall_seconds=SECONDS)
    outcome = sandbox.run(TASK, question, limits)
    report = outcome.report
    if outcome.status != 0 or report is None:
        problem = sandbox.describe_failure(outcome, limits, what="Reading it", advice=sandbox.OF_TABLES)
    else:
        problem = report.get("problem", "")
    if problem or report is None:
        raise ManifestError(
            f"The reference {name} cannot be used: {problem} Correct the file or the manifest. Then press Check again, "
            "or publish again."
        )
    return ReferenceTable(report["total"], report["instances"], report["predictions"])
