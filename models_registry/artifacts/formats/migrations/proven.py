"""Parts of models that are proven to predict today as they did under the scikit-learn that wrote them.

`tools/old_versions.py` writes `proven.json` from artifacts of each older version and their predictions. For each part
(an estimator, a tree, a kernel, a loss) it has ranges of versions, each unchanged or migrated.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models_registry.artifacts.installed import installed_version

PROVEN_PATH = Path(__file__).with_name("proven.json")
# Parts whose state differs between versions; those of Python and numpy hold plain values.
_VERSIONED = ("sklearn.", "scipy.", "pandas.")
# XGBoost and LightGBM models: each validation compares their predictions with those of the installed library.
_JUDGED_ELSEWHERE = "models_registry.artifacts.boosters."
# Only the labels of the encoder next to a booster are read, which are an array in every version.
_OF_BOOSTERS = "sklearn.preprocessing._label.LabelEncoder"
_PLAIN = ("numpy.", "builtins.", "collections.", "functools.", "copyreg.", "_codecs.", "joblib.numpy_pickle.",
          "models_registry.artifacts.formats.migrations.stand_ins.")  # fmt: skip
_MINOR = re.compile(r"\d+\.\d+")


@dataclass(frozen=True, slots=True)
class ProvenRange:
    """The proof for a part written by versions `first` to `last`, each (major, minor) and both included.

    `how` is "unchanged" or "migrated". `sources` are the migrated changes, with their places in scikit-learn. `proof`
    is the artifact that shows it.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    how: str
    sources: tuple[str, ...]
    proof: str


@cache
def proven_parts() -> dict[str, tuple[ProvenRange, ...]]:
    """Return the table: the ranges of each part, the oldest first."""
    parts = json.loads(PROVEN_PATH.read_text())["parts"]
    return {name: tuple(map(_range, ranges)) for name, ranges in parts.items()}


def _range(row: dict[str, object]) -> ProvenRange:
    return ProvenRange(
        first=_minor(str(row["first"])) or (0, 0),
        last=_minor(str(row["last"])) or (0, 0),
        how=str(row["how"]),
        sources=tuple(row.get("sources", ())),  # type: ignore[arg-type]
        proof=str(row["proof"]),
    )


def served_minor() -> str:
    """Return the version of scikit-learn that the table is about."""
    return str(json.loads(PROVEN_PATH.read_text())["served"])


def unproven_parts(parts: Iterable[str], writers: Iterable[str]) -> tuple[str, ...]:
    """Return those of `parts` that are not proven for every version of scikit-learn in `writers`.

    A part is `module.name` as the installed libraries call it. No part is proven if the installed scikit-learn is not
    the table's, or if a writer's version is unknown.
    """
    versions = [_minor(text) for text in writers]
    known = [found for found in versions if found is not None]
    is_current = _minor(installed_version("scikit-learn")) == _minor(served_minor())
    judged = [name for name in parts if not name.startswith(_PLAIN)]
    parts_of_boosters = [name for name in judged if name.startswith(_JUDGED_ELSEWHERE)]
    if parts_of_boosters:
        judged = [name for name in judged if name not in (*parts_of_boosters, _OF_BOOSTERS)]
        if not judged:
            return ()
    if not is_current or len(known) < len(versions) or not any(map(is_versioned, judged)):
        return tuple(judged) or ("the model",)
    return tuple(name for name in judged if not _is_proven(name, known))


def is_versioned(name: str) -> bool:
    """Return whether the state of a part depends on the version of its library."""
    return name.startswith(_VERSIONED)


def _is_proven(name: str, writers: list[tuple[int, int]]) -> bool:
    ranges = proven_parts().get(name, ())
    if not name.startswith("sklearn."):
        # These names do not depend on scikit-learn's version.
        return bool(ranges)
    return bool(ranges) and all(any(one.first <= writer <= one.last for one in ranges) for writer in writers)


def _minor(text: str) -> tuple[int, int] | None:
    found = _MINOR.match(text)
    if found is None:
        return None
    major, minor = found[0].split(".")
    return int(major), int(minor)
