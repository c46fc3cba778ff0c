"""Converts the row formats of `/invocations` to the form that the model accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlapi.protocols.base import HttpError
from mlapi.protocols.native import FLAGS
from mlapi.protocols.predicting import as_rows
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.schema import Schema

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# These fields may hold a list of rows.
LISTED_FORMS = ("dataframe_records", "instances", "inputs")
# The parsed rows, and their number.
CountedRows = tuple[Any, int]


@dataclass(frozen=True, slots=True)
class RowReader:
    """Converts rows to the form that a model of `schema` takes, and counts them.

    With `ignores_extra` unknown columns are dropped; otherwise they are refused.
    """

    schema: Schema
    ignores_extra: bool = False

    def json(self, body: Mapping[str, Any]) -> CountedRows:
        """Return the rows of a JSON object in one of the four forms."""
        form = form_of(body)
        content = body[form]
        if form == "dataframe_split":
            return self._split(content)
        if form == "inputs" and type(content) is dict:
            return self._columns(content)
        if type(content) is not list:
            expected = "a list of rows, or an object of columns" if form == "inputs" else "a list of rows"
            raise invalid(form, f"{form!r} must be {expected}, found {describe_value(content)}.")
        if form == "dataframe_records":
            for index, row in enumerate(content):
                if type(row) is not dict:
                    raise invalid(form, f"Record {index} must be an object by column, found {describe_value(row)}.")
        return self.listed(content)

    def listed(self, rows: Sequence[Any]) -> CountedRows:
        """Return rows that are objects by name, or lists in the schema's order."""
        wanted = self.schema.without_extra(rows) if self.ignores_extra else rows
        return as_rows(lambda: self.schema.parse(wanted), len(rows)), len(rows)

    def named(self, columns: Mapping[str, Any], count: int) -> CountedRows:
        """Return rows from columns of `count` values, by name."""
        if self.ignores_extra and self.schema.container != "records":
            columns = {name: columns[name] for name in self.schema.names if name in columns}
        return as_rows(lambda: self.schema.from_columns(columns), count), count

    def array(self, array: np.ndarray[Any, Any]) -> CountedRows:
        """Return rows of an array of numbers or texts, in the schema's order; of a structured array, by field name."""
        if array.dtype.names is not None:
            return self.named({name: array[name] for name in array.dtype.names}, len(array))
        if array.ndim == 1 and len(self.schema.inputs) == 1:
            array = array.reshape(-1, 1)
        if array.dtype.kind == "U":
            return self.listed(array.tolist())
        return as_rows(lambda: self.schema.from_array(array), len(array)), len(array)

    def split_rows(self, names: Sequence[Any] | None, rows: Sequence[Any]) -> CountedRows:
        """Return rows with column `names`; in the schema's order if the names are missing or numbers."""
        if names is None or names == list(range(len(self.schema.inputs))) or tuple(names) == self.schema.names:
            return self.listed(rows)
        for name in names:
            if type(name) is not str:
                raise invalid("columns", f"A column's name must be a string, found {describe_value(name)}.")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise invalid("columns", f"The column {twice[:200]!r} appears twice; send it once.")
        for index, row in enumerate(rows):
            if type(row) is not list or len(row) != len(names):
                raise invalid(
                    "data",
                    f"Row {index} must be a list of {len(names)}, one for each column; found {describe_value(row)}.",
                )
        return self.named({name: [row[index] for row in rows] for index, name in enumerate(names)}, len(rows))

    def _columns(self, columns: Mapping[str, Any]) -> CountedRows:
        if not columns:
            raise invalid("inputs", "'inputs' has no columns.")
        counts = set()
        for name, values in columns.items():
            if type(values) is not list:
                raise invalid(
                    "inputs", f"Column {name[:200]!r} must be a list of values, found {describe_value(values)}."
                )
            counts.add(len(values))
        if len(counts) != 1:
            raise invalid(
                "inputs",
                f"The columns of 'inputs' have {min(counts)} to {max(counts)} values; all need the same number.",
            )
        return self.named(columns, counts.pop())

    def _split(self, content: Any) -> CountedRows:
        """Return the rows of pandas' `to_dict(orient="split")`."""
        if type(content) is not dict:
            raise invalid("dataframe_split", f"'dataframe_split' must be an object, found {describe_value(content)}.")
        unknown = [name for name in content if name not in {"columns", "index", "data"}]
        if unknown:
            raise invalid(
                "dataframe_split", f"'dataframe_split' takes columns, index and data; found {unknown[0][:200]!r}."
            )
        data, columns = content.get("data"), content.get("columns")
        if type(data) is not list:
            raise invalid(
                "dataframe_split", f"'data' of 'dataframe_split' must be a list, found {describe_value(data)}."
            )
        if columns is not None and type(columns) is not list:
            raise invalid(
                "dataframe_split", f"'columns' of 'dataframe_split' must be a list, found {describe_value(columns)}."
            )
        return self.split_rows(columns, data)


def form_of(body: Mapping[str, Any]) -> str:
    """Return which of the four forms the body has; HttpError 400 unless it has one form and known parameters."""
    found = [name for name in FORMS if name in body]
    if len(found) != 1:
        raise invalid(
            "body", f"The body must have exactly one of {', '.join(FORMS)}; found {', '.join(found) or 'none of them'}."
        )
    others = [name for name in body if name not in {*FORMS, "params", *FLAGS}]
    if others:
        allowed = ", ".join(map(repr, ("params", *FLAGS)))
        raise invalid(others[0], f"Unknown field {others[0][:200]!r}; allowed next to {found[0]!r} are {allowed}.")
    return found[0]


def invalid(field: str, message: str) -> HttpError:
    """Return the error for a body in none of the forms."""
    return HttpError(400, "invalid_request", message, field=field[:200])
