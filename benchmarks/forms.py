"""Each model of the comparison against scikit-learn itself, from 1 row to 100,000: the form that mlapi chooses by rows.

    python -m benchmarks.forms

One thread, processor time, in turns, so that other work on the machine shifts both alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.artifacts import TITLES, Models, train
from models_registry.agent.loader import Preparation
from models_registry.artifacts.cache import ArtifactCache, digest_of
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.manifest import Sample
from models_registry.inference.batching import run_blocking
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.form_by_rows import FormByRows
from models_registry.inference.runtime import LoadedModel

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
SECONDS = 0.5
MIN_CALLS, MAX_CALLS = 3, 50


def loaded_model(models: Models, name: str, directory: Path) -> LoadedModel:
    """Return a model as a worker loads it, with both forms in memory where it chooses between them."""
    path = models.directory / name / "model.joblib"
    size_bytes = path.stat().st_size
    preparation = Preparation(
        cache=ArtifactCache(directory / "cache", max_bytes=10**9),
        deadline_seconds=60,
        compiled_directory=directory / "compiled",
    )
    version = DesiredVersion(
        model=name,
        model_id=1,
        version_id=1,
        number=1,
        generation=1,
        acceleration=True,
        format="joblib",
        storage_key=f"{name}/model.joblib",
        storage_version="1",
        size_bytes=size_bytes,
        digest=digest_of(path),
        checked_at=None,
    )
    sample = Sample(tuple(models.rows[:20].tolist()))
    schema = infer_schema(open_artifact(path, "joblib"))
    details = VersionDetails(schema.to_json(), sample.to_json(), {}, "")
    with preparation.fetch(version, lambda target: target.write(path.read_bytes())) as artifact:
        loaded = preparation.prepare(version, details, artifact)
    if isinstance(loaded.predictor, FormByRows):
        run_blocking(loaded.predictor.predict(_rows(models, SIZES[-1]), SIZES[-1]))
        loaded.predictor.wait_until_opened()
    return loaded


def compare(native: object, loaded: LoadedModel, rows: np.ndarray) -> list[float]:
    """Return what a model's own library, with one call for labels and probabilities, and the loaded model take."""

    def one_call() -> object:
        probabilities = native.predict_proba(rows)  # type: ignore[attr-defined]
        return native.classes_.take(probabilities.argmax(axis=1)), probabilities  # type: ignore[attr-defined]

    return milliseconds(one_call, lambda: run_blocking(loaded.predictor.predict(rows, len(rows))))


def milliseconds(*forms: Callable[[], object]) -> list[float]:
    """Return the least processor time of each form, called in turns."""
    taken: list[list[float]] = [[] for _ in forms]
    until = time.monotonic() + SECONDS
    for form in forms:
        form()
    while len(taken[0]) < MIN_CALLS or (time.monotonic() < until and len(taken[0]) < MAX_CALLS):
        for form, seconds in zip(forms, taken, strict=True):
            began = time.process_time()
            form()
            seconds.append(time.process_time() - began)
    return [min(seconds) * 1e3 for seconds in taken]


def _rows(models: Models, count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return models.rows[generator.integers(len(models.rows), size=count)] + generator.integers(2, size=(count, 64))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", choices=[*TITLES, []], help="all, where none is named")
    names = parser.parse_args().models or list(TITLES)
    print(f"{'':40}{'rows':>9}{'its library, ms':>18}{'mlapi, ms':>14}{'mlapi is':>12}")
    with tempfile.TemporaryDirectory(prefix="mlapi-forms-") as folder, threadpool_limits(1):
        models = train(Path(folder) / "models")
        for name in names:
            native = joblib.load(models.directory / name / "model.joblib")
            loaded = loaded_model(models, name, Path(folder))
            from_rows = loaded.runs.get("native_from_rows")
            print(TITLES[name] + (f": native from {from_rows:,} rows" if from_rows else f": {loaded.runs['form']}"))
            for count in SIZES:
                library, ours = compare(native, loaded, _rows(models, count))
                print(f"{'':40}{count:>9,}{library:>18.2f}{ours:>14.2f}{library / ours:>10.2f} ×", flush=True)


if __name__ == "__main__":
    main()
