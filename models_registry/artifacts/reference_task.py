"""Reads reference rows: the sandbox task of `reference.read_reference`."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models_registry.artifacts import table_task
from models_registry.artifacts.manifest import Sample, check_storable
from models_registry.artifacts.schema import Schema
from models_registry.errors import RegistryError

MAX_READ = 1_000_000
SEED = 0


def import_libraries(question: Mapping[str, Any]) -> None:
    """Import the modules of the reader and the schema before the limits apply."""
    table_task.import_libraries(question)
    if question["schema"]["container"] == "frame":
        import pandas  # noqa: F401


def run(question: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Return a sample of the rows and their number, or a sentence with the problem."""
    schema = Schema.from_json(question["schema"])
    try:
        found = _read(question, answer, schema)
        if "problem" in found:
            return found
        answer.write(stage="while the rows were compared with the schema")
        return _checked(found["instances"], found["predictions"], schema, question["rows"])
    except RegistryError as error:
        return {"problem": str(error)}


def _read(question: Mapping[str, Any], answer: Any, schema: Schema) -> dict[str, Any]:
    if question["format"] != "csv":
        return table_task.run({**question, "max_rows": MAX_READ}, answer)
    answer.write(stage="while the table was read")
    try:
        text = Path(question["path"]).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return {"problem": f"It is not valid UTF-8: {error}."}
    # The features' types decide how a cell is read: in a column of postcodes, 01234 and 12345 are both texts.
    sample = Sample.from_csv(text, schema.inputs)
    return {"instances": list(sample.instances), "predictions": sample.predictions}


def _without_extra(rows: list[Any], schema: Schema) -> list[Any]:
    """Return rows with only the features; by position if only the file has names for all columns."""
    if schema.container == "records":
        return [{name: value for name, value in row.items() if value is not None} for row in rows]
    first = rows[0]
    if (
        isinstance(first, dict)
        and not schema.named
        and len(first) == len(schema.inputs)
        and not first.keys() & schema.names
    ):
        return [list(row.values()) for row in rows]
    return schema.without_extra(rows)


def _checked(rows: list[Any], predictions: Any, schema: Schema, count: int) -> dict[str, Any]:
    """Return a sample of valid rows; missing values are allowed. Raises InputError."""
    if not rows:
        return {"problem": "it has no rows."}
    rows = _without_extra(rows, schema)
    features = tuple(replace(feature, nullable=True) for feature in schema.inputs)
    replace(schema, inputs=features).parse(rows)
    taken = sorted(random.Random(SEED).sample(range(len(rows)), min(count, len(rows))))  # noqa: S311
    kept = [rows[index] for index in taken]
    answers = None if predictions is None else [predictions[index] for index in taken]
    check_storable([kept, answers], "It")
    return {"total": len(rows), "instances": kept, "predictions": answers}
