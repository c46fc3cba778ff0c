"""Replaces training settings of an estimator that do not suit a server."""

from collections.abc import Iterable
from typing import Any

from models_registry.artifacts.object_graph import is_definition

# Each processor already has a worker: more threads per model are slower, and a fork with running threads can deadlock.
# A cache directory belongs to the training machine; here pickles would be written to and read from it.
_SERVING_SETTINGS: dict[str, Any] = {"n_jobs": 1, "_n_threads": 1, "memory": None, "verbose": 0}


def settle(objects: Iterable[Any]) -> None:
    """Apply a server's settings to every estimator among `objects`."""
    for value in objects:
        settings = getattr(value, "__dict__", None)
        if isinstance(settings, dict) and not is_definition(value):
            for name in _SERVING_SETTINGS.keys() & settings.keys():
                settings[name] = _SERVING_SETTINGS[name]
