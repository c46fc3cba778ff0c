"""A validated version as a function for distributed engines: Ray Data, Daft, Spark."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models_registry.errors import ScoringRefused
from models_registry.scoring.batches import Columns

if TYPE_CHECKING:
    from models_registry.scoring.versions import OpenedVersion

_opened: dict[tuple[str, int, str], OpenedVersion] = {}
_opening = threading.Lock()


class mlapi_model:  # noqa: N801 - a caller writes it as a function: ds.map_batches(mlapi_model("churn", 3))
    """Predicts batches with one version of a model, found by name and number and fixed by its digest.

    Each process loads the version at its first batch, with the same loader as a replica; MODELS_STORAGE and
    DATABASE_URL locate the registry. A batch is a dict of arrays, a pandas DataFrame or a pyarrow Table. The result has
    the same type and rows, plus the columns `prediction`, `confidence`, and, with `probabilities`,
    `probability_<class>`. Raises RegistryError for a version that is not ready, InputError for invalid rows.
    """

    def __init__(self, name: str, version: int | None = None, *, probabilities: bool = False) -> None:
        """Find version `version` of model `name`, by default the active one."""
        _set_up()
        from models_registry.scoring.versions import find_version

        found = find_version(name if version is None else f"{name}:{version}")
        self.name = name
        self.version = found.number
        self.digest = found.digest
        self._probabilities = probabilities

    def __call__(self, batch: Any) -> Any:
        """Return `batch` with the columns of the prediction."""
        from models_registry.scoring.writing import answer_columns

        rows, add = _as_columns(batch)
        opened = self._open()
        prediction = opened.predict(rows.model_input(opened.schema), rows.count)
        return add(answer_columns(prediction, opened.schema, with_probabilities=self._probabilities))

    def _open(self) -> OpenedVersion:
        """Return the version, which each process loads once for all copies of the function."""
        key = (self.name, self.version, self.digest)
        with _opening:
            if key not in _opened:
                _opened[key] = self._open_anew()
            return _opened[key]

    def _open_anew(self) -> OpenedVersion:
        _set_up()
        from models_registry.scoring.versions import find_version, open_version

        found = find_version(f"{self.name}:{self.version}")
        if found.digest != self.digest:
            raise ScoringRefused(
                f"{found} has the digest {found.digest}, and the job began with {self.digest}: the registry is "
                "another one. Point DATABASE_URL of every process at the same registry."
            )
        return open_version(found)


def _set_up() -> None:
    """Set up Django if the process has not done so."""
    import django
    from django.apps import apps

    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")
        django.setup()


def _as_columns(batch: Any) -> tuple[Columns, Callable[[dict[str, list[Any]]], Any]]:
    """Return the columns of a batch, and a function that returns the batch with additional columns."""
    if isinstance(batch, Mapping):
        arrays = {name: np.asarray(values) for name, values in batch.items()}
        return _columns(arrays), lambda added: {**arrays, **{name: _array(values) for name, values in added.items()}}
    if type(batch).__module__.startswith("pandas"):
        frame = {str(name): _of_frame(batch[name]) for name in batch.columns}
        return _columns(frame), lambda added: batch.assign(**{name: _array(values) for name, values in added.items()})
    if type(batch).__module__.startswith("pyarrow"):
        # The caller provides pyarrow: this package does not require it.
        return _columns(batch.to_pydict()), lambda added: _appended(batch, added)
    raise ScoringRefused(
        f"A batch is {type(batch).__name__}; expected a dict of arrays, a pandas DataFrame or a pyarrow Table."
    )


def _columns(columns: Mapping[str, Any]) -> Columns:
    return Columns(columns, len(next(iter(columns.values()), ())))


def _of_frame(series: Any) -> Any:
    """Return a column as an array, or as a list with None for missing values."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufM":
        return series.to_numpy()
    return series.astype(object).where(series.notna(), None).tolist()


def _array(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return a numeric or boolean array, or else an object array."""
    if {type(value) for value in values} in ({int}, {float}, {bool}):
        return np.array(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _appended(table: Any, added: dict[str, list[Any]]) -> Any:
    for name, values in added.items():
        table = table.append_column(name, [values])
    return table
