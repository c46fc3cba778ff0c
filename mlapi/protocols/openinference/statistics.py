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
            asked = [(loaded.name, loaded.number) for loaded in snapshot.models.values()]
        else:
            loaded = find_model(snapshot, call.model, call.version)
            asked = [(loaded.name, loaded.number)]
        lines = zip(asked, statistics_of(asked), strict=True)
        return json_reply({"model_stats": [_line(name, number, one) for (name, number), one in lines]})

    return answer


def _line(name: str, number: int, one: VersionStatistics) -> dict[str, Any]:
    done = one.succeeded
    return {
        "name": name,
        "version": str(number),
        "inference_count": one.rows,
        "execution_count": one.calls,
        "inference_stats": {
            "success": _duration(done, one.total_seconds),
            "fail": _duration(one.failed, 0.0),
            "queue": _duration(done, one.waiting_seconds),
            "compute_input": _duration(done, 0.0),
            "compute_infer": _duration(done, one.model_seconds),
            "compute_output": _duration(done, 0.0),
        },
        "batch_stats": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
