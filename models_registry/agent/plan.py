"""From what should run and what runs to what is to be done: pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Prepare this version of the model and swap it in."""

    model: str
    version: Hashable


@dataclass(frozen=True, slots=True)
class Drop:
    """Serve this model no longer."""

    model: str


def plan(desired: Mapping[str, Hashable], running: Mapping[str, Hashable]) -> list[Load | Drop]:
    """Return the steps from `running` to `desired`, both version by model name; what agrees is left alone.

    A version is whatever tells two of them apart: a number, or a number with what else matters to the process.
    """
    loads: list[Load | Drop] = [
        Load(model, version) for model, version in desired.items() if running.get(model) != version
    ]
    return loads + [Drop(model) for model in running if model not in desired]
