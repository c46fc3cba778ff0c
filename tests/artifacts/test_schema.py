"""The errors of a schema for rows that do not fit."""

from __future__ import annotations

import difflib

import pytest

from models_registry.artifacts import suggestions
from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.errors import InputError

NAMES = [f"average consumption of hour {hour:02} of day {day:02}, in kWh" for day in range(20) for hour in range(24)]
MANY = Schema(tuple(Feature(name) for name in NAMES), named=True)


@pytest.fixture
def compared(monkeypatch) -> list[str]:
    """Return the names that a misspelt one is compared with."""
    found: list[str] = []
    get_close_matches = difflib.get_close_matches

    def note(word, names, **given):
        assert len(word) <= 200
        found.extend(names)
        return get_close_matches(word, names, **given)

    monkeypatch.setattr(suggestions.difflib, "get_close_matches", note)
    return found


@pytest.mark.parametrize("meant", [NAMES[0], NAMES[250], NAMES[-1]])
@pytest.mark.parametrize("misspell", [lambda name: name[1:], lambda name: name.replace("hour", "huor")])
def test_a_misspelt_name_is_guessed_among_many(compared, meant, misspell):
    row = dict.fromkeys(NAMES, 0.0)
    del row[meant], row[NAMES[100]]
    with pytest.raises(InputError) as error:
        MANY.parse([{**row, misspell(meant): 0.0}])
    assert error.value.details["expected"] == meant


def test_misspelt_name_is_compared_with_few_names(compared):
    for name in (NAMES[0][1:], "x" * 5_000_000):
        with pytest.raises(InputError) as error:
            MANY.parse([{name: 0.0}])
        assert len(str(error.value)) < 2_000
    assert 16 <= len(compared) <= 32


def test_texts_of_a_frame_are_pythons_own():
    schema = Schema((Feature("a", type="string"),), container="frame", named=True)
    assert schema.parse([{"a": "x"}])["a"].dtype.storage == "python"
