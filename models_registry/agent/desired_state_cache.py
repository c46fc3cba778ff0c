"""The last desired state, kept on the machine: a worker that starts while the database is away serves it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import structlog

from models_registry.inference.routing import TrafficSplit
from models_registry.services.desired_state import DesiredState, DesiredVersion

log = structlog.get_logger(__name__)


class DesiredStateCache:
    """A file that the workers of a machine share; the last who has read the desired state writes it."""

    def __init__(self, path: Path) -> None:
        """Keep them at `path`."""
        self._path = path
        self._kept: dict[str, object] | None = None

    def keep(self, desired_state: DesiredState) -> None:
        """Write `desired_state` down where they are others than before; a disk that takes nothing is said, no more."""
        content: dict[str, object] = {
            "first": desired_state.first,
            "desired_state": [_to_json(desired) for desired in desired_state.versions().values()],
            "splits": [asdict(split) for split in desired_state.splits.values()],
        }
        if content == self._kept:
            return
        self._kept = content
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".desired_state-")
            with os.fdopen(descriptor, "w") as target:
                json.dump(content, target)
            Path(name).replace(self._path)
        except OSError as error:
            log.warning("desired_state_not_cached", path=str(self._path), reason=str(error))

    def recall(self) -> DesiredState | None:
        """Return what was kept last; None where nothing was, or nothing that can be read."""
        try:
            content = json.loads(self._path.read_text())
            found = DesiredState()
            for desired in map(_from_json, content["desired_state"]):
                (found if desired.is_active else found.others)[desired.key] = desired
            # An earlier release wrote none.
            found.splits.update({item["model"]: TrafficSplit(**item) for item in content.get("splits", ())})
            found.first = content["first"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("desired_state_not_restored", path=str(self._path), reason=str(error))
            return None
        return found


def _to_json(desired: DesiredVersion) -> dict[str, object]:
    return asdict(desired) | {"activated_at": desired.activated_at.isoformat() if desired.activated_at else None}


def _from_json(item: dict[str, object]) -> DesiredVersion:
    moment = item["activated_at"]
    values = item | {"activated_at": datetime.fromisoformat(str(moment)) if moment else None}
    return DesiredVersion(**values)  # type: ignore[arg-type]  # written by this class; another form raises TypeError
