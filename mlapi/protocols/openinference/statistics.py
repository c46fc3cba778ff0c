"""Counts and durations of the models' predictions, in the form of Triton's statistics extension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlapi.protocols.base import Call, Handler, Reply, find_model
from mlapi.protocols.openinference.replies import json_reply
from models_registry.inference.runtime import Runtime


@dataclass(frozen=True, slots=True)
class VersionStatistics:
    """The predictions of one version, over every protocol and every worker."""

    succeeded: int = 0
    failed: int = 0
    rows: int = 0
    calls: int = 0
    total_seconds: float = 0.0
    waiting_seconds: float = 0.0
    model_seconds: float = 0.0


StatisticsOf = Callable[[Sequence[tuple[str, int]]], Sequence[VersionStatistics]]


def statistics(statistics_of: StatisticsOf) -> Handler:
    """Return a handler that answers with the results of `statistics_of` for (model, version) pairs, in their order."""

    def answer(call: Call, runtime: Runtime) -> Reply:
        snapshot = runtime.snapshot
        if call.model is None:
            versions = [(loaded.name, loaded.number) for loaded in snapshot.models.values()]
        else:
            loaded = find_model(snapshot, call.model, call.version)
            versions = [(loaded.name, loaded.number)]
        lines = zip(versions, statistics_of(versions), strict=True)
        return json_reply({"model_stats": [_line(name, number, counted) for (name, number), counted in lines]})

    return answer


def _line(name: str, number: int, counted: VersionStatistics) -> dict[str, Any]:
    done = counted.succeeded
    return {
        "name": name,
        "version": str(number),
        "inference_count": counted.rows,
        "execution_count": counted.calls,
        "inference_stats": {
            "success": _duration(done, counted.total_seconds),
            "fail": _duration(counted.failed, 0.0),
            "queue": _duration(done, counted.waiting_seconds),
            "compute_input": _duration(done, 0.0),
            "compute_infer": _duration(done, counted.model_seconds),
            "compute_output": _duration(done, 0.0),
        },
        "batch_stats": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
