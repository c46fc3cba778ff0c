"""Rows made up from a schema, for versions without a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models_registry.artifacts.features import EXAMPLES, Feature
from models_registry.artifacts.schema import Schema

# What a number and a column of any type hold in turn: logarithms refuse zero, and some columns of any type hold text.
VARIANTS: tuple[tuple[float, Any], ...] = ((0.0, 0.0), (1.0, 1.0), (0.0, "text"), (1.0, "text"))


def example_rows(schema: Schema) -> Iterator[Any]:
    """Yield made-up rows, the plainest first: by name where the schema has names, else in its order.

    What a row by name may leave out is left out.
    """
    seen: list[list[Any]] = []
    for number, anything in VARIANTS:
        row = [_value(feature, number, anything) for feature in schema.inputs]
        if row not in seen:
            seen.append(row)
            yield _named(schema, row) if schema.named else row


def example_of(schema: Schema) -> Any:
    """Return the plainest made-up row."""
    return next(example_rows(schema))


def _named(schema: Schema, row: list[Any]) -> dict[str, Any]:
    pairs = zip(schema.inputs, row, strict=True)
    return {feature.name: value for feature, value in pairs if not feature.optional}


def _value(feature: Feature, number: float, anything: Any) -> Any:
    if feature.categories:
        return feature.categories[0]
    return {**EXAMPLES, "float": number, "integer": int(number), "any": anything}[feature.type]
