"""A version that should be loaded: what it is, and what opens it. It knows no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models_registry.inference.routing import version_key


@dataclass(frozen=True, slots=True)
class DesiredVersion:
    """A version that replicas should load: what tells it apart from another, and where its bytes are."""

    model: str
    model_id: int
    version_id: int
    number: int
    generation: int
    acceleration: bool
    format: str
    storage_key: str
    storage_version: str
    size_bytes: int
    digest: str
    checked_at: datetime | None
    activated_at: datetime | None = field(default=None, compare=False)
    is_active: bool = True
    parts: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """Return under which name a replica holds it: the model's if it is the active version."""
        return self.model if self.is_active else version_key(self.model, self.number)

    @property
    def build(self) -> str:
        """Return what tells these bytes, and how they should serve, apart from any others.

        Ids, numbers and generations do not: a registry that is restored from a backup, or replaced, gives them again.
        A version's schema and sample change with its check alone.
        """
        checked = self.checked_at.isoformat() if self.checked_at else ""
        return f"{self.version_id}/{self.number}/{self.format}/{self.digest}/{self.acceleration}/{checked}"


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """What a replica needs to load a version beside its bytes; some 25 kB, and not held once it is loaded."""

    schema: dict[str, Any]
    sample: dict[str, Any] | None
    report: dict[str, Any]
    description: str
