"""The named, typed inputs and outputs of a model, and the conversion of JSON rows to the model's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from models_registry.artifacts.columns import (
    NUMBERS,
    are_in_range,
    as_numbers,
    as_trained,
    check_column,
    first_refused,
    refusal,
)
from models_registry.artifacts.features import NARROW_DTYPES, Feature, describe_value
from models_registry.artifacts.suggestions import closest, shown
from models_registry.errors import InputError

# Outputs of the native form only; the compiled form only predicts.
NATIVE_METHODS = ("transform", "score_samples", "kneighbors", "return_std")
BARE = frozenset({str, int, float, bool, type(None)})
# The kind of a schema whose model returns transformed rows.
TRANSFORMER = "transformer"


@dataclass(frozen=True, slots=True)
class Schema:
    """The inputs and outputs of a model.

    `container` is the model's input form: `array` float64 of shape (rows, features); `objects` the same with dtype
    object; `frame` a pandas DataFrame; `text` a list of strings; `records` a list of mappings. `classes` are the labels
    of a classifier: one tuple, or one per output.
    """

    inputs: tuple[Feature, ...]
    container: str = "array"
    named: bool = False
    kind: str = "regressor"
    outputs: int = 1
    classes: tuple[Any, ...] | None = None
    methods: tuple[str, ...] = ("predict",)
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _row_of: Callable[[Mapping[str, Any]], Any] = field(init=False, repr=False, compare=False)
    _plain: bool = field(init=False, repr=False, compare=False)
    _absent: dict[str, None] = field(init=False, repr=False, compare=False)
    _positions: dict[Any, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute once the values that every request needs."""
        names = tuple(feature.name for feature in self.inputs)
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_row_of", itemgetter(*names) if len(names) > 1 else _single(names))
        plain = self.container == "array" and all(
            feature.type == "float" and not feature.closed and feature.dtype is None for feature in self.inputs
        )
        object.__setattr__(self, "_plain", plain)
        object.__setattr__(self, "_absent", {feature.name: None for feature in self.inputs if feature.optional})
        is_flat = self.classes is not None and not any(isinstance(item, tuple) for item in self.classes)
        positions = {label: index for index, label in enumerate(self.classes or ())} if is_flat else None
        object.__setattr__(self, "_positions", positions)

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the model's order."""
        return self._names

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the required features."""
        return tuple(name for name in self._names if name not in self._absent)

    @property
    def is_plain(self) -> bool:
        """Whether every feature is an unrestricted number, and the model takes an array."""
        return self._plain

    @property
    def positions(self) -> dict[Any, int] | None:
        """The column of each class in the probabilities of a single output; None without such classes."""
        return self._positions

    @property
    def width(self) -> int:
        """The largest number of values for a row: a score for each class, or the outputs."""
        if self.classes is None:
            return self.outputs
        # Each of several outputs has its own classes.
        return sum(len(item) if isinstance(item, (list, tuple)) else 1 for item in self.classes)

    @property
    def has_one_label(self) -> bool:
        """Whether each row has one label or value, for which ground truth can exist."""
        return self.outputs == 1 and self.kind != TRANSFORMER

    def has(self, method: str) -> bool:
        """Return whether the model has `method`, e.g. `predict_proba`."""
        return method in self.methods

    @property
    def has_native_methods(self) -> bool:
        """Whether the model has methods that its compiled form lacks."""
        return any(method in self.methods for method in NATIVE_METHODS)

    def without_extra(self, rows: Sequence[Any]) -> list[Any]:
        """Return `rows` without the values of unknown features."""
        if self.container == "records":
            return list(rows)
        known = frozenset(self._names)
        return [
            {name: value for name, value in row.items() if name in known} if type(row) is dict else row for row in rows
        ]

    def without_frames(self) -> Schema:
        """Return the same schema with mixed columns as an object array, without pandas."""
        return replace(self, container="objects") if self.container == "frame" else self

    def as_frame(self, rows: np.ndarray[Any, Any]) -> Any:
        """Return an object array of a schema without frames as a DataFrame."""
        return self._frame(list(zip(*rows.tolist(), strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Return the form that the registry stores."""
        return {
            "inputs": [feature.to_json() for feature in self.inputs],
            "container": self.container,
            "named": self.named,
            "kind": self.kind,
            "outputs": self.outputs,
            "classes": _listed(self.classes),
            "methods": list(self.methods),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """Return the schema from `to_json`'s form."""
        classes = value["classes"]
        return cls(
            inputs=tuple(Feature.from_json(item) for item in value["inputs"]),
            container=value["container"],
            named=value["named"],
            kind=value["kind"],
            outputs=value["outputs"],
            classes=None
            if classes is None
            else tuple(tuple(item) if isinstance(item, list) else item for item in classes),
            methods=tuple(value["methods"]),
        )

    def parse(self, rows: Sequence[Any]) -> Any:
        """Return `rows` in the form that the model takes.

        `rows` holds mappings by feature name or lists in the schema's order, all in one form. Raises InputError for the
        first feature that is missing, unknown, of another type or not finite. A row of another length is refused too.
        """
        if self.container == "records":
            return [_as_record(row, index) for index, row in enumerate(rows)]
        if self._plain:
            return self._numbers(self._ordered(rows))
        ordered = self._ordered(rows)
        return self._build([self._check_row(row, index) for index, row in enumerate(ordered)])

    def from_columns(self, columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> Any:
        """Return columns by feature name, lists or arrays of equal length, in the form that the model takes.

        Raises InputError like `parse`. NaN in an array is a missing value.
        """
        if self.container == "records":
            lists = [_as_list(values) for values in columns.values()]
            return self.parse([dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)])
        if self._absent and columns:
            count = len(next(iter(columns.values())))
            columns = {**{name: [None] * count for name in self._absent}, **columns}
        if columns.keys() != set(self._names):
            raise self._names_error(columns)
        return self._build_columns([check_column(item, columns[item.name]) for item in self.inputs])

    def from_array(self, array: np.ndarray[Any, Any]) -> Any:
        """Return numbers of shape (rows, features), in the schema's order, in the form that the model takes.

        A model that takes arrays gets its own copy: aligned and writable, even if `array` is a view. Raises InputError
        for a wrong width, and for the first invalid row and feature; NaN is a missing value.
        """
        if self.container == "records":
            raise InputError("This model takes records: name each column.", expected="named columns", found="an array")
        if array.ndim != 2 or array.shape[1] != len(self.inputs):
            raise self._width_error(array.shape)
        if self.container != "array" or array.dtype.kind == "b":
            return self.from_columns({name: array[:, index] for index, name in enumerate(self._names)})
        numbers = np.array(array, dtype=np.float64, order="C")
        if not (self._plain and are_in_range(numbers)):
            self._refuse_first(numbers)
        for index, feature in enumerate(self.inputs):
            if feature.dtype in NARROW_DTYPES:
                numbers[:, index] = numbers[:, index].astype(feature.dtype)
        return numbers

    def _refuse_first(self, numbers: np.ndarray[Any, Any]) -> None:
        """Raise InputError for the first invalid row, and its first invalid feature."""
        found = [
            (row, index)
            for index, feature in enumerate(self.inputs)
            if (row := first_refused(feature, numbers[:, index])) is not None
        ]
        if found:
            row, index = min(found)
            raise refusal(self.inputs[index], numbers[:, index], row)

    def _ordered(self, rows: Sequence[Any]) -> list[Sequence[Any]]:
        """Return each row as a sequence in the schema's order."""
        kinds = set(map(type, rows))
        if kinds == {dict}:
            return self._from_mappings(rows)
        if kinds == {list}:
            count = len(self.inputs)
            for index, row in enumerate(rows):
                if len(row) != count:
                    raise self._length_error(row, index)
            return list(rows)
        if len(self.inputs) == 1 and kinds <= BARE:
            return [(row,) for row in rows]
        return [self._ordered_mixed(row, index, rows) for index, row in enumerate(rows)]

    def _ordered_mixed(self, row: Any, index: int, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the row in the schema's order; InputError for an unknown form, or one that differs from row 0."""
        form = self._form(row)
        if form is None:
            raise InputError(
                f"Row {index}: expected an object of features by name or a list of {len(self.inputs)}, "
                f"found {describe_value(row)}.",
                row=index,
                expected=f"an object or a list of {len(self.inputs)}",
                found=describe_value(row),
            )
        if form is not self._form(rows[0]):
            raise InputError(
                f"Row {index} is {describe_value(row)}, row 0 is {describe_value(rows[0])}; send all rows in one form.",
                code="mixed_rows",
                row=index,
                expected="the form of row 0",
                found=describe_value(row),
            )
        return row  # type: ignore[no-any-return]  # a list, as its type was just checked

    def _form(self, row: Any) -> object:
        """Return one value for all rows of one form: `dict`, `list`, or the bare value of a single feature."""
        kind = type(row)
        if len(self.inputs) == 1 and kind in BARE:
            return BARE
        return kind if kind in (dict, list) else None

    def _from_mappings(self, rows: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
        row_of, count = self._row_of, len(self.inputs)
        if set(map(len, rows)) == {count}:
            try:
                return list(map(row_of, rows))
            except KeyError:
                # The slow loop finds the row.
                pass
        ordered = []
        for index, given in enumerate(rows):
            row = {**self._absent, **given} if self._absent else given
            if len(row) != count:
                raise self._names_error(row, index)
            try:
                ordered.append(row_of(row))
            except KeyError:
                raise self._names_error(row, index) from None
        return ordered

    def _numbers(self, rows: list[Sequence[Any]]) -> np.ndarray[Any, Any]:
        """Return float64 of shape (rows, features); fast, for rows of plain numbers."""
        values = rows[0] if len(rows) == 1 else chain.from_iterable(rows)
        if set(map(type, values)) <= NUMBERS:
            array = as_numbers(rows)
            if array is not None and are_in_range(array):
                return array
        return np.array([self._check_row(row, index) for index, row in enumerate(rows)], dtype=np.float64)

    def _check_row(self, row: Sequence[Any], index: int) -> list[Any]:
        return [feature.check(value, index) for feature, value in zip(self.inputs, row, strict=True)]

    def _build(self, rows: list[list[Any]]) -> Any:
        """Return checked rows in the schema's container."""
        if self.container == "array":
            return np.array(rows, dtype=np.float64)
        if self.container == "text":
            return [row[0] for row in rows]
        if self.container == "objects":
            array = np.empty((len(rows), len(self.inputs)), dtype=object)
            array[:] = rows
            return array
        return self._frame(list(zip(*rows, strict=True)))

    def _build_columns(self, columns: list[Sequence[Any] | np.ndarray[Any, Any]]) -> Any:
        """Return checked columns in the schema's container."""
        if self.container == "frame":
            return self._frame(columns)
        if self.container == "text":
            return _as_list(columns[0])
        dtype = np.float64 if self.container == "array" else object
        array = np.empty((len(columns[0]), len(columns)), dtype=dtype)
        for index, values in enumerate(columns):
            array[:, index] = values
        return array

    def _frame(self, columns: Sequence[Sequence[Any] | np.ndarray[Any, Any]]) -> Any:
        """Return a pandas DataFrame whose columns have the training's dtypes."""
        import pandas as pd

        pairs = zip(self.inputs, columns, strict=True)
        return pd.DataFrame({feature.name: as_trained(feature, values) for feature, values in pairs}, copy=False)

    def _length_error(self, row: Sequence[Any], index: int) -> InputError:
        count = len(self.inputs)
        return InputError(
            f"Row {index}: expected {count} features ({shown(self._names)}), found {len(row)}.",
            code="wrong_feature_count",
            row=index,
            expected=count,
            found=len(row),
        )

    def _width_error(self, shape: tuple[int, ...]) -> InputError:
        count = len(self.inputs)
        return InputError(
            f"Expected numbers of shape [rows, {count}] ({shown(self._names)}), found {list(shape)}.",
            code="wrong_feature_count",
            expected=[-1, count],
            found=list(shape),
        )

    def _names_error(self, row: Mapping[str, Any], index: int | None = None) -> InputError:
        """Return the error for a row, or for columns if `index` is None, with missing or unknown names."""
        missing = [name for name in self._names if name not in row]
        where, place = ("", {}) if index is None else (f"Row {index}: ", {"row": index})
        known = set(self._names)
        unknown = [name for name in row if name not in known]
        if unknown:
            guess = closest(unknown[0], missing or self._names)
            hint = f"expected {shown(self._names)}." if guess is None else f"did you mean {guess!r}?"
            lacking = [name for name in missing if name != guess]
            hint += f" Also missing: {shown(lacking)}." if lacking else ""
            return InputError(
                _sentence(f"{where}unknown feature {describe_value(unknown[0])[len('the string ') :]}; {hint}"),
                code="unknown_feature",
                **place,
                feature=unknown[0][:200],
                expected=list(self._names[:64]) if guess is None else guess,
                found=unknown[0][:200],
            )
        return InputError(
            _sentence(
                f"{where}{'features' if len(missing) > 1 else 'feature'} {shown(missing)} "
                f"{'are' if len(missing) > 1 else 'is'} missing. Send a value for each feature of the model."
            ),
            code="missing_feature",
            **place,
            feature=missing[0],
            expected=missing[:64],
            found="nothing",
        )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _single(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a getter of a one-value row; `itemgetter` with one name would return the bare value."""

    def row_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in names)

    return row_of


def _as_record(row: Any, index: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(
            f"Row {index}: expected an object of features by name, found {describe_value(row)}.",
            row=index,
            expected="an object",
            found=describe_value(row),
        )
    for name, value in row.items():
        if not isinstance(value, str | bool | int | float):
            raise Feature(name, "any").refusal(value, index)
        Feature(name, "any").check(value, index)
    return row


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _as_list(values: Sequence[Any] | np.ndarray[Any, Any]) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
