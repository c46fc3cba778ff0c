"""Computes the steps from the running versions to the desired ones, without side effects."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Prepare this version of the model and make it the served one."""

    model: str
    version: Hashable


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop serving this model."""

    model: str


def plan(desired: Mapping[str, Hashable], running: Mapping[str, Hashable]) -> list[Load | Drop]:
    """Return the steps from `running` to `desired`, which map model names to versions; equal entries need none.

    A version is any value that identifies it: a number, or a number with other relevant fields.
    """
    loads: list[Load | Drop] = [
        Load(model, version) for model, version in desired.items() if running.get(model) != version
    ]
    return loads + [Drop(model) for model in running if model not in desired]
