"""Decides which models a worker keeps in memory: all models, or the requested ones up to a limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from models_registry.errors import BrokenArtifact
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.runtime import ServingSnapshot
from models_registry.services.desired_state import DesiredModel, DesiredState


@dataclass(slots=True)
class Residency:
    """The models to keep in memory.

    Without `on_demand`, every model is kept. With it, a request for a model loads it. Pinned models are always kept,
    and so are both versions of a model with a candidate. `max_bytes` limits the memory of all loaded models; 0 means
    no limit.
    """

    on_demand: OnDemand | None = None
    pinned: frozenset[str] = frozenset()
    max_bytes: int = 0
    _asked: set[str] = field(default_factory=set)
    _dropped_at: dict[str, datetime] = field(default_factory=dict)

    def wants(self, name: str, desired: DesiredModel) -> bool:
        """Return whether a model should be in memory."""
        return name in self._asked or self._is_kept(name, desired)

    def on_demand_of(self, state: DesiredState) -> frozenset[str]:
        """Return the active models that load at their first request, whether loaded now or not."""
        if self.on_demand is None:
            return frozenset()
        return frozenset(name for name in state if not self._is_kept(name, state.of(name)))

    def take_asked(self, state: DesiredState) -> set[str]:
        """Return newly requested models; they should be in memory from now on."""
        if self.on_demand is None:
            return set()
        new = {name for name in self.on_demand.asked() if name in state} - self._asked
        self._asked |= new
        return new

    def forget(self, name: str) -> None:
        """Mark a model as not needed, until it is requested again."""
        self._asked.discard(name)
        self._dropped_at[name] = datetime.now(UTC)

    def dropped_at(self, name: str) -> datetime | None:
        """Return when a model was last unloaded; None if it never was."""
        return self._dropped_at.get(name)

    def end_waits(self, snapshot: ServingSnapshot) -> None:
        """Wake the requests whose model is loaded, has failed to load, or should no longer be served."""
        if self.on_demand is None:
            return
        for name in self.on_demand.asked():
            if name in snapshot.models or name in snapshot.problems or name not in snapshot.desired:
                self.on_demand.end_wait(name)

    def to_drop(self, key: str, needed_bytes: int, snapshot: ServingSnapshot) -> list[str]:
        """Return the least recently used models to unload before a version of `needed_bytes` is loaded as `key`.

        Raises BrokenArtifact if unloading all evictable models frees too little memory.
        """
        if self.on_demand is None or not self.max_bytes:
            return []
        held = {**snapshot.models, **snapshot.others}
        # The replaced version is unloaded after the load.
        held.pop(key, None)
        total = needed_bytes + sum(loaded.memory_bytes for loaded in held.values())
        dropped = []
        for name in sorted(snapshot.on_demand & held.keys(), key=self.on_demand.used_at):
            if total <= self.max_bytes:
                break
            total -= held[name].memory_bytes
            dropped.append(name)
        if total > self.max_bytes:
            kept = total - needed_bytes
            raise BrokenArtifact(
                f"It takes about {needed_bytes / 1e6:.0f} MB beside {kept / 1e6:.0f} MB of models that are always "
                f"kept, and MODELS_MEMORY_MB allows {self.max_bytes / 1e6:.0f}. Raise it, or pin fewer models "
                "(MODELS_PINNED)."
            )
        return dropped

    def _is_kept(self, name: str, desired: DesiredModel) -> bool:
        return self.on_demand is None or name in self.pinned or desired.candidate is not None
