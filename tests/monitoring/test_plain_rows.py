"""Rows as a model took them, as a caller may send them again."""

from __future__ import annotations

import pytest

from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema
from models_registry.monitoring.plain_rows import instances_of

ROWS = [
    {"age": 30, "rate": 0.5, "member": True, "city": "a", "since": "2024-05-01T12:30:00"},
    {"age": None, "rate": None, "member": False, "city": None, "since": None},
]
TYPES = {"age": "integer", "rate": "float", "member": "boolean", "city": "string", "since": "datetime"}


def schema(container: str, names: tuple[str, ...]) -> Schema:
    inputs = tuple(Feature(name, TYPES[name], nullable=name != "member") for name in names)
    return Schema(inputs, container, True, "regressor", 1, None, ("predict",))


@pytest.mark.parametrize(
    ("container", "names"),
    [
        ("array", ("age", "rate", "member")),
        ("objects", ("age", "rate", "member", "city")),
        ("frame", tuple(TYPES)),
        ("text", ("city",)),
        ("records", ("age", "rate")),
    ],
)
def test_instances_are_those_that_were_sent(container, names):
    sent = [{name: row[name] for name in names} for row in ROWS]
    if container in ("records", "text"):
        sent = sent[:1]
    found = schema(container, names)
    assert instances_of(found.parse(sent), found) == sent
