"""Reads a table of rows, in CSV, JSON Lines or Parquet, in its own process: the file is untrusted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_registry.artifacts import sandbox
from models_registry.artifacts.table_formats import table_format
from models_registry.errors import RequestError

TASK = "models_registry.artifacts.table_task"
MEMORY_BYTES = 2 << 30
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in the form of a request, and expected predictions if the last column is `prediction`."""

    instances: list[Any]
    predictions: list[Any] | None = None


def read_table(path: Path, name: str, *, max_rows: int) -> Table:
    """Return the first `max_rows` rows of the table at `path`; its format follows from `name`.

    Raises RequestError for a table without rows, and if it cannot be read within the memory and time limits.
    """
    question = {"path": str(path.absolute()), "format": table_format(name), "max_rows": max_rows}
    limits = sandbox.SandboxLimits(memory_bytes=MEMORY_BYTES, cpu_seconds=SECONDS, wall_seconds=SECONDS)
    outcome = sandbox.run(TASK, question, limits)
    report = outcome.report
    if outcome.status != 0 or report is None:
        raise RequestError(
            sandbox.describe_failure(outcome, limits, what="Reading the table", advice=sandbox.OF_TABLES)
        )
    if "problem" in report:
        raise RequestError(f"The table cannot be read: {report['problem']} Correct the file and send it again.")
    if not report["instances"]:
        raise RequestError("The table has no rows. Send a table with at least one row.")
    return Table(report["instances"], report["predictions"])
