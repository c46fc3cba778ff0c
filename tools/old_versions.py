"""Proves that models of older scikit-learn versions give the same predictions here as in their own version.

    python -m tools.old_versions pack FOLDER   test all artifacts in FOLDER, and add those that pass to the archive
    python -m tools.old_versions               write proven.json and the table in the docs from the archive

FOLDER holds one folder per version, written by `tests/artifacts/old_versions/generate.py` in an environment of that
version. The archive, which the tests use, keeps its artifacts that are not in FOLDER.
"""

from __future__ import annotations

import collections
import io
import json
import lzma
import math
import re
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn import __version__ as served_version
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401 - all_estimators lists them then
from sklearn.utils import all_estimators

from models_registry.artifacts.formats.joblib_format import open_joblib
from models_registry.artifacts.formats.migrations.proven import PROVEN_PATH, is_versioned
from models_registry.artifacts.formats.migrations.table import NEWEST, changes_of
from models_registry.artifacts.formats.skops_format import open_skops
from models_registry.artifacts.formats.trusted import BOUND_METHODS
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.object_graph import walk
from models_registry.artifacts.policy import judge
from models_registry.artifacts.structure import validate_structure
from models_registry.errors import RegistryError

ROOT = Path(__file__).parent.parent
ARCHIVE = ROOT / "tests/artifacts/old_versions/artifacts.tar.xz"
DOCS = ROOT / "docs/old-versions.md"
MARKS = ("<!-- table: python -m tools.old_versions -->", "<!-- end of the table -->")
# Relative. A lost coefficient changes a prediction by more; another processor changes it by less.
TOLERANCE = 1e-9
MAX_CLAIMED_BYTES = 10**8
VERSION = re.compile(r"[0-9]+\.[0-9]+")
# The archive keeps these artifacts of every version, because each one covers a separate change.
ALWAYS_KEPT = frozenset(
    {
        "tree-labels", "tree-weights", "tree-multioutput", "tree-one-class", "tree-gaps", "forest-balanced",
        "forest-multioutput", "forest-gaps", "isolation-contaminated", "gradient-log_loss", "gradient-deviance",
        "gradient-exponential", "gradient-three", "gradient-huber", "gradient-ls", "gradient-init-logistic",
        "histogram-two", "histogram-three", "histogram-categories", "histogram-from-dtype", "histogram-poisson",
        "ada-SAMME-two", "ada-SAMME-three", "ada-SAMME.R-two", "ada-SAMME.R-three", "stacking-passthrough", "tfidf",
        "tfidf-smooth", "tfidf-single", "counts-tfidf-bayes", "table-forest", "table-index", "table-logistic",
        "table-remainder-names", "table-remainder-mask", "table-remainder-positions", "array-remainder",
        "imputed-indicator", "imputed-iterative", "imputed-neighbours", "imputed-constant", "imputed-words-constant",
        "one-hot-rare", "one-hot-drop", "ordinal", "ordinal-rare", "logistic-ovr-three", "logistic-multinomial-two",
        "logistic-liblinear-auto", "logistic-cv-ovr", "svc-sparse", "svc-sparse-text", "svc-rbf-probability",
        "sgd-log_loss", "sgd-modified_huber", "calibrated-sigmoid-svc", "grid", "grid-accuracy", "grid-made",
        "grid-pipeline", "neighbours-kd_tree-manhattan", "density-ball_tree", "spline", "function-log", "target-log",
        "chain", "self-training", "voting-soft", "target-encoder",
    }
)  # fmt: skip
KEPT_AS_SKOPS = frozenset(
    {
        "tree-labels", "tree-gaps", "forest-balanced", "gradient-three", "histogram-categories", "ada-SAMME.R-three",
        "tfidf", "table-forest", "logistic-ovr-three", "sgd-modified_huber", "neighbours-kd_tree-manhattan",
        "grid-accuracy", "spline",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """One estimator of an older version: its files by format, its rows, and its predictions there."""

    version: str
    name: str
    files: Mapping[str, bytes]
    described: Mapping[str, Any]

    @property
    def minor(self) -> tuple[int, int]:
        """The writing scikit-learn version, as (major, minor)."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one file: "served", "refused" or "different", and the reason.

    `parts` are the versioned names in the file, `classes` the types of the loaded objects.
    """

    status: str
    why: str
    parts: frozenset[str]
    classes: frozenset[type] = frozenset()


def recorded_in(folder: Path) -> Iterator[Recorded]:
    """Yield the estimators in a folder of `generate.py`, those with default settings first."""
    for path in sorted(folder.glob("*.json"), key=lambda found: (not found.stem.endswith("-default"), found.stem)):
        described = json.loads(path.read_text())
        files = {format: path.with_suffix(f".{format}").read_bytes() for format in described["formats"]}
        yield Recorded(described["scikit-learn"], path.stem, files, described)


def packed(archive: Path = ARCHIVE) -> Iterator[Recorded]:
    """Yield the estimators in the archive, by name and version."""
    content: dict[str, dict[str, bytes]] = collections.defaultdict(dict)
    with tarfile.open(archive) as tar:
        for member in tar:
            key, _, format = member.name.rpartition("/")
            stream = tar.extractfile(member)
            content[key][format] = stream.read() if stream else b""
    for key, files in content.items():
        name, _, version = key.rpartition("/")
        described = json.loads(files.pop("json"))
        yield Recorded(version, name, files, described)


def rows_of(described: Mapping[str, Any]) -> Any:
    """Return the recorded input rows: a frame, a sparse matrix, an array or a list."""
    if "frame" in described:
        return pd.DataFrame(described["frame"])
    if "sparse" in described:
        return scipy.sparse.csr_matrix(np.array(described["sparse"]))
    values = described["list"]
    return values if values and isinstance(values[0], str | dict) else np.array(values)


def _plain(answer: Any) -> Any:
    if scipy.sparse.issparse(answer):
        answer = answer.toarray()
    if isinstance(answer, list) and answer and isinstance(answer[0], np.ndarray):
        return [one.tolist() for one in answer]
    return np.asarray(answer).tolist()


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_is_same, found, expected))
    if isinstance(found, float) and isinstance(expected, int | float):
        return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)) or (
            math.isnan(found) and math.isnan(expected)
        )
    return bool(found == expected)


def outcome_of(recorded: Recorded, format: str, path: Path) -> Outcome:
    """Return the result of inspection, trust policy, load, and comparison with the recorded predictions.

    The file is written to `path`.
    """
    path.write_bytes(recorded.files[format])
    inspection = inspect_artifact(path, format, max_claimed_bytes=MAX_CLAIMED_BYTES)
    parts = frozenset(filter(is_versioned, inspection.called))
    reasons = judge(inspection)
    if reasons:
        return Outcome("refused", reasons[0], parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if format == "skops":
                model = open_skops(path, trusted=frozenset())
            else:
                model = open_joblib(path, trusted=frozenset(), allow_any_pickle=False)
            validate_structure(model)
        except RegistryError as error:
            return Outcome("refused", str(error), parts)
        classes = frozenset(type(part) for part in walk(model))
        return Outcome(*_compared(model, recorded.described), parts, classes)


def _compared(model: Any, described: Mapping[str, Any]) -> tuple[str, str]:
    rows = rows_of(described["rows"])
    for method, expected in described["answers"].items():
        try:
            found = _plain(getattr(model, method)(rows))
        except Exception as error:  # noqa: BLE001 - an estimator may raise anything
            return "refused", f"{method} raises {type(error).__name__}: {error}"
        if not _is_same(found, next(iter(expected.values()))):
            return "different", method
    return "served", ""


def _pack(folder: Path) -> None:
    """Test all artifacts in `folder`, print the results, and write the archive."""
    versions = sorted(folder.iterdir())
    tried = {(path.parent.name, path.stem) for path in folder.glob("*/*.json")}
    kept = [recorded for recorded in packed() if (recorded.version, recorded.name) not in tried]
    total: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for version in versions:
            counts: collections.Counter[str] = collections.Counter()
            kept.extend(_chosen(version, Path(scratch), counts))
            print(version.name, dict(counts))
            total += counts
    print("total", dict(total))
    _write_archive(kept)


def _chosen(folder: Path, scratch: Path, counts: collections.Counter[str]) -> Iterator[Recorded]:
    """Yield the artifacts to keep: those that are the first to cover a part, and those in ALWAYS_KEPT."""
    covered: set[str] = set()
    for recorded in recorded_in(folder):
        formats = recorded.files.keys() & ({"joblib", "skops"} if recorded.name in KEPT_AS_SKOPS else {"joblib"})
        outcomes = {format: outcome_of(recorded, format, scratch / f"model.{format}") for format in formats}
        for format, outcome in outcomes.items():
            counts[outcome.status] += 1
            if outcome.status != "served":
                print(f"  {recorded.version} {recorded.name}.{format} {outcome.status}: {outcome.why[:200]}")
        served = {format for format, outcome in outcomes.items() if outcome.status == "served"}
        if "joblib" not in served or not recorded.described["answers"]:
            continue
        if outcomes["joblib"].parts <= covered and recorded.name not in ALWAYS_KEPT:
            continue
        covered |= outcomes["joblib"].parts
        # Uncompressed: the archive compresses the same arrays of several versions once.
        files = {one: recorded.files[one] for one in sorted(served)}
        files["joblib"] = lzma.decompress(files["joblib"])
        yield Recorded(recorded.version, recorded.name, files, recorded.described)


def _write_archive(kept: Iterable[Recorded]) -> None:
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as tar:
        for recorded in sorted(kept, key=lambda one: (one.name, one.minor)):
            described = {key: recorded.described[key] for key in ("rows", "answers")}
            files = {**recorded.files, "json": json.dumps(described).encode()}
            for format, content in files.items():
                member = tarfile.TarInfo(f"{recorded.name}/{recorded.version}/{format}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def proven_table(served: Iterable[tuple[Recorded, frozenset[str]]]) -> dict[str, Any]:
    """Return the content of proven.json for the `served` artifacts, each given with its parts."""
    proofs: dict[str, dict[tuple[int, int], set[str]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    for recorded, parts in served:
        for part in parts:
            proofs[part][recorded.minor].add(recorded.name)
    minors = sorted({minor for found in proofs.values() for minor in found})
    return {
        "served": ".".join(served_version.split(".")[:2]),
        "writers": [_text(minor) for minor in minors],
        "parts": {part: list(_ranges(part, proofs[part], minors)) for part in sorted(proofs)},
    }


def _text(minor: tuple[int, int]) -> str:
    return f"{minor[0]}.{minor[1]}"


def _ranges(
    part: str, proofs: Mapping[tuple[int, int], set[str]], minors: list[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    """Yield ranges of consecutive versions that need the same migration, each with an artifact as its proof."""
    runs: list[tuple[tuple[str, ...], list[tuple[int, int]]]] = []
    for minor in sorted(proofs):
        sources = _sources(part, minor)
        follows = runs and minors.index(minor) == minors.index(runs[-1][1][-1]) + 1
        if follows and runs[-1][0] == sources:
            runs[-1][1].append(minor)
        else:
            runs.append((sources, [minor]))
    for sources, run in runs:
        everywhere = set.intersection(*(proofs[minor] for minor in run)) or proofs[run[0]]
        yield {
            "first": _text(run[0]),
            "last": _text(run[-1]),
            "how": "migrated" if sources else "unchanged",
            **({"sources": list(sources)} if sources else {}),
            "proof": min(everywhere),
        }


def _sources(part: str, minor: tuple[int, int]) -> tuple[str, ...]:
    """Return the changes from `minor` to the installed version, each with its place in the library's source."""
    if part in BOUND_METHODS:
        return ()
    module, _, name = part.rpartition(".")
    found = getattr(import_module(module), name)
    changes = changes_of(found) if isinstance(found, type) else ()
    # Other libraries have their own version numbers, which cannot be compared with `minor`.
    is_own = part.startswith("sklearn.")
    return tuple(
        # A change at NEWEST concerns every version, so there is no version to name.
        f"{_text(one.version)}: {one.what} ({one.source})"
        if is_own and one.version != NEWEST
        else f"{one.what} ({one.source})"
        for one in changes
        if one.version > minor or not is_own
    )


def docs_table(table: Mapping[str, Any]) -> str:
    """Return the table for the docs: each public estimator with the versions that are served."""
    names = {f"{cls.__module__}.{cls.__qualname__}": name for name, cls in all_estimators()}
    lines = ["| Estimator | Written by | Migrated if written before |", "| --- | --- | --- |"]
    for part, name in sorted(names.items(), key=lambda item: item[1]):
        ranges = table["parts"].get(part, [])
        if not ranges:
            continue
        sources = [source.partition(":")[0] for one in ranges for source in one.get("sources", ())]
        before = dict.fromkeys(source for source in sources if VERSION.fullmatch(source))
        lines.append(f"| {name} | {_spans(ranges, table['writers'])} | {', '.join(before) or '–'} |")
    return "\n".join(lines)


def _spans(ranges: list[dict[str, Any]], writers: list[str]) -> str:
    spans: list[list[str]] = []
    for one in ranges:
        if spans and writers.index(one["first"]) == writers.index(spans[-1][1]) + 1:
            spans[-1][1] = one["last"]
        else:
            spans.append([one["first"], one["last"]])
    return ", ".join(first if first == last else f"{first} to {last}" for first, last in spans)


def with_table(text: str, table: Mapping[str, Any]) -> str:
    """Return the page `text` with the new table in place of the old one."""
    head, _, rest = text.partition(MARKS[0])
    tail = rest.partition(MARKS[1])[2]
    return f"{head}{MARKS[0]}\n\n{docs_table(table)}\n\n{MARKS[1]}{tail}"


def rendered(table: Mapping[str, Any]) -> str:
    """Return the text of proven.json."""
    return json.dumps(table, indent=1) + "\n"


def _write() -> None:
    served = []
    with tempfile.TemporaryDirectory() as scratch:
        for recorded in packed():
            outcome = outcome_of(recorded, "joblib", Path(scratch) / "model.joblib")
            if outcome.status != "served":
                raise SystemExit(f"{recorded.version} {recorded.name} is {outcome.status}: {outcome.why}")
            served.append((recorded, outcome.parts))
    table = proven_table(served)
    PROVEN_PATH.write_text(rendered(table))
    DOCS.write_text(with_table(DOCS.read_text(), table))


if __name__ == "__main__":
    if sys.argv[1:2] == ["pack"]:
        _pack(Path(sys.argv[2]))
    else:
        _write()
