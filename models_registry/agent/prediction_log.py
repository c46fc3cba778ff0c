"""Writes logged calls and ground truth to the storage of the prediction log, in one thread per worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from models_registry import services
from models_registry.agent.fleet import Fleet
from models_registry.agent.log_files import Group, LogFiles
from models_registry.agent.lookout import Lookout
from models_registry.agent.periodic import PeriodicThread
from models_registry.inference.bounded_queue import Key
from models_registry.inference.capture import CapturedCall
from models_registry.inference.ground_truth import LabelBatch
from models_registry.inference.runtime import Runtime
from models_registry.parquet import Column
from models_registry.storage import LogStorage
from models_registry.storage.log_files import ground_truth_folder


class PredictionLogWriter:
    """Two queues, one thread: if one queue is full, the other is not affected."""

    def __init__(
        self,
        runtime: Runtime,
        storage: LogStorage,
        *,
        directory: Path,
        hash_key: bytes,
        poll_seconds: float,
        lookout: Lookout | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        """Write the calls that `runtime` logs to `storage`; files wait below `directory`, which workers share.

        `lookout` reads the log settings, less often in a large `fleet`.
        """
        self._runtime = runtime
        self._predictions = LogFiles(
            runtime.captured, storage, directory=directory, form=PredictionForm(hash_key=hash_key)
        )
        self._ground_truth = LogFiles(
            runtime.ground_truth, storage, directory=directory / "ground_truth", form=GroundTruthForm()
        )
        seconds = max(1.0, poll_seconds)
        if lookout is not None:
            lookout.add(self.read, seconds=partial((fleet or Fleet()).pause_seconds, seconds))
        self._thread = PeriodicThread("prediction_log", self.write, seconds=seconds, last_step=self.finish)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Write the waiting rows, and stop."""
        self._thread.stop()

    def read(self) -> bool:
        """Read the log settings, and return False: no loop needs to wake. Raises DatabaseError."""
        self._runtime.captures = services.read_captures()
        return False

    def finish(self) -> None:
        """Close every file, and upload the waiting files."""
        self.write(is_last=True)

    def write(self, *, is_last: bool = False) -> None:
        """Close full or old files, or all of them if `is_last`, and upload the waiting files."""
        self._predictions.write(is_last=is_last)
        self._ground_truth.write(is_last=is_last)


@dataclass(frozen=True, slots=True)
class PredictionForm:
    """Files by version and hour of the request; `hash_key` is the key of column hashes."""

    hash_key: bytes

    def group(self, item: CapturedCall) -> Group:
        """Return the directory of a call's version and hour, and the settings that determine the columns."""
        return f"{item.model}/version={item.version}/{item.at:date=%Y-%m-%d/hour=%H}", hash(item.settings)

    def table(self, items: Sequence[CapturedCall]) -> dict[str, Column]:
        """Return one row for each prediction."""
        from models_registry.monitoring.log_table import table_of

        return table_of(items, key=self.hash_key)

    def count_key(self, folder: str) -> Key:
        """Return the model and the version."""
        model, version, *_ = folder.split("/")
        return model, int(version.removeprefix("version="))


class GroundTruthForm:
    """Files by model and hour of the arrival."""

    def group(self, item: LabelBatch) -> Group:
        """Return the directory of a model and hour."""
        return f"{ground_truth_folder(item.model)}/{item.at:date=%Y-%m-%d/hour=%H}", 0

    def table(self, items: Sequence[LabelBatch]) -> dict[str, Column]:
        """Return one row for each label."""
        from models_registry.monitoring.log_table import label_table

        return label_table(items)

    def count_key(self, folder: str) -> Key:
        """Return the model."""
        return (folder.split("/")[1],)
