"""Which name was meant, and how many of them are shown."""

from __future__ import annotations

from models_registry.artifacts.suggestions import closest, shown


def test_the_closest_name_is_found_or_none():
    assert closest("chrun", ["churn", "digits"]) == "churn"
    assert closest("chrun", []) is None
    assert closest("chrun", ["wine", "digits"]) is None
    assert closest("model-117x", [f"model-{number}" for number in range(1_000)]) == "model-117"


def test_names_beyond_the_first_few_are_counted():
    assert shown(["a", "b"]) == "'a', 'b'"
    assert shown([str(number) for number in range(20)]).endswith("'7' and 12 more")
