"""Loads a desired version: opens it, verifies it, and warms it up."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import structlog

from models_registry.artifacts import formats
from models_registry.artifacts.cache import ArtifactCache, CachedArtifact, Copy
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.prediction import call
from models_registry.artifacts.sample import ranges, verify_sample
from models_registry.artifacts.schema import Schema
from models_registry.errors import ArtifactError, BrokenArtifact, StorageUnavailable
from models_registry.explanations.lazy import LazyExplainer
from models_registry.inference import memory
from models_registry.inference.batching import DynamicBatcher, UnbatchedPredictor
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.form_by_rows import FormByRows
from models_registry.inference.model_calls import under_way
from models_registry.inference.runtime import LoadedModel, Predictor

if TYPE_CHECKING:
    from models_registry.compilation import AccelerationReport, AccelerationRequest

log = structlog.get_logger(__name__)

# Sample rows that a page offers to try; at most a kilobyte each.
SHOWN_SAMPLES = 5
WARM_UP_PREDICTIONS = 3
# A row that takes at most this time is predicted on the event loop, where it delays all other requests. It bounds that
# delay; the time of a row is measured at each load.
INLINE_SECONDS = 0.0005
# Several rows that together take at most this time are also predicted on the event loop.
INLINE_ROWS_SECONDS = 0.002
# The limit instead, if the rows need no more space than one row with names and all digits.
MAX_INLINE_SECONDS = 0.005
# Rows of the call that is timed, to estimate the time of several rows.
TIMED_ROWS = 128
# The first calls of a model take several times as long as later ones.
TIMED_CALLS = 30
TIMED_SECONDS = 0.05
# Time to read a row and to write its prediction, without the model.
ROW_OVERHEAD_SECONDS = 0.000005
# Additional time to write each number of the prediction.
OUTPUT_OVERHEAD_SECONDS = 0.0000003
# A number with all digits, plus its name and separators.
NUMBER_BYTES = 32
# Some dozens of rows of usual width.
MAX_INLINE_BYTES = 8_192
# Memory in addition to the load test's measurement: the worker itself, and the running requests.
MEMORY_RESERVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which a version is served.

    `model` predicts, `estimator` has the other methods, and `runs` describes the form. `native` is the native model,
    None if only the compiled form is in memory. From `native_from_rows` rows, the native model predicts; None: never.
    With `by_library`, boosters then use their own library.
    """

    model: Any
    estimator: Any
    native: Any
    schema: Schema
    runs: dict[str, Any]
    is_compiled: bool
    native_from_rows: int | None = None
    by_library: bool = False


@dataclass(frozen=True, slots=True)
class Preparation:
    """How this machine prepares versions."""

    cache: ArtifactCache
    deadline_seconds: float
    compiled_directory: Path
    trusted: frozenset[str] = frozenset()
    allow_any_pickle: bool = False
    accelerate: bool = True
    # Time that a load, or a sample's verification, may take in addition to a prediction's limit.
    allowance_seconds: float = 0.0

    def fetch(self, version: DesiredVersion, copy: Copy) -> CachedArtifact:
        """Return `version`'s artifact, verified; if it is not cached, `copy` writes its bytes to a file.

        Raises StorageError or ArtifactError.
        """
        return self.cache.fetch(
            copy,
            suffix=f".{version.format}",
            digest=version.digest,
            size_bytes=version.size_bytes,
            deadline_seconds=self.deadline_seconds,
            # The verified copy is in memory beside its model and the model that it replaces.
            memory_bytes=memory.available_bytes() // 3,
        )

    def is_at_hand(self, digest: str, form: str) -> bool:
        """Return whether an artifact is on this disk."""
        return self.cache.has(digest, suffix=f".{form}")

    def prepare(self, version: DesiredVersion, details: VersionDetails, artifact: CachedArtifact) -> LoadedModel:
        """Return `version` opened, verified against its sample and warmed up; the served model is a copy in memory.

        Raises ArtifactError.
        """
        _require_memory(version, details)
        return self._open(version, details, artifact)

    def tidy(self) -> None:
        """Remove the compiled forms of artifacts that the cache has evicted; it lists both directories."""
        from models_registry.compilation import prune

        prune(self.compiled_directory, keep=self.cache.digests())

    def _open(self, version: DesiredVersion, details: VersionDetails, artifact: CachedArtifact) -> LoadedModel:
        schema = Schema.from_json(details.schema)
        sample = Sample.from_json(details.sample) if details.sample else None
        form = self._choose_form(version, schema, sample, artifact)
        with under_way(allowance_seconds=self.allowance_seconds):
            if sample is not None:
                verify_sample(form.model, form.schema, sample)
            row_seconds = warm_up(form.model, form.schema, sample)
        predictor = self._predictor(form, version, details, sample)
        is_inline = form.is_compiled and row_seconds is not None and row_seconds <= INLINE_SECONDS
        return LoadedModel(
            name=version.model,
            number=version.number,
            version_id=version.version_id,
            generation=version.generation,
            digest=version.digest,
            schema=form.schema,
            predictor=predictor,
            estimator=form.estimator,
            explainer=LazyExplainer(
                form.schema, lambda: self._explained(form, version, predictor), is_open=form.native is not None
            ),
            example=sample.instances[0] if sample else details.report.get("example"),
            description=details.description,
            runs=form.runs,
            loaded_at=datetime.now(UTC),
            acceleration=version.acceleration,
            activated_at=version.activated_at,
            build=version.build,
            memory_bytes=memory_bytes(version, details),
            samples=sample.instances[:SHOWN_SAMPLES] if sample else (),
            ranges=ranges(sample, schema) if sample else {},
            inline_max_bytes=inline_max_bytes(form.model, form.schema, sample) if is_inline and sample else 0,
            blocks_loop=form.is_compiled and (row_seconds is not None or not _is_fast(form.runs)),
        )

    def _predictor(
        self, form: Form, version: DesiredVersion, details: VersionDetails, sample: Sample | None
    ) -> Predictor:
        if not form.is_compiled:
            return DynamicBatcher(form.model, version_id=version.version_id)
        if form.native_from_rows is None:
            return UnbatchedPredictor(form.model, version_id=version.version_id)
        schema = Schema.from_json(details.schema)

        def open_native() -> Any:
            if form.native is None:
                _require_memory(version, details)
            native = self._native_of(form, version)
            if form.by_library:
                _use_libraries(native)
            if sample is not None:
                verify_sample(native, schema, sample)
            return native

        return FormByRows(
            form.model,
            version_id=version.version_id,
            native_from_rows=form.native_from_rows,
            open_native=open_native,
            as_native=form.schema.as_frame if schema.container == "frame" else lambda rows: rows,
            # The libraries start a call in microseconds: a thread switch would cost more than it gains.
            is_batched=not form.by_library,
        )

    def _explained(self, form: Form, version: DesiredVersion, predictor: Predictor) -> Any:
        """Return the native model for explanations, the same that predicts large requests if it is loaded."""
        opened = predictor.native if isinstance(predictor, FormByRows) else None
        return self._native_of(form, version) if opened is None else opened

    def _choose_form(
        self, version: DesiredVersion, schema: Schema, sample: Sample | None, artifact: CachedArtifact
    ) -> Form:
        """Return the compiled form if one is verified and enabled, else the native one."""
        if not self.accelerate:
            return self._native(version, schema, artifact, "acceleration is off (MODELS_ACCELERATION)")
        if not version.acceleration:
            return self._native(version, schema, artifact, "acceleration is off for this model")
        from models_registry.compilation import accelerate, open_compiled

        try:
            report = accelerate(
                self._acceleration_request(version, schema, sample, artifact.path), self.compiled_directory
            )
        except OSError as error:
            # If the disk cannot store the compiled form, the native model is served.
            return self._native(
                version, schema, artifact, f"no compiled form can be kept here ({error.strerror or error})"
            )
        if report.is_compiled and report.directory is not None:
            try:
                compiled = open_compiled(report.directory)
            except ArtifactError as error:
                shutil.rmtree(report.directory, ignore_errors=True)
                return self._native(version, schema, artifact, str(error))
            # Methods that only the native model has (e.g. transform) need it in memory; few predictors have them.
            native = self._open_native(version, artifact) if schema.has_native_methods else None
            return Form(
                model=compiled,
                estimator=compiled if native is None else native,
                native=native,
                schema=schema.without_frames(),
                runs={"form": "compiled", "text": report.describe(), **_figures(report)},
                is_compiled=True,
                native_from_rows=report.native_from_rows,
                by_library=report.by_library,
            )
        form = self._native(version, schema, artifact, report.reason or "no compiled form", **_figures(report))
        if report.by_library:
            try:
                _use_libraries(form.native)
            except Exception as error:  # noqa: BLE001 - a library may raise anything; the model answers without it
                log.warning("library_not_used", model=version.model, version=version.number, reason=str(error))
        return form

    def _acceleration_request(
        self, version: DesiredVersion, schema: Schema, sample: Sample | None, path: Path
    ) -> AccelerationRequest:
        from models_registry.compilation import AccelerationRequest

        return AccelerationRequest(
            artifact=path,
            format=version.format,
            digest=version.digest,
            schema=schema,
            instances=sample.instances if sample else (),
            trusted=tuple(sorted(self.trusted)),
            allow_any_pickle=self.allow_any_pickle,
        )

    def _native_of(self, form: Form, version: DesiredVersion) -> Any:
        """Return the native model; load it again if only the compiled form is in memory.

        Raises StorageUnavailable if its artifact is no longer on this machine.
        """
        if form.native is not None:
            return form.native

        missing = StorageUnavailable(
            f"Explanations need the native form of {version.model} {version.number}, which cannot be opened now. Its "
            "artifact is no longer in this machine's cache. Give the cache more room (MODELS_CACHE_MB), and activate "
            "the version again."
        )

        def refuse(_: IO[bytes]) -> None:
            raise missing

        if not self.is_at_hand(version.digest, version.format):
            raise missing
        with self.fetch(version, refuse) as artifact:
            return self._open_native(version, artifact)

    def _native(
        self, version: DesiredVersion, schema: Schema, artifact: CachedArtifact, reason: str, **figures: Any
    ) -> Form:
        model = self._open_native(version, artifact)
        is_graph = version.format == "onnx"
        return Form(
            model=model,
            estimator=model,
            native=model,
            schema=schema,
            runs={"form": "native", "text": f"Served as it was published: {reason}.", **figures},
            is_compiled=is_graph,
        )

    def _open_native(self, version: DesiredVersion, artifact: CachedArtifact) -> Any:
        try:
            with under_way(allowance_seconds=self.allowance_seconds):
                return formats.open_artifact(
                    artifact.path, version.format, trusted=self.trusted, allow_any_pickle=self.allow_any_pickle
                )
        except MemoryError as error:
            raise BrokenArtifact(
                f"{version.model} {version.number}: no memory is left to load it. Give the task more memory."
            ) from error


def _use_libraries(native: Any) -> None:
    from models_registry.artifacts.boosters.library import use_libraries

    use_libraries(native)


def _figures(report: AccelerationReport) -> dict[str, Any]:
    """Return the part of a verdict that the registry stores."""
    kept = ("kind", "rows_verified", "tolerance", "largest_difference", "native_microseconds", "compiled_microseconds")
    body = report.to_json()
    return {name: body[name] for name in (*kept, "speedup", "native_from_rows") if body.get(name) is not None}


def _is_fast(runs: dict[str, Any]) -> bool:
    """Return whether the compiler measured a row that is fast enough for the event loop; False if it measured none."""
    microseconds = runs.get("compiled_microseconds")
    return microseconds is not None and microseconds <= INLINE_SECONDS * 1e6


def warm_up(model: Any, schema: Schema, sample: Sample | None) -> float | None:
    """Make warm-up predictions, so that no client waits for one-time costs; return the seconds of a row."""
    if sample is None:
        return None
    return _seconds_of(model, schema.parse([sample.instances[0]]))


def inline_max_bytes(model: Any, schema: Schema, sample: Sample) -> int:
    """Return the largest body in bytes whose rows take at most INLINE_ROWS_SECONDS, in any protocol."""
    instances = list(islice(cycle(sample.instances), TIMED_ROWS))
    seconds = _seconds_of(model, schema.parse(instances))
    outputs = OUTPUT_OVERHEAD_SECONDS * schema.width
    row_seconds = seconds / len(instances) + ROW_OVERHEAD_SECONDS + outputs
    # The shortest encoding of a number is a binary tensor.
    features = len(schema.inputs)
    most = int(INLINE_ROWS_SECONDS / row_seconds * features)
    # One row with names and all digits is allowed, unless that is room for too many short rows.
    one_named = sum(len(name) + NUMBER_BYTES for name in schema.names)
    if one_named <= MAX_INLINE_SECONDS / row_seconds * features:
        most = max(most, one_named)
    return min(MAX_INLINE_BYTES, most)


def _seconds_of(model: Any, rows: Any) -> float:
    """Return the shortest of several times of a prediction in seconds; the first ones warm the model up."""
    seconds: list[float] = []
    while len(seconds) < WARM_UP_PREDICTIONS or (len(seconds) < TIMED_CALLS and sum(seconds) < TIMED_SECONDS):
        began = time.perf_counter()
        call(model, rows)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def memory_bytes(version: DesiredVersion, details: VersionDetails) -> int:
    """Return a version's memory in bytes: its validation's measurement, else the size of its artifact.

    This is for the native form; if both forms may be in memory, the compiled one is added.
    """
    acceleration = details.report.get("acceleration") or {}
    compiled = acceleration.get("size_bytes", 0) if acceleration.get("native_from_rows") else 0
    return int(details.report.get("model_memory_bytes") or version.size_bytes) + int(compiled)


def _require_memory(version: DesiredVersion, details: VersionDetails) -> None:
    needed = memory_bytes(version, details) + MEMORY_RESERVE_BYTES
    available = memory.available_bytes()
    if available < needed:
        raise BrokenArtifact(
            f"{version.model} {version.number}: loading it takes about {needed / 1e6:.0f} MB in addition to the loaded "
            f"models, but only {available / 1e6:.0f} MB are free. Give the task more memory, or run fewer workers."
        )
