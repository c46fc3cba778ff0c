"""The rows that a compiled form is verified on."""

from __future__ import annotations

import numpy as np

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.compilation import sampling

INPUTS = (
    Feature("age", "integer"),
    Feature("income", "float", nullable=True),
    Feature("city", "string", categories=("Oslo", "Rome")),
    Feature("plan", "string", categories=("free", "pro"), closed=True),
    Feature("vip", "boolean"),
)
SCHEMA = Schema(INPUTS, container="objects", named=True)
SAMPLE = [[30, 1000.5, "Oslo", "pro", True], [61, None, "Rome", "free", False]]


def test_every_row_is_one_that_the_schema_takes() -> None:
    rows = sampling.sample_rows(SCHEMA, SAMPLE, {1: np.array([500.0, 900.0])})
    assert SCHEMA.parse([list(row) for row in rows]).shape == (len(rows), len(INPUTS))
    assert len(rows) >= 500


def test_sample_comes_first_and_the_edges_after_it() -> None:
    rows = sampling.sample_rows(SCHEMA, SAMPLE, {1: np.array([500.0, 900.0])})
    incomes = [row[1] for row in rows]
    assert rows[:2] == SAMPLE
    assert {500.0, 900.0, float(np.nextafter(500.0, np.inf))} <= set(incomes)
    assert None in incomes
    assert {row[3] for row in rows} == {"free", "pro"}
    assert {row[2] for row in rows} > {"Oslo", "Rome"}


def test_rows_are_drawn_without_a_sample_too() -> None:
    rows = sampling.sample_rows(SCHEMA, [], {})
    assert len({str(row) for row in rows}) > 300
    SCHEMA.parse(rows)


def test_same_seed_draws_the_same_rows() -> None:
    assert str(sampling.sample_rows(SCHEMA, SAMPLE, {})) == str(sampling.sample_rows(SCHEMA, SAMPLE, {}))


def test_sample_rows_by_name_are_put_in_order() -> None:
    row = dict(zip(SCHEMA.names, SAMPLE[0], strict=True))
    assert sampling.ordered(SCHEMA, [dict(reversed(row.items()))]) == [SAMPLE[0]]
