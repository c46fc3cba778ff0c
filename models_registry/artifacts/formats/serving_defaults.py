"""Settings that an estimator brings from its training and that do not fit a server."""

from collections.abc import Iterable
from typing import Any

from models_registry.artifacts.object_graph import is_definition

# One worker per processor serves already: more threads per model are slower there, and a fork from a model is a
# deadlock. A cache directory belongs to the machine that trained; here it would be written, and read as pickles.
_SERVING_SETTINGS: dict[str, Any] = {"n_jobs": 1, "_n_threads": 1, "memory": None, "verbose": 0}


def settle(objects: Iterable[Any]) -> None:
    """Give every estimator among `objects` the settings of a server."""
    for value in objects:
        settings = getattr(value, "__dict__", None)
        if isinstance(settings, dict) and not is_definition(value):
            for name in _SERVING_SETTINGS.keys() & settings.keys():
                settings[name] = _SERVING_SETTINGS[name]
