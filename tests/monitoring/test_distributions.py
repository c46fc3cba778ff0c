"""The bins of a column's plot, beside numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from models_registry.monitoring.distributions import MAX_BINS, OTHERS, category_distribution, number_distribution

GENERATOR = np.random.default_rng(4)


@pytest.mark.parametrize("scale", [1e-9, 1, 1e6, 1e200])
def test_counts_agree_with_numpy(scale):
    reference, current = GENERATOR.normal(0, scale, (2, 500))
    found = number_distribution(reference.tolist(), current.tolist())
    assert len(found.bins) == MAX_BINS
    edges = [
        -np.inf,
        *(float(name.split(" to ")[0]) for name in found.bins[1:-1]),
        float(found.bins[-1].split()[0]),
        np.inf,
    ]
    assert found.reference == tuple(np.histogram(reference, edges)[0])
    assert found.current == tuple(np.histogram(current, edges)[0])


def test_one_far_value_leaves_the_bins_narrow():
    values = GENERATOR.normal(0, 1, 500).tolist()
    far = number_distribution(values, [*values, 1e9])
    assert float(far.bins[-1].split()[0]) < 5
    assert far.current[-1] == far.reference[-1] + 1


@pytest.mark.parametrize(
    ("values", "bins", "counts"),
    [([0.0, 1.0, 1.0], ("0", "1"), (1, 2)), ([5.0], ("5",), (1,)), ([0.5, -1e10], ("-1e+10", "0.5"), (1, 1))],
)
def test_few_numbers_have_a_bin_each(values, bins, counts):
    found = number_distribution(values, values)
    assert (found.bins, found.reference, found.current) == (bins, counts, counts)


def test_numbers_that_are_nearly_all_the_same_are_counted():
    found = number_distribution([1.0] * 500, [1.0] * 500 + list(range(100, 112)))
    assert (sum(found.reference), sum(found.current)) == (500, 512)


def test_rare_categories_are_not_named():
    reference, current = ["Oslo"] * 90 + ["Rome"] * 10, ["Oslo"] * 50 + ["Bergen"] * 46 + ["12 Sea Road"] * 4
    found = category_distribution(reference, current)
    assert found.bins == ("Oslo", "Bergen", "Rome", OTHERS)
    assert (found.reference, found.current) == ((90, 0, 10, 0), (50, 46, 0, 4))


def test_many_categories_are_summed_up():
    names = [f"city {index}" for index in range(40)] * 10
    found = category_distribution(names, names)
    assert (len(found.bins), found.bins[-1], sum(found.current)) == (MAX_BINS, OTHERS, 400)


def test_two_categories_need_no_others():
    assert category_distribution(["a", "b"] * 9, ["a"] * 9).bins == ("a", "b")
