"""A checked version as a function for engines that spread batches over processes: Ray Data, Daft, Spark."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from models_registry.errors import ScoringRefused
from models_registry.scoring.reading import Batch

if TYPE_CHECKING:
    from models_registry.scoring.versions import OpenedVersion

_opened: dict[tuple[str, int, str], OpenedVersion] = {}
_opening = threading.Lock()


class mlapi_model:  # noqa: N801 - a caller writes it as a function: ds.map_batches(mlapi_model("churn", 3))
    """Predicts batches with one version of a model, found by name and number and held by its digest.

    It opens the version at its first batch in each process, through the same loader as a replica; MODELS_STORAGE and
    DATABASE_URL say where the registry is. A batch is a pyarrow Table, a pandas DataFrame or a dict of arrays; what
    comes back has the same kind and rows, and the columns `prediction`, `confidence`, and `probability_<class>` with
    `probabilities`. Raises RegistryError for a version that is not ready, InputError for rows that it does not take.
    """

    def __init__(self, name: str, version: int | None = None, *, probabilities: bool = False) -> None:
        """Find version `version` of model `name`; the active one where none is given."""
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

        table, back = _as_table(batch)
        opened = self._open()
        rows = Batch(table)
        prediction = opened.predict(rows.model_input(opened.schema), rows.count)
        columns = answer_columns(prediction, opened.schema, with_probabilities=self._probabilities)
        for name, values in columns.items():
            table = table.append_column(name, pa.array(values))
        return back(table)

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


def _as_table(batch: Any) -> tuple[pa.Table, Any]:
    """Return a batch as a table, and the function that turns a table into a batch of its kind."""
    if isinstance(batch, pa.Table):
        return batch, lambda table: table
    if isinstance(batch, Mapping):
        return pa.table(dict(batch)), lambda table: {
            name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names
        }
    if type(batch).__module__.startswith("pandas"):
        index = batch.index
        return pa.Table.from_pandas(batch, preserve_index=False), lambda table: table.to_pandas().set_index(index)
    raise ScoringRefused(
        f"A batch is {type(batch).__name__}; expected a pyarrow Table, a pandas DataFrame or a dict of arrays."
    )
