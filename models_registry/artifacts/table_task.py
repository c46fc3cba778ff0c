"""Reads a table of rows: the sandbox task of `table.read_table`."""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from models_registry.parquet import Database, file_source, scan

PREDICTION = "prediction"


def import_libraries(question: Mapping[str, Any]) -> None:
    """Import the format reader's modules before the limits apply."""
    if question["format"] == "parquet":
        import duckdb  # noqa: F401


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return the rows and, separately, expected predictions; or a sentence with the problem."""
    answer.write(stage="while the table was read")
    path, max_rows = Path(question["path"]), question["max_rows"]
    try:
        return _READERS[question["format"]](path, max_rows)
    except Exception as error:  # noqa: BLE001 - the file may be anything, and its reader may raise anything
        return {"problem": problem_of(error)}


def problem_of(error: Exception) -> str:
    """Return the first line of a reader's error as a sentence."""
    line = (str(error).splitlines() or [type(error).__name__])[0][:500]
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _read_csv(path: Path, max_rows: int) -> dict[str, Any]:
    from models_registry.artifacts.manifest import Sample

    sample = Sample.from_csv(path.read_text(encoding="utf-8-sig"))
    predictions = None if sample.predictions is None else list(sample.predictions)[:max_rows]
    return {"instances": list(sample.instances)[:max_rows], "predictions": predictions}


def _read_json_lines(path: Path, max_rows: int) -> dict[str, Any]:
    rows: list[Any] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if len(rows) == max_rows:
                break
            if line.strip():
                rows.append(_json_row(line, number))
    return _apart(rows)


def _json_row(line: str, number: int) -> Any:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"Line {number} is not valid JSON ({error}).") from error
    if not isinstance(row, dict | list):
        kind = type(row).__name__
        raise ValueError(f"Line {number} is of type {kind}; expected an object or a list.")  # noqa: TRY004 - a sentence
    return row


def _read_parquet(path: Path, max_rows: int) -> dict[str, Any]:
    with path.open("rb") as file, Database([file]) as database:
        source = file_source(file)
        names = list(database.fields(source))
        found = database.rows(f"SELECT * FROM {scan(source, len(names))} LIMIT {int(max_rows)}")
    rows = [[_plain(value) for value in row] for row in found]
    if names == [str(index) for index in range(len(names))]:
        return {"instances": rows, "predictions": None}
    return _apart([dict(zip(names, row, strict=True)) for row in rows])


def _apart(rows: list[Any]) -> dict[str, Any]:
    """Separate the column `prediction` from the rows, if every row has it."""
    if not rows or not all(isinstance(row, dict) and PREDICTION in row for row in rows):
        return {"instances": rows, "predictions": None}
    predictions = [row.pop(PREDICTION) for row in rows]
    return {"instances": rows, "predictions": predictions}


def _plain(value: Any) -> Any:
    """Return a JSON value; a missing number becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError(f"A column holds {type(value).__name__}; expected numbers, strings, booleans or times.")


_READERS = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": _read_parquet}
