"""Example rows from a schema, for versions without a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models_registry.artifacts.features import EXAMPLES, Feature
from models_registry.artifacts.schema import Schema

# Values used in turn for numbers and for columns of any type: logarithms refuse zero, and some columns hold text.
VARIANTS: tuple[tuple[float, Any], ...] = ((0.0, 0.0), (1.0, 1.0), (0.0, "text"), (1.0, "text"))


def example_rows(schema: Schema) -> Iterator[Any]:
    """Yield example rows, the simplest first: by name if the schema has names, else by position.

    Rows by name omit optional features.
    """
    seen: list[list[Any]] = []
    for number, anything in VARIANTS:
        row = [_value(feature, number, anything) for feature in schema.inputs]
        if row not in seen:
            seen.append(row)
            yield _named(schema, row) if schema.named else row


def example_of(schema: Schema) -> Any:
    """Return the simplest example row."""
    return next(example_rows(schema))


def _named(schema: Schema, row: list[Any]) -> dict[str, Any]:
    pairs = zip(schema.inputs, row, strict=True)
    return {feature.name: value for feature, value in pairs if not feature.optional}


def _value(feature: Feature, number: float, anything: Any) -> Any:
    if feature.categories:
        return feature.categories[0]
    return {**EXAMPLES, "float": number, "integer": int(number), "any": anything}[feature.type]
