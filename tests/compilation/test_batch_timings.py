"""From how many rows on the native form is faster."""

from __future__ import annotations

import pytest

from models_registry.compilation.batch_timings import MAX_BYTES, BatchTiming, measure, native_from_rows
from models_registry.compilation.timing import is_clear

ROW, BATCH = (1, 4_000.0, 10.0), (64, 4_200.0, 700.0)


@pytest.mark.parametrize(
    ("timings", "expected"),
    [
        ((), None),
        ([ROW, BATCH], None),
        ([ROW, BATCH, (1_064, 5_200.0, 10_700.0)], 453),
        ([ROW, BATCH, (1_024, 7_000.0, 7_100.0), (8_192, 20_000.0, 80_000.0)], 1_035),
        ([ROW, BATCH, (1_024, 7_100.0, 7_000.0), (8_192, 70_000.0, 80_000.0)], None),
        ([ROW, (64, 600.0, 700.0), (1_024, 5_000.0, 9_000.0)], 64),
        ([ROW, (64, 500.0, 700.0), (1_024, 9_000.0, 9_100.0), (8_192, 20_000.0, 80_000.0)], 1_024),
    ],
    ids=["none", "never", "crossing", "late crossing", "not clearly", "slower by noise", "clear by noise in between"],
)
def test_native_form_answers_where_it_is_clearly_faster(timings: list[BatchTiming], expected: int | None) -> None:
    found = native_from_rows(timings)
    assert found is None if expected is None else found == pytest.approx(expected, abs=15)


@pytest.mark.parametrize(
    ("native_row", "compiled_row", "features", "expected"),
    [
        (2.0, 7.0, 64, [1, 64, 1_024, 8_192]),
        (10.0, 2.0, 64, [1, 64, 1_024]),
        (2.0, 7.0, MAX_BYTES // 8 // 2_000, [1, 64, 1_024]),
        (900.0, 4_000.0, 64, [1, 64]),
    ],
    ids=["native may catch up", "native never catches up", "too wide", "too slow"],
)
def test_only_sizes_that_may_change_the_choice_are_timed(
    native_row: float, compiled_row: float, features: int, expected: list[int]
) -> None:
    def take(rows: int) -> tuple[float, float]:
        return 4_000.0 + native_row * rows, 10.0 + compiled_row * rows

    known = [(rows, *take(rows)) for rows in (1, 64)]
    assert [rows for rows, *_ in measure(known, take, features=features)] == expected


FAST, SLOW = [0.01 + call / 10_000 for call in range(16)], [0.04 + call / 10_000 for call in range(16)]


@pytest.mark.parametrize(
    ("first", "second", "is_enough"),
    [
        (SLOW, FAST, True),
        (FAST, SLOW, True),
        (SLOW[:15], FAST[:15], False),
        (FAST, [taken * 2.5 for taken in FAST], False),
        (FAST, FAST, False),
    ],
    ids=["compiled is faster", "native is faster", "few calls", "close", "equal"],
)
def test_few_calls_suffice_where_one_form_is_far_ahead(first, second, is_enough):
    assert is_clear(first, second) is is_enough
