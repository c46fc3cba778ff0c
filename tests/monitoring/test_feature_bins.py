"""Bins of a version's columns: what falls where, and what a comparison of counts says."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.monitoring.binned_drift import binned_drift
from models_registry.monitoring.drift import MAX_CATEGORIES, MIN_ROWS
from models_registry.monitoring.feature_bins import (
    MAX_FEATURES,
    MAX_WIDTH,
    VersionBins,
    as_column,
    as_matrix,
    bins_of,
    countable_features,
)

GENERATOR = np.random.default_rng(11)
NUMBERS = GENERATOR.normal(50, 10, 400)
CITIES = GENERATOR.choice(["Oslo", "Rome"], 400, p=[0.8, 0.2]).tolist()
LABELS = np.array(["no", "yes"] * 200)


def bins_for(values, kind="float", **given):
    schema = Schema((Feature("x", kind, **given),), container="objects", kind="classifier")
    found = bins_of(schema, as_column(list(values)).reshape(-1, 1), None)
    assert VersionBins.from_json(found.to_json()) == found
    return found.columns[0]


def counted(column, values):
    return dict(zip((*column.labels(), "missing"), column.count(as_column(values)).tolist(), strict=True))


def test_counts_are_those_of_numpy():
    column = bins_for(NUMBERS)
    served = GENERATOR.normal(60, 15, 700)
    expected, _ = np.histogram(served, [-np.inf, *column.edges, np.inf])
    assert column.count(served).tolist() == [*expected, 0]
    assert sum(column.reference) == 400
    assert (column.reference[0], column.reference[-2]) == (0, 0)
    assert all(35 <= count <= 45 for count in column.reference[1:-2])


@pytest.mark.parametrize(
    ("reference", "kind", "served", "expected"),
    [
        ([1, 2] * 100, "integer", [0, 1, 1, 2, 3, None], {"below 1": 1, "1": 2, "2": 1, "above 2": 1, "missing": 1}),
        ([5.0] * 200, "float", [4.9, 5, 5.1, float("nan")], {"below 5": 1, "5": 1, "above 5": 1, "missing": 1}),
        ([None] * 200, "float", [1.0, None], {"all values": 1, "missing": 1}),
        (["Oslo"] * 199 + ["Ål"], "string", ["Oslo", "Ål", "Rome", None], {"Oslo": 1, "other values": 2, "missing": 1}),
        ([True] * 200, "boolean", [True, 1.0, 0.0, None], {"True": 2, "other values": 1, "missing": 1}),
        ([1, 0] * 100, "boolean", [True, False, 1], {"True": 2, "False": 1, "other values": 0, "missing": 0}),
    ],
)
def test_each_value_has_a_bin(reference, kind, served, expected):
    assert counted(bins_for(reference, kind), served) == expected


def test_numbers_are_rounded_as_the_model_takes_them():
    column = bins_for([0.1, 0.7] * 100, dtype="float32")
    assert column.reference == (0, 100, 100, 0, 0)
    assert column.count(np.array([0.1, 0.7], dtype=np.float32).astype(float)).tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.0, 70_000.0] * 100, "float16", (0, 100, 0, 100)),
        ([70_000.0, -70_000.0] * 100, "float16", (0, 200)),
        ([1e300, 1.0] * 100, "float32", (0, 100, 0, 100)),
        ([1.0, sys.float_info.max] * 100, None, (0, 100, 100, 0)),
        ([sys.float_info.max] * 200, None, (0, 200, 0)),
        ([*range(200), sys.float_info.max], None, None),
        ([-sys.float_info.max] * 200, None, (0, 200, 0, 0)),
    ],
)
def test_edges_are_finite(values, dtype, expected):
    column = bins_for(values, dtype=dtype)
    assert all(math.isfinite(edge) for edge in column.edges)
    assert sum(column.reference) == len(values)
    assert expected in (None, column.reference)


@pytest.mark.parametrize("values", [NUMBERS.tolist(), CITIES])
def test_effect_size_is_the_distance_of_the_shares(values):
    column = bins_for(values, "float" if isinstance(values[0], float) else "string")
    current = column.count(as_column(values[200:])).tolist()
    found = binned_drift(column, current)
    assert found.effect_size == pytest.approx(jensenshannon(column.reference[:-1], current[:-1]))
    assert found.method == "jensen_shannon"


@pytest.mark.parametrize(
    ("served", "verdict"),
    [
        (NUMBERS, "stable"),
        (GENERATOR.normal(50, 10, MIN_ROWS), "stable"),
        (NUMBERS + 20, "drifted"),
        ((NUMBERS + 20)[: MIN_ROWS - 1], "too few rows"),
        (np.full(400, 1e300), "drifted"),
        (np.where(np.arange(400) < 100, np.nan, NUMBERS), "drifted"),
        (np.full(400, np.nan), "drifted"),
        ([], "too few rows"),
    ],
)
def test_verdicts_on_counts(served, verdict):
    column = bins_for(NUMBERS)
    assert binned_drift(column, column.count(np.array(served, dtype=float)).tolist()).verdict == verdict


def test_chance_alone_raises_no_alarm_on_counts():
    generator = np.random.default_rng(5)
    found = []
    for _ in range(20):
        column = bins_for(generator.normal(0, 1, MIN_ROWS))
        found.append(binned_drift(column, column.count(generator.normal(0, 1, MIN_ROWS)).tolist()))
    assert any(item.effect_size > 0.1 for item in found)
    assert {item.verdict for item in found} == {"stable"}


def test_rare_categories_are_not_named():
    column = bins_for([*CITIES, "a name", "x" * 200, *["y" * 200] * 9], "string")
    assert column.categories == ("Oslo", "Rome")


@pytest.mark.parametrize("name", ["a\0b", "\0", "\ud800", "x\udfff"])
def test_names_that_databases_refuse_count_as_others(name):
    column = bins_for([*["Oslo"] * 190, *[name] * 10], "string")
    assert (column.categories, column.reference) == (("Oslo",), (190, 10, 0))


@pytest.mark.parametrize(
    ("kind", "values"), [("string", [f"name {index}" for index in range(MAX_CATEGORIES + 1)]), ("datetime", CITIES)]
)
def test_column_without_bins(kind, values):
    schema = Schema((Feature("x", kind),), container="objects")
    assert bins_of(schema, as_column(values).reshape(-1, 1), None).columns == ()


@pytest.mark.parametrize(("width", "expected"), [(3, 3), (MAX_FEATURES + 1, MAX_FEATURES), (MAX_WIDTH + 1, 0)])
def test_counted_features_are_bounded(width, expected):
    assert len(countable_features(Schema(tuple(Feature(f"x{index}") for index in range(width))))) == expected


def test_predictions_are_the_last_column():
    schema = Schema((Feature("x"),), kind="classifier", classes=("no", "yes"))
    found = bins_of(schema, NUMBERS.reshape(-1, 1), LABELS)
    assert [(column.position, column.categories) for column in found.columns] == [(0, ()), (None, ("no", "yes"))]


def test_rows_of_each_container_are_counted_alike():
    import pandas as pd

    rows = [[1.0, "a"], [2.0, "b"]]
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": pd.Categorical(["a", "b"])})
    assert as_matrix(frame).tolist() == rows
    assert as_matrix(["a", "b"]).tolist() == [["a"], ["b"]]
