"""A checked version as a function for engines that spread batches over processes: Ray Data, Daft, Spark."""

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
    """Predicts batches with one version of a model, found by name and number and held by its digest.

    It opens the version at its first batch in each process, through the same loader as a replica; MODELS_STORAGE and
    DATABASE_URL say where the registry is. A batch is a dict of arrays, a pandas DataFrame or a pyarrow Table; what
    comes back has the same kind and rows, and the columns `prediction`, `confidence`, and `probability_<class>` with
    `probabilities`. Raises RegistryError for a version that is not ready, InputError for rows that it does not take.
    """

    def __init__(self, name: str, version: int | None = None, *, probabilities: bool = False) -> None:
        """Find version `version` of model `name`; the active one if none is given."""
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
        """Return the version, which each process opens once, however many copies of the function it is given."""
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
    """Set Django up in a process that has not."""
    import django
    from django.apps import apps

    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")
        django.setup()


def _as_columns(batch: Any) -> tuple[Columns, Callable[[dict[str, list[Any]]], Any]]:
    """Return the columns of a batch, and the function that gives the batch with more of them."""
    if isinstance(batch, Mapping):
        arrays = {name: np.asarray(values) for name, values in batch.items()}
        return _columns(arrays), lambda added: {**arrays, **{name: _array(values) for name, values in added.items()}}
    if type(batch).__module__.startswith("pandas"):
        frame = {str(name): _of_frame(batch[name]) for name in batch.columns}
        return _columns(frame), lambda added: batch.assign(**{name: _array(values) for name, values in added.items()})
    if type(batch).__module__.startswith("pyarrow"):
        # pyarrow is the caller's: this package has none.
        return _columns(batch.to_pydict()), lambda added: _appended(batch, added)
    raise ScoringRefused(
        f"A batch is {type(batch).__name__}; expected a dict of arrays, a pandas DataFrame or a pyarrow Table."
    )


def _columns(columns: Mapping[str, Any]) -> Columns:
    return Columns(columns, len(next(iter(columns.values()), ())))


def _of_frame(series: Any) -> Any:
    """Return a column as an array, or as a list in which a missing value is None."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufM":
        return series.to_numpy()
    return series.astype(object).where(series.notna(), None).tolist()


def _array(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return an array of numbers or booleans, or else of objects."""
    if {type(value) for value in values} in ({int}, {float}, {bool}):
        return np.array(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _appended(table: Any, added: dict[str, list[Any]]) -> Any:
    for name, values in added.items():
        table = table.append_column(name, [values])
    return table
