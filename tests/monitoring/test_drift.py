"""Effect sizes of drift, their verdicts, and their agreement with Evidently."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models_registry.monitoring.drift import CATEGORY, MAX_CATEGORIES, MIN_ROWS, NUMBER, column_drift

EVIDENTLY = json.loads(Path(__file__).with_name("evidently_figures.json").read_text())
GENERATOR = np.random.default_rng(3)
NUMBERS = GENERATOR.normal(50, 10, 400).tolist()
CITIES = GENERATOR.choice(["Oslo", "Rome"], 400, p=[0.8, 0.2]).tolist()


@pytest.mark.parametrize("name", sorted(EVIDENTLY["effect_sizes"]))
def test_effect_sizes_agree_with_evidently(name):
    reference, current = EVIDENTLY["reference"][name], EVIDENTLY["current"][name]
    kind = CATEGORY if isinstance(reference[0], str) else NUMBER
    found = column_drift(reference, current, kind)
    assert found.effect_size == pytest.approx(EVIDENTLY["effect_sizes"][name], rel=1e-9)
    assert found.verdict == ("stable" if name == "same" else "drifted")


@pytest.mark.parametrize(
    ("current", "kind", "verdict"),
    [
        (NUMBERS, NUMBER, "stable"),
        ([value + 20 for value in NUMBERS], NUMBER, "drifted"),
        ([None] * 100 + NUMBERS[100:], NUMBER, "drifted"),
        ([None] * 400, NUMBER, "drifted"),
        ([float("nan")] * 100 + NUMBERS[100:], NUMBER, "drifted"),
        ([value + 20 for value in NUMBERS[: MIN_ROWS - 1]], NUMBER, "too few rows"),
        ([value + 20 for value in NUMBERS[:MIN_ROWS]], NUMBER, "drifted"),
        ([], NUMBER, "too few rows"),
        (CITIES, CATEGORY, "stable"),
        (["Rome"] * 400, CATEGORY, "drifted"),
        (["Bergen"] * 400, CATEGORY, "drifted"),
        ([None] * 400, CATEGORY, "drifted"),
        (["Rome"] * (MIN_ROWS - 1), CATEGORY, "too few rows"),
        ([f"name {index}" for index in range(MAX_CATEGORIES)] * 3, CATEGORY, "not compared"),
    ],
)
def test_verdicts(current, kind, verdict):
    assert column_drift(NUMBERS if kind == NUMBER else CITIES, current, kind).verdict == verdict


def test_small_reference_raises_no_alarm():
    assert column_drift(NUMBERS[: MIN_ROWS - 1], [0.0] * 400, NUMBER).verdict == "too few rows"


def test_chance_alone_raises_no_alarm():
    generator = np.random.default_rng(5)
    found = [column_drift(*generator.standard_cauchy((2, MIN_ROWS)).tolist(), NUMBER) for _ in range(10)]
    assert any(item.effect_size > 0.1 for item in found)
    assert [item.verdict for item in found] == ["stable"] * 10


def test_whole_floats_and_integers_are_one_category():
    assert column_drift([1, 2] * 200, [1.0, 2.0] * 200, CATEGORY).effect_size == 0


def test_values_too_large_are_not_compared():
    assert column_drift([1e308, -1e308] * 200, NUMBERS, NUMBER).verdict == "not compared"
