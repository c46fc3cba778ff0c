"""A version that should be loaded, with all that is needed to load it. This module uses no database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models_registry.inference.routing import version_key


@dataclass(frozen=True, slots=True)
class DesiredVersion:
    """A version that replicas should load: its identity, and the location of its bytes."""

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
        """Return the name under which a replica holds the version: the model's name if it is active."""
        return self.model if self.is_active else version_key(self.model, self.number)

    @property
    def build(self) -> str:
        """Return a key for these bytes and how they are served.

        Ids, numbers and generations are not part of it: a restored or replaced registry assigns them again. A version's
        schema and sample change only when it is validated again.
        """
        checked = self.checked_at.isoformat() if self.checked_at else ""
        return f"{self.version_id}/{self.number}/{self.format}/{self.digest}/{self.acceleration}/{checked}"


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """The data that a replica needs to load a version, besides its bytes: about 25 kB, discarded after the load."""

    schema: dict[str, Any]
    sample: dict[str, Any] | None
    report: dict[str, Any]
    description: str
