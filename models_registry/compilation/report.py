"""The request and the result of a compilation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models_registry.artifacts.schema import Schema
from models_registry.compilation import batch_timings

NATIVE = "native"
KINDS = {"onnx64": "ONNX, float64", NATIVE: "scikit-learn itself"}


@dataclass(frozen=True, slots=True)
class AccelerationRequest:
    """One version's artifact, with its digest already verified.

    `instances` are the rows of the version's sample; `trusted` and `allow_any_pickle` are arguments of `open_artifact`.
    """

    artifact: Path
    format: str
    digest: str
    schema: Schema
    instances: tuple[Any, ...] = ()
    trusted: tuple[str, ...] = ()
    allow_any_pickle: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": str(self.artifact),
            "format": self.format,
            "digest": self.digest,
            "schema": self.schema.to_json(),
            "instances": list(self.instances),
            "trusted": sorted(self.trusted),
            "allow_any_pickle": self.allow_any_pickle,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AccelerationRequest:
        """Return the request from `to_json`'s form."""
        return cls(
            artifact=Path(value["artifact"]),
            format=value["format"],
            digest=value["digest"],
            schema=Schema.from_json(value["schema"]),
            instances=tuple(value["instances"]),
            trusted=tuple(value["trusted"]),
            allow_any_pickle=value["allow_any_pickle"],
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one compilation."""

    wall_seconds: float = 180.0
    cpu_seconds: int = 180
    # Address space: numeric libraries reserve far more than they use.
    memory_bytes: int = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class AccelerationReport:
    """The form of an artifact that is served, its verification, and its speedup.

    `kind` is `onnx64` or `native`. A native report has a `reason`, and optionally the figures of a correct compiled
    form that was not faster. Times are lower quartiles for one row, for a whole prediction after parsing.
    `batch_timings` has the times for one row and for larger batches. With `by_library`, boosters in the native form
    predict with the library that trained them; `library_problem` says why that library failed or disagreed. If not
    `is_final`, the compiler reached a time or memory limit, and the compilation is repeated later.
    """

    kind: str
    reason: str | None = None
    rows_verified: int = 0
    tolerance: float | None = None
    largest_difference: float | None = None
    native_microseconds: float | None = None
    compiled_microseconds: float | None = None
    batch_timings: tuple[batch_timings.BatchTiming, ...] = ()
    by_library: bool = False
    library_problem: str | None = None
    compiled_by: str | None = None
    size_bytes: int = 0
    sha256: str | None = None
    compile_seconds: float | None = None
    is_final: bool = True
    versions: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None

    @property
    def is_compiled(self) -> bool:
        """Return whether a compiled form is served."""
        return self.kind != NATIVE

    @property
    def speedup(self) -> float | None:
        """Return how many times faster the compiled form predicts one row."""
        if not self.native_microseconds or not self.compiled_microseconds:
            return None
        return self.native_microseconds / self.compiled_microseconds

    @property
    def native_from_rows(self) -> int | None:
        """Return the number of rows from which the native form is faster; None: it never is."""
        return batch_timings.native_from_rows(self.batch_timings) if self.is_compiled else None

    def describe(self) -> str:
        """Return one sentence for the admin and for `GET /models/{name}`."""
        if not self.is_compiled:
            return f"{KINDS[NATIVE]}: {self.reason}"
        return (
            f"{KINDS.get(self.kind, self.kind)}: {_times(self.speedup)} faster than scikit-learn "
            f"({_figure(self.compiled_microseconds)} µs against {_figure(self.native_microseconds)} µs a row), "
            f"{self._agreement()}{self._exception()}"
        )

    def _exception(self) -> str:
        rows = self.native_from_rows
        faster = "the library that trained it" if self.by_library else "scikit-learn itself"
        exception = "" if rows is None else f"; from {rows:,} rows on, {faster} is faster and answers"
        problem = f"; the library that trained it is not used ({self.library_problem})" if self.library_problem else ""
        return exception + problem

    def _agreement(self) -> str:
        rows = f"{self.rows_verified} rows"
        if self.largest_difference == 0:
            return f"answers equal to the last bit on {rows}"
        return f"labels equal on {rows}, scores within {_power_of_ten(self.largest_difference)}"

    def to_json(self) -> dict[str, Any]:
        """Return the form for the cache and the registry; the directory is specific to this machine."""
        body = asdict(self)
        del body["directory"]
        body["speedup"] = self.speedup
        body["native_from_rows"] = self.native_from_rows
        body["description"] = self.describe()
        return body

    @classmethod
    def from_json(cls, value: Mapping[str, Any], directory: Path | None = None) -> AccelerationReport:
        """Return the report from `to_json`'s form."""
        derived = {"speedup", "native_from_rows", "description", "directory", "batch_timings"}
        known = {key: value[key] for key in value if key not in derived}
        timings = tuple((rows, native, compiled) for rows, native, compiled in value.get("batch_timings", ()))
        return cls(**known, batch_timings=timings, directory=directory)


def native(reason: str, **others: Any) -> AccelerationReport:
    """Return the verdict that the native form is served."""
    return AccelerationReport(NATIVE, reason, **others)


def _times(speedup: float | None) -> str:
    return f"{_figure(speedup)} ×"


def _figure(value: float | None) -> str:
    """Return a number with about two significant digits."""
    if value is None:
        return "?"
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _power_of_ten(value: float | None) -> str:
    if not value:
        return "0"
    return f"1e{math.ceil(math.log10(value) - 1e-9)}"
