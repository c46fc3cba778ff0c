"""One input of a model: its name, its type and its allowed values."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models_registry.artifacts.datetimes import format_datetime, parse_datetime
from models_registry.errors import InputError

FEATURE_TYPES = ("float", "integer", "string", "boolean", "datetime", "any")

# Trees and many compiled models convert to float32: above this limit, a finite number would become infinite.
MAX_NUMBER = 3.4028234663852886e38
# Integer columns are int64.
MAX_INTEGER = 2**63 - 1
# Up to this limit float64 holds every integer exactly.
EXACT_INTEGER = 2**53
NARROW_DTYPES = frozenset({"float16", "float32"})
# The integer range of each training dtype; an object column holds any integer of JSON or of a tensor.
INTEGER_BOUNDS = {
    "int64": (-MAX_INTEGER, MAX_INTEGER),
    "uint64": (0, 2**64 - 1),
    "object": (-MAX_INTEGER, 2**64 - 1),
}

EXPECTED = {
    "float": "a number",
    "integer": "a whole number",
    "string": "a string",
    "boolean": "true or false (or 1 or 0)",
    "datetime": "a time in ISO 8601, such as '2024-05-01T12:30:00'",
    "any": "a number, a string, or true or false",
}

# An example value of each type, for generated requests.
EXAMPLES: dict[str, Any] = {
    "float": 0.0,
    "integer": 0,
    "string": "text",
    "boolean": False,
    "datetime": "2024-05-01T12:30:00",
    "any": 0.0,
}


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """A manifest's declaration of an input; None leaves a field to the estimator."""

    name: str
    type: str | None = None
    nullable: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form used in manifests."""
        said = {"name": self.name, "type": self.type, "nullable": self.nullable}
        return {key: value for key, value in said.items() if value is not None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DeclaredInput:
        """Return the declaration from `to_json`'s form."""
        return cls(value["name"], value.get("type"), value.get("nullable"))

    def apply(self, feature: Feature) -> Feature:
        """Return `feature` with the declared name, type and `nullable`."""
        return replace(
            feature,
            name=self.name,
            type=feature.type if self.type is None else self.type,
            nullable=feature.nullable if self.nullable is None else self.nullable,
        )


@dataclass(frozen=True, slots=True)
class Feature:
    """A named, typed input.

    `categories` are the training values, if known; with `closed` a request with another value is an error. `nullable`
    allows null, a missing value. The model then gets NaN, like from pandas, or None if it was trained with None. An
    `optional` feature may be omitted from a row by name: the model drops its column. Its value is then missing.
    `dtype` is that of the training, if values are compared for equality and float64 would change them: `float16`,
    `float32`, or, for integers above 2**53, `int64`, `uint64` or `object`.
    """

    name: str
    type: str = "float"
    categories: tuple[Any, ...] | None = None
    closed: bool = False
    nullable: bool = False
    missing_is_none: bool = False
    optional: bool = False
    dtype: str | None = None
    _known: frozenset[Any] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Store the categories of a closed column in the form in which values are compared."""
        if self.closed and self.categories is not None:
            object.__setattr__(self, "_known", frozenset(map(self.narrowed, self.categories)))

    @property
    def is_exact_integer(self) -> bool:
        """Whether values are integers that float64 would change."""
        return self.dtype in INTEGER_BOUNDS

    def narrowed(self, value: Any) -> Any:
        """Return a number as float64, after rounding to the training's dtype."""
        if self.dtype not in NARROW_DTYPES or not isinstance(value, int | float):
            return value
        with np.errstate(over="ignore"):
            return float(np.dtype(self.dtype).type(value))

    def knows(self, value: Any) -> bool:
        """Return whether `value`, in the training's dtype, is among the categories of a closed column."""
        return value in self._known

    def to_json(self) -> dict[str, Any]:
        """Return the form that the registry stores and `GET /models/{name}` returns."""
        body: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.categories is not None:
            body["categories"] = list(self.categories)
            body["closed"] = self.closed
        if self.nullable:
            body["nullable"] = True
        if self.missing_is_none:
            body["missing_is_none"] = True
        if self.optional:
            body["optional"] = True
        if self.dtype is not None:
            body["dtype"] = self.dtype
        return body

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Feature:
        """Return the feature from `to_json`'s form."""
        categories = value.get("categories")
        return cls(
            value["name"],
            value["type"],
            None if categories is None else tuple(categories),
            value.get("closed", False),
            value.get("nullable", False),
            value.get("missing_is_none", False),
            value.get("optional", False),
            value.get("dtype"),
        )

    def expected(self) -> str:
        """Return a description of the allowed values."""
        if self.closed and self.categories:
            shown = ", ".join(repr(item) for item in self.categories[:12])
            more = f" and {len(self.categories) - 12} more" if len(self.categories) > 12 else ""
            text = f"one of {shown}{more}"
        else:
            text = EXPECTED[self.type]
        return f"{text} or null" if self.nullable else text

    def check(self, value: Any, row: int) -> Any:
        """Return `value` as the model takes it; InputError names row, feature, expected and found value."""
        if value is None:
            if self.nullable:
                return self._missing()
            raise self.refusal(value, row)
        if not self._has_type(value):
            raise self.refusal(value, row)
        if self.type == "datetime":
            return self._check_datetime(value, row)
        if self.dtype is not None and not isinstance(value, str | bool):
            value = self._in_dtype(value, row)
        if self.closed and self.categories is not None and value not in self._known:
            raise self.refusal(value, row, code="unknown_category")
        return bool(value) if self.type == "boolean" else value

    def _in_dtype(self, value: Any, row: int) -> Any:
        """Return a number in the training's dtype."""
        if not self.is_exact_integer:
            return self.narrowed(value)
        if not isinstance(value, float):
            return value
        if abs(value) > EXACT_INTEGER:
            raise self.inexact(value, row)
        return int(value) if value.is_integer() else value

    def inexact(self, value: float, row: int) -> InputError:
        """Return the error for an integer that was sent as a float and is not exact."""
        found = f"the float {value!r}"
        return InputError(
            f"Row {row}, feature {self.name!r}: expected an integer, found {found}, which is not exact beyond 2**53. "
            "Send it as an integer: without a point or an exponent in JSON, as INT64 or UINT64 in a tensor.",
            code="inexact_number",
            row=row,
            feature=self.name,
            expected="an integer",
            found=found,
        )

    def _missing(self) -> Any:
        if self.type == "datetime":
            return np.datetime64("NaT", "ns")
        return None if self.missing_is_none else math.nan

    def _check_datetime(self, value: str, row: int) -> np.datetime64:
        moment = parse_datetime(value)
        if moment is None:
            raise self.refusal(value, row)
        # Two spellings of the same time are one category.
        if self.closed and self.categories is not None and format_datetime(moment) not in self.categories:
            raise self.refusal(value, row, code="unknown_category")
        return moment

    def _has_type(self, value: Any) -> bool:
        if self.type in {"string", "datetime"}:
            return isinstance(value, str)
        if self.type == "boolean":
            # A table of 0 and 1 has the same meaning.
            return isinstance(value, int | float) and value in (0, 1)
        if self.type == "any" and isinstance(value, str | bool):
            return True
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not -MAX_NUMBER <= value <= MAX_NUMBER:
            return False
        if self.type != "integer":
            return True
        lowest, highest = INTEGER_BOUNDS[self.dtype if self.dtype in INTEGER_BOUNDS else "int64"]
        return float(value).is_integer() and lowest <= value <= highest

    def refusal(self, value: Any, row: int, *, code: str = "invalid_feature") -> InputError:
        """Return the error for an invalid value of this feature."""
        found = describe_value(value)
        return InputError(
            f"Row {row}, feature {self.name!r}: expected {self.expected()}, found {found}.",
            code=code,
            row=row,
            feature=self.name,
            expected=self.expected(),
            found=found,
        )


def describe_value(value: object) -> str:
    """Return a short description of a received value, safe to show."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"the string {reprlib.repr(value)}"
    if isinstance(value, float) and math.isnan(value):
        return "not a number"
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        return f"a number that is too large (the largest is {MAX_NUMBER:.4g})"
    return str(value)
