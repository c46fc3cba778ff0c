"""Holds a model against its own sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from models_registry.artifacts.calling import Answer, call
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.signature import Signature
from models_registry.errors import SampleMismatch

# Wide enough for another processor's rounding, narrow enough for a lost coefficient.
RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-8


def verify_sample(model: Any, signature: Signature, sample: Sample) -> Answer:
    """Return the model's answer to `sample`, or raise SampleMismatch naming the first differing row."""
    answer = call(model, signature.parse(list(sample.instances)))
    if sample.predictions is not None:
        compare(answer.predictions(), sample.predictions)
    return answer


def compare(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raise SampleMismatch for the first row in which `found` is not what was `expected`."""
    if len(found) != len(expected):
        raise SampleMismatch(f"The sample has {len(expected)} rows, the model answered {len(found)}.")
    for row, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        if not is_same(got, wanted):
            raise SampleMismatch(
                f"Row {row} of the sample: the model answers {got!r}, expected {wanted!r}. Correct the sample's "
                "predictions, or publish the artifact that gave them."
            )


def is_same(found: Any, expected: Any) -> bool:
    """Say whether two predictions agree: labels exactly, measured numbers within the tolerance."""
    if isinstance(found, list) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(is_same, found, expected))
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(found == expected)


def ranges(sample: Sample, signature: Signature) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest number that the sample has of each feature; of others nothing."""
    columns = {
        feature.name: [_value(row, feature.name, index) for row in sample.instances]
        for index, feature in enumerate(signature.inputs)
        if feature.type in {"float", "integer"}
    }
    numbers = {name: [item for item in values if _is_number(item)] for name, values in columns.items()}
    return {name: (min(values), max(values)) for name, values in numbers.items() if values}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _value(row: Any, name: str, index: int) -> Any:
    if isinstance(row, dict):
        return row.get(name)
    return row[index] if isinstance(row, list | tuple) else row
