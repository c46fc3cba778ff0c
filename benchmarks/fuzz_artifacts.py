"""No damaged artifact crashes, hangs or fills a process: `python -m benchmarks.fuzz_artifacts --minutes 60`.

Honest files of each format are damaged, then inspected, opened and asked for predictions, as a validation does it. A
damaged file may be refused or answer. Exit status 1: a process that ended by a signal, took longer than a validation
may, or raised what is not a refusal where a decoder of ours reads the file.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import pickle
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proof import finish, say
from models_registry.artifacts import load_test_task
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.artifacts.prediction import call
from models_registry.errors import ArtifactError
from tests.support.damage import damage, damage_member, overwrite

MAX_SECONDS = 60
MAX_BYTES = 3 << 30
MAX_CLAIMED_BYTES = 200_000_000
FILES_PER_PROCESS = 100
STAGES = ("inspected", "opened", "asked")


@dataclass(frozen=True, slots=True)
class HonestFile:
    """An ordinary file, and rows that its model answers."""

    name: str
    format: str
    content: bytes
    rows: list[Any]

    def damaged(self, seed: int, number: int) -> bytes:
        """Return its bytes, damaged in a way that the two numbers tell."""
        generator = np.random.default_rng([seed, number])
        how = overwrite if number // FILES_PER_PROCESS % 2 else damage
        if self.format == "skops":
            return damage_member(self.content, generator, how)
        return how(self.content, generator)


def honest_files(folder: Path) -> list[HonestFile]:
    """Return one file for each decoder; its own process trains them, since a fork breaks threads of libraries."""
    path = folder / "honest_files"
    pid = os.fork()
    if pid == 0:
        path.write_bytes(pickle.dumps(list(_trained(folder))))
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit("The models of the run could not be trained.")
    return pickle.loads(path.read_bytes())  # type: ignore[no-any-return]


def _trained(folder: Path) -> Any:
    import joblib
    import skops.io
    from onnx.reference import ReferenceEvaluator  # noqa: F401 - skl2onnx needs it loaded
    from skl2onnx import to_onnx
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.svm import SVC

    from tests.support import boosters

    table, y = np.nan_to_num(boosters.rows()), boosters.targets("two")
    rows = table[:3].tolist()
    texts = ["the cat sat", "a dog sat down", "cats and dogs"] * 10
    columns = make_column_transformer((StandardScaler(), [0, 1]), (OneHotEncoder(handle_unknown="ignore"), [4]))
    models: dict[str, tuple[Any, list[Any]]] = {
        "forest": (RandomForestClassifier(5, max_depth=4, random_state=0).fit(table, y), rows),
        "histogram": (
            HistGradientBoostingClassifier(max_iter=5, categorical_features=[4], random_state=0).fit(table, y),
            rows,
        ),
        "neighbours": (KNeighborsClassifier(algorithm="kd_tree", leaf_size=5).fit(table, y), rows),
        "support": (SVC().fit(table, y), rows),
        "columns": (make_pipeline(columns, LogisticRegression()).fit(table, y), rows),
        "text": (make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 1] * 10), texts[:3]),
    }
    for name, (model, asked) in models.items():
        joblib.dump(model, folder / "m.joblib")
        yield HonestFile(f"{name}.joblib", "joblib", (folder / "m.joblib").read_bytes(), asked)
        yield HonestFile(f"{name}.pkl", "joblib", pickle.dumps(model, 2), asked)
        yield HonestFile(f"{name}.skops", "skops", skops.io.dumps(model), asked)
    scaled = make_pipeline(StandardScaler(), RandomForestClassifier(3, max_depth=3, random_state=0)).fit(table, y)
    graph = to_onnx(scaled, table[:1].astype(np.float32), options={"zipmap": False})
    yield HonestFile("forest.onnx", "onnx", graph.SerializeToString(), rows)
    for kind in ("ubj", "json"):
        yield HonestFile(f"sets.{kind}", "xgboost", bytes(boosters.xgboost_by_sets().save_raw(kind)), rows)
    for name, booster in (
        ("dart.pkl", boosters.xgboost_booster(booster="dart")),
        ("linear.pkl", boosters.xgboost_booster(booster="gblinear")),
        ("lightgbm.pkl", boosters.lightgbm_booster()),
        ("lightgbm-leaves.pkl", boosters.lightgbm_booster("regression", "values", by_sets=False, linear_tree=True)),
    ):
        yield HonestFile(name, "joblib", pickle.dumps(booster), rows)


def outcome_of(honest: HonestFile, content: bytes, path: Path, reach: Callable[[int], None]) -> str:
    """Return what became of a damaged file; `reach` is told of each of STAGES, by position."""
    path.write_bytes(content)
    reach(0)
    if judge(inspect_artifact(path, honest.format, max_claimed_bytes=MAX_CLAIMED_BYTES)):
        return "refused by the inspection"
    reach(1)
    try:
        model = open_artifact(path, honest.format)
    except ArtifactError:
        return "refused by the loader"
    except Exception as error:  # noqa: BLE001 - the load test makes a refusal of it
        return f"the loader raised {type(error).__name__}"
    reach(2)
    try:
        call(model, infer_schema(model, None, honest.rows).parse(honest.rows))
    except Exception:  # noqa: BLE001 - a damaged model may raise anything
        return "refused by the model"
    return "answered"


class Progress:
    """What a process was at when it ended: shared memory with a file's number, its stage, and when it began."""

    def __init__(self) -> None:
        """Begin with no file."""
        self._memory = mmap.mmap(-1, 64)

    def put(self, number: int, stage: int) -> None:
        """Note a file and its stage."""
        self._memory[:24] = struct.pack("<qqd", number, stage, time.monotonic())

    def get(self) -> tuple[int, int, float]:
        """Return number, stage, and seconds since."""
        number, stage, begun = struct.unpack("<qqd", self._memory[:24])
        return number, stage, time.monotonic() - begun


def try_files(found: list[HonestFile], seed: int, numbers: range, path: Path, progress: Progress) -> Counter[str]:
    """Try the damaged files of these numbers, which take turns among the ordinary files."""
    outcomes: Counter[str] = Counter()
    for number in numbers:
        honest = found[number % len(found)]
        progress.put(number, 0)
        content = honest.damaged(seed, number)
        with warnings.catch_warnings(), suppress(MemoryError):
            warnings.simplefilter("ignore")
            outcomes[outcome_of(honest, content, path, lambda stage, at=number: progress.put(at, stage))] += 1
            continue
        outcomes["more memory than there is"] += 1
    return outcomes


def _run_apart(work: Callable[[], Counter[str]], progress: Progress) -> tuple[Counter[str], str]:
    """Run `work` in its own process; return its outcomes, and how it ended if it did not return."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            os.write(writing, json.dumps(work()).encode())
        except BaseException as error:  # noqa: BLE001 - the parent tells of it
            os.write(writing, json.dumps({"raised": f"{type(error).__name__}: {str(error)[:300]}"}).encode())
        os._exit(0)
    os.close(writing)
    is_late = False
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if progress.get()[2] > MAX_SECONDS and not is_late:
            is_late = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read() or b"{}")
    if is_late:
        return Counter(), f"it takes longer than {MAX_SECONDS} s"
    if os.WIFSIGNALED(ended[1]):
        return Counter(), f"the process ended by {signal.Signals(os.WTERMSIG(ended[1])).name}"
    raised = told.pop("raised", "")
    return Counter(told), f"it raised {raised}" if raised else ""


def run(*, files: int | None, seconds: float, seed: int, keep: Path, kinds: str = "") -> int:
    """Try so many files, or as many as the time allows, and return the exit status.

    A file with which something went wrong is kept in the folder `keep`.
    """
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    number, deadline = 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        found = [one for one in honest_files(Path(folder)) if kinds in one.name]
        say(f"seed {seed}: {len(found)} files are damaged")
        # As the sandbox does: importing them takes long on a busy machine, and no file is to blame.
        load_test_task.import_libraries({"format": "skops", "trusted": ()})
        path, progress = Path(folder) / "damaged", Progress()
        while time.monotonic() < deadline and (files is None or number < files):
            last = number + FILES_PER_PROCESS if files is None else min(files, number + FILES_PER_PROCESS)
            progress.put(number, 0)  # so that no old time counts
            counted, trouble = _run_apart(
                lambda numbers=range(number, last): try_files(found, seed, numbers, path, progress), progress
            )
            outcomes += counted
            number = last
            if trouble:
                at, stage, _ = progress.get()
                honest = found[at % len(found)]
                kept = keep / f"{seed}-{at}-{honest.name}"
                kept.write_bytes(honest.damaged(seed, at))
                faults.append(f"{kept} while it was {STAGES[stage]}: {trouble}")
                say(faults[-1])
                number = at + 1
    return finish({"seed": seed, "files": number, "outcomes": dict(outcomes.most_common())}, faults)


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_artifacts", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--files", type=int, help="stop after this many")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()), help="where a file that hurts is kept"
    )
    parser.add_argument("--kinds", default="", help="only files whose name has this in it, e.g. .skops")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    return run(files=asked.files, seconds=asked.minutes * 60, seed=asked.seed, keep=asked.keep, kinds=asked.kinds)


if __name__ == "__main__":
    sys.exit(main())
