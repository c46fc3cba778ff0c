"""The models of this process: one immutable snapshot, replaced by one assignment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema
from models_registry.explanations.lazy import LazyExplainer
from models_registry.inference.api_key_cache import ApiKeyCache, KeyUses
from models_registry.inference.capture import Capture, CaptureQueue
from models_registry.inference.ground_truth import GroundTruthQueue
from models_registry.inference.mirroring import ShadowQueue, ShadowShare
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.routing import TrafficSplit, version_key
from models_registry.inference.served_rows import RowSample


class Predictor(Protocol):
    """Predicts rows in the schema's form."""

    async def predict(self, rows: Any, count: int) -> Prediction:
        """Return the predictions for `count` rows; exceptions of the model propagate."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that is loaded, verified and warmed up in this process."""

    name: str
    number: int
    version_id: int
    generation: int
    digest: str
    schema: Schema
    predictor: Predictor
    # The object with the methods besides `predict`, e.g. `transform`.
    estimator: Any
    explainer: LazyExplainer
    example: Any
    description: str
    # The form that serves, and how it was verified; reported to the registry.
    runs: dict[str, Any]
    loaded_at: datetime
    acceleration: bool = True
    activated_at: datetime | None = None
    # Distinguishes versions with equal id and number, of different states of the registry.
    build: str = ""
    # The first rows of its sample; empty without a sample.
    samples: tuple[Any, ...] = ()
    # Lowest and highest number of the sample, by feature name.
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # Its memory in bytes, as its validation measured it.
    memory_bytes: int = 0
    # Bodies up to this size are predicted inline, on the event loop; 0 if one row takes too long.
    inline_max_bytes: int = 0
    # Whether a call may be long and runs where it is awaited: above `inline_max_bytes` that must be a thread.
    blocks_loop: bool = False


@dataclass(frozen=True, slots=True)
class ServingSnapshot:
    """The served and the desired versions of a process; each request reads it once."""

    models: Mapping[str, LoadedModel] = field(default_factory=dict)
    # Loaded in addition to the active versions, by `version_key`: candidates.
    others: Mapping[str, LoadedModel] = field(default_factory=dict)
    splits: Mapping[str, TrafficSplit] = field(default_factory=dict)
    # Version numbers by model and alias.
    aliases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # Numbers of the desired active versions, by model.
    desired: Mapping[str, int] = field(default_factory=dict)
    # Desired versions that load at their first request and may be evicted.
    on_demand: frozenset[str] = frozenset()
    # Desired versions that are not loaded and have not failed.
    awaited: frozenset[str] = frozenset()
    # Public reasons why versions failed to load, by model.
    problems: Mapping[str, str] = field(default_factory=dict)
    # The model of requests that name no model.
    default: str | None = None
    has_read_desired_state: bool = False
    # Whether all desired models were served once: later failures must not take the process off a balancer.
    was_ready: bool = False

    def missing(self) -> dict[str, str]:
        """Return the reason for each desired model that is not served at all."""
        return {
            name: self.problems.get(name, f"version {number} is loading")
            for name, number in self.desired.items()
            if name not in self.models and name not in self.on_demand
        }

    def unloaded(self) -> dict[str, int]:
        """Return the active version of each model that is not loaded but loads at its next request."""
        return {name: self.desired[name] for name in self.on_demand if name not in self.models}

    def is_loadable(self, name: str, version: int | None = None) -> bool:
        """Return whether a request for a model, or this version of it, triggers a load."""
        return (
            name in self.on_demand
            and name not in self.models
            and name not in self.problems
            and version in {None, self.desired[name]}
        )

    def served_names(self) -> list[str]:
        """Return the models that a request may name, sorted: loaded ones and loadable ones."""
        return sorted({*self.models, *filter(self.is_loadable, self.on_demand)})

    def versions_of(self, name: str) -> dict[int, LoadedModel]:
        """Return the loaded versions of a model by number."""
        found = [*self.others.values(), *self.models.values()] if self.others else self.models.values()
        return {loaded.number: loaded for loaded in found if loaded.name == name}

    def route(self, loaded: LoadedModel, key: str) -> LoadedModel:
        """Return the version that answers a request for the active version `loaded` with this routing key."""
        split = self.splits.get(loaded.name)
        if split is None or not split.takes(key):
            return loaded
        return self.others.get(version_key(split.model, split.candidate), loaded)


class Runtime:
    """The snapshot, and the queues that requests fill."""

    def __init__(self) -> None:
        """Start without models."""
        self.snapshot = ServingSnapshot()
        self.keys: ApiKeyCache | None = None
        self.key_uses = KeyUses()
        self.swaps: Counter[str] = Counter()
        self.load_failures: Counter[str] = Counter()
        # How requests trigger loads; None if all models load in advance.
        self.on_demand: OnDemand | None = None
        self.desired_state_read_at: float | None = None
        # The log settings by model, and the calls that wait for the log's writer (agent/prediction_log.py).
        self.captures: Mapping[str, Capture] = {}
        self.captured = CaptureQueue()
        self.ground_truth = GroundTruthQueue()
        # The shadow's shares by model, and the copies that wait for the shadow (agent/shadow_runner.py).
        self.shadows: Mapping[str, ShadowShare] = {}
        self.mirrored = ShadowQueue()
        # The rows that wait to be counted by feature (agent/feature_counter.py), by version id.
        self.row_samples: Mapping[int, RowSample] = {}
        # What became of these rows, by (model, version, outcome): counted, dropped. Only the metrics read it.
        self.counted_rows: Counter[tuple[str, int, str]] = Counter()

    def post(self, **changes: Any) -> None:
        """Replace the snapshot with these changes by one assignment, so that no reader sees a partial change."""
        self.snapshot = replace(self.snapshot, **changes)

    def swap(self, loaded: LoadedModel) -> LoadedModel | None:
        """Serve `loaded` from now on; return the replaced version."""
        snapshot = self.snapshot
        self.snapshot = replace(snapshot, models={**snapshot.models, loaded.name: loaded})
        self.swaps[loaded.name] += 1
        return snapshot.models.get(loaded.name)

    def hold(self, key: str, loaded: LoadedModel) -> None:
        """Serve `loaded` in addition to the active version, under its `version_key`."""
        self.snapshot = replace(self.snapshot, others={**self.snapshot.others, key: loaded})

    def drop(self, key: str) -> None:
        """Stop serving a model by its name, or another version by its `version_key`."""
        models, others = dict(self.snapshot.models), dict(self.snapshot.others)
        models.pop(key, None)
        others.pop(key, None)
        self.snapshot = replace(self.snapshot, models=models, others=others)
