"""Cache of compiled forms on this machine's disk: one directory each, written atomically by one process."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from models_registry.compilation.compiled import MODEL_FILE, PLAN_FILE, REPORT_FILE, digest_of
from models_registry.compilation.report import AccelerationReport, AccelerationRequest
from models_registry.files import acquire

# Raise it if a model may get another graph, plan or verdict than before. Every worker then compiles its models again.
# tests/compilation/test_compiler_version.py fails if the code changes without a decision about this number.
COMPILER_VERSION = 5
COMPILERS = (
    "onnxruntime",
    "onnx",
    "skl2onnx",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "joblib",
    "skops",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
)
# A verdict due to a time or memory limit is repeated after this time: the machine may have been busy.
RETRY_SECONDS = 3600.0
# Longer than any compilation: a directory this old is left over from a killed process.
ABANDONED_SECONDS = 3600.0


@functools.cache
def compiler_versions() -> dict[str, str]:
    """Return the versions of all packages that affect a compiled form or its verification."""
    versions = {name: _version(name) for name in COMPILERS}
    return versions | {"compiler": str(COMPILER_VERSION), "machine": platform.machine()}


def key_of(request: AccelerationRequest, versions: dict[str, str]) -> str:
    """Return the cache key of a request's compiled form: equal requests have equal keys."""
    question = request.to_json() | {"versions": versions}
    del question["artifact"]
    text = json.dumps(question, sort_keys=True, default=str)
    return f"{request.digest.removeprefix('sha256:')[:16]}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def find(directory: Path) -> AccelerationReport | None:
    """Return the verdict in `directory`; None if it is missing, damaged or due for another attempt."""
    try:
        report = AccelerationReport.from_json(json.loads((directory / REPORT_FILE).read_text()), directory)
        is_old = time.time() - (directory / REPORT_FILE).stat().st_mtime > RETRY_SECONDS
        is_whole = not report.is_compiled or report.sha256 == digest_of(
            (directory / MODEL_FILE).read_bytes(), (directory / PLAN_FILE).read_bytes()
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return report if is_whole and (report.is_final or not is_old) else None


@contextmanager
def lock(directory: Path, *, deadline: float) -> Iterator[bool]:
    """Hold the machine's lock on `directory`; yield False if it is not free before `deadline` (monotonic)."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{directory.name}.lock").open("w") as handle:
        # Closing the file releases the lock.
        yield acquire(handle.fileno(), fcntl.LOCK_EX, deadline=deadline)


@contextmanager
def build_dir(directory: Path) -> Iterator[Path]:
    """Yield a build directory on the same disk, and remove it afterwards, unless `publish` has moved it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_report(built: Path, report: AccelerationReport) -> None:
    """Write the verdict into the build directory."""
    write(built / REPORT_FILE, json.dumps(report.to_json(), indent=1).encode())


def write(path: Path, content: bytes) -> None:
    """Write a file with fsync."""
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def publish(built: Path, directory: Path) -> None:
    """Move the build directory to its final place, atomically."""
    if directory.exists():
        # Replaces a damaged or expired one; a worker that has it open keeps its data.
        shutil.rmtree(directory)
    built.rename(directory)
    parent = os.open(directory.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def prune(cache_dir: Path, keep: set[str]) -> list[Path]:
    """Remove the compiled forms of artifacts whose digest is not in `keep`, and return the removed ones.

    Unfinished builds of killed processes are removed, too.
    """
    wanted = {digest.removeprefix("sha256:")[:16] for digest in keep}
    directories = sorted(path for path in cache_dir.iterdir() if path.is_dir()) if cache_dir.is_dir() else []
    # Lock files stay: another process may hold one open, and a second file would be a second lock.
    removed = [path for path in directories if not _is_kept(path, wanted)]
    for path in removed:
        shutil.rmtree(path, ignore_errors=True)
    return removed


def _is_kept(path: Path, wanted: set[str]) -> bool:
    return not _is_abandoned(path) if path.name.startswith(".") else path.name.partition("-")[0] in wanted


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:
        return False  # the other builder has just ended
