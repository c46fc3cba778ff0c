"""What was last wished for, kept on the machine: a worker that starts while the database is away serves it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import structlog

from models_registry.services.wishes import Wish, Wishes

log = structlog.get_logger(__name__)


class RememberedWishes:
    """A file that the workers of a machine share; the last who has read the wish writes it."""

    def __init__(self, path: Path) -> None:
        """Keep them at `path`."""
        self._path = path
        self._kept: Wishes | None = None

    def keep(self, wishes: Wishes) -> None:
        """Write `wishes` down where they are others than before; a disk that takes nothing is said, no more."""
        if self._kept is not None and (self._kept, self._kept.first) == (wishes, wishes.first):
            return
        self._kept = wishes
        content = {"first": wishes.first, "wishes": [_to_json(wish) for wish in wishes.values()]}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".wishes-")
            with os.fdopen(descriptor, "w") as target:
                json.dump(content, target)
            Path(name).replace(self._path)
        except OSError as error:
            log.warning("wish_not_remembered", path=str(self._path), reason=str(error))

    def recall(self) -> Wishes | None:
        """Return what was kept last; None where nothing was, or nothing that can be read."""
        try:
            content = json.loads(self._path.read_text())
            found = Wishes()
            found.update({item["model"]: _from_json(item) for item in content["wishes"]})
            found.first = content["first"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("wish_not_recalled", path=str(self._path), reason=str(error))
            return None
        return found


def _to_json(wish: Wish) -> dict[str, object]:
    return asdict(wish) | {"activated_at": wish.activated_at.isoformat() if wish.activated_at else None}


def _from_json(item: dict[str, object]) -> Wish:
    moment = item["activated_at"]
    values = item | {"activated_at": datetime.fromisoformat(str(moment)) if moment else None}
    return Wish(**values)  # type: ignore[arg-type]  # written by this class; another form raises TypeError
