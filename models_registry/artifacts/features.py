"""One input of a model: its name, its type and what it may hold."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

from models_registry.errors import InputError

FEATURE_TYPES = ("float", "integer", "string", "boolean", "any")

# Trees and many compiled models cast to float32: beyond this a finite number would become infinite there.
LARGEST_NUMBER = 3.4028234663852886e38
# A column of whole numbers is int64.
LARGEST_INTEGER = 2**63 - 1

EXPECTED = {
    "float": "a number",
    "integer": "a whole number",
    "string": "a string",
    "boolean": "true or false",
    "any": "a number, a string, or true or false",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """A named, typed input.

    `categories` are the values that the model was trained with, where it tells them; with
    `closed` any other value is an error of the caller. `nullable` says that null (a missing value) is taken; the
    model then sees NaN, as pandas writes it, or None where it was trained with that.
    """

    name: str
    type: str = "float"
    categories: tuple[Any, ...] | None = None
    closed: bool = False
    nullable: bool = False
    missing_is_none: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the form that the registry stores and `GET /models/{name}` shows."""
        body: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.categories is not None:
            body["categories"] = list(self.categories)
            body["closed"] = self.closed
        if self.nullable:
            body["nullable"] = True
        if self.missing_is_none:
            body["missing_is_none"] = True
        return body

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Feature:
        """Return what `to_json` wrote."""
        categories = value.get("categories")
        return cls(
            value["name"],
            value["type"],
            None if categories is None else tuple(categories),
            value.get("closed", False),
            value.get("nullable", False),
            value.get("missing_is_none", False),
        )

    def expected(self) -> str:
        """Say in words which values are taken."""
        if self.closed and self.categories:
            shown = ", ".join(repr(item) for item in self.categories[:12])
            more = f" and {len(self.categories) - 12} more" if len(self.categories) > 12 else ""
            text = f"one of {shown}{more}"
        else:
            text = EXPECTED[self.type]
        return f"{text} or null" if self.nullable else text

    def check(self, value: Any, row: int) -> Any:
        """Return `value` as the model takes it, or raise InputError naming row, feature, expected and found."""
        if value is None:
            if self.nullable:
                return None if self.missing_is_none else math.nan
            raise self.refusal(value, row)
        if not self._has_type(value):
            raise self.refusal(value, row)
        if self.closed and self.categories is not None and value not in self.categories:
            raise self.refusal(value, row, code="unknown_category")
        return value

    def _has_type(self, value: Any) -> bool:
        if self.type == "string":
            return isinstance(value, str)
        if self.type == "boolean":
            return isinstance(value, bool)
        if self.type == "any" and isinstance(value, str | bool):
            return True
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            return False
        return self.type != "integer" or (float(value).is_integer() and abs(value) <= LARGEST_INTEGER)

    def refusal(self, value: Any, row: int, *, code: str = "invalid_feature") -> InputError:
        """Return the error for a value that this feature does not take."""
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
    """Return a short description of something that a caller sent, safe to echo."""
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
    if isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:
        return f"a number that is too large (the largest is {LARGEST_NUMBER:.4g})"
    return str(value)
