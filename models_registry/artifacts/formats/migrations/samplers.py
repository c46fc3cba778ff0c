"""Training-only parts of imbalanced-learn's pipelines and ensembles."""

from __future__ import annotations

from typing import Any

from models_registry.artifacts.formats.migrations.change import Written
from models_registry.artifacts.formats.migrations.stand_ins import SkippedSampler

PASSED_BY = "passthrough"
_OF_TRAINING = ("samplers_", "pipelines_", "base_sampler_", "sampler", "sampler_")


def pass_samplers_by(written: Written) -> None:
    """Replace a sampler by a step that passes the rows on, like imbalanced-learn in a prediction."""
    steps = written.state.get("steps")
    if isinstance(steps, list) and any(map(_is_sampled, steps)):
        written.state["steps"] = [(step[0], PASSED_BY) if _is_sampled(step) else step for step in steps]


def forget_samplers(written: Written) -> None:
    """Remove the samplers of an imbalanced-learn ensemble; its estimators do not need them."""
    for name in _OF_TRAINING:
        written.state.pop(name, None)


def _is_sampled(step: Any) -> bool:
    return isinstance(step, tuple) and len(step) == 2 and type(step[1]) is SkippedSampler
