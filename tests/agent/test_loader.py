"""Preparation: from a pinned version to a model that is open, verified and warm."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.cluster import KMeans
from sklearn.linear_model import BayesianRidge
from sklearn.neighbors import KNeighborsClassifier

from models_registry.agent.loader import (
    INLINE_ROWS_SECONDS,
    MAX_INLINE_BYTES,
    ROW_OVERHEAD_SECONDS,
    Preparation,
    inline_max_bytes,
    memory_bytes,
)
from models_registry.artifacts.cache import ArtifactCache, digest_of
from models_registry.artifacts.features import Feature
from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.manifest import Sample
from models_registry.artifacts.prediction import call, call_method
from models_registry.artifacts.schema import Schema
from models_registry.compilation.compiled import REPORT_FILE
from models_registry.errors import BrokenArtifact, DigestMismatch, SampleMismatch, StorageUnavailable
from models_registry.inference import memory
from models_registry.inference.batching import run_blocking
from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.inference.form_by_rows import FormByRows
from models_registry.inference.runtime import LoadedModel
from tests.support import boosters
from tests.support.estimators import constant, forest, mixed, save


def version_of(path: Path, **given) -> DesiredVersion:
    """Return the artifact at `path` as a desired version."""
    version = DesiredVersion(
        model="m",
        model_id=1,
        version_id=1,
        number=1,
        generation=1,
        acceleration=True,
        format="joblib",
        storage_key="m/model.joblib",
        storage_version="1",
        size_bytes=path.stat().st_size,
        digest=digest_of(path),
        checked_at=None,
    )
    return replace(version, **given)


@pytest.fixture
def preparation(tmp_path) -> Preparation:
    return Preparation(
        cache=ArtifactCache(tmp_path / "cache", max_bytes=1_000_000),
        deadline_seconds=10,
        compiled_directory=tmp_path / "compiled",
    )


def prepare(
    preparation: Preparation, version: DesiredVersion, path: Path, *, sample: Sample | None = None, **report
) -> LoadedModel:
    """Fetch the artifact from `path` and prepare it."""
    schema = infer_schema(open_artifact(path, "joblib")).to_json()
    details = VersionDetails(schema, sample.to_json() if sample else None, report, "")
    with preparation.fetch(version, lambda target: target.write(path.read_bytes())) as artifact:
        return preparation.prepare(version, details, artifact)


def test_compiled_and_native_forms_agree_and_name_themselves(preparation, tmp_path):
    path = save(forest(seed=1, trees=30), tmp_path / "forest.joblib")
    sample = Sample(([0.0, 1.0, 2.0, 3.0],))
    compiled = prepare(preparation, version_of(path), path, sample=sample)
    native = prepare(preparation, version_of(path, acceleration=False), path, sample=sample)
    off = prepare(replace(preparation, accelerate=False), version_of(path), path)
    assert [item.runs["form"] for item in (compiled, native, off)] == ["compiled", "native", "native"]
    assert "faster" in compiled.runs["text"]
    assert "off for this model" in native.runs["text"]
    assert "MODELS_ACCELERATION" in off.runs["text"]
    rows = compiled.schema.parse([[0.5, 1.0, -2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    answers = [run_blocking(item.predictor.predict(rows, 2)) for item in (compiled, native, off)]
    assert len({tuple(answer.predictions()) for answer in answers}) == 1


def test_a_compiled_model_is_explained_by_its_native_form(preparation, tmp_path):
    path = save(forest(seed=1, trees=30), tmp_path / "forest.joblib")
    version, sample = version_of(path), Sample(([0.0, 1.0, 2.0, 3.0],))
    loaded = prepare(preparation, version, path, sample=sample)
    rows = loaded.schema.parse([[0.5, 1.0, -2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert loaded.runs["form"] == "compiled"
    answer = run_blocking(loaded.predictor.predict(rows, 2))
    assert loaded.explainer.get().explain(rows).values == pytest.approx(answer.probabilities)


def test_an_evicted_artifact_is_explained_once_it_is_back(preparation, tmp_path):
    path = save(forest(seed=1, trees=30), tmp_path / "forest.joblib")
    version, sample = version_of(path), Sample(([0.0, 1.0, 2.0, 3.0],))
    loaded = prepare(preparation, version, path, sample=sample)
    ArtifactCache(tmp_path / "cache", max_bytes=0).evict()
    with pytest.raises(StorageUnavailable, match="no longer in this machine's cache"):
        loaded.explainer.get()
    prepare(preparation, version, path, sample=sample)
    assert loaded.explainer.get().names == loaded.schema.names


def with_timings(preparation: Preparation, timings: list[list[float]], **others: Any) -> None:
    """Replace the timings of the compiled forms on this machine."""
    for path in preparation.compiled_directory.glob(f"*/{REPORT_FILE}"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"batch_timings": timings} | others))


@pytest.mark.parametrize("named", [False, True], ids=["array", "mixed columns"])
def test_large_batches_use_the_faster_native_form(preparation, tmp_path, named):
    model, row = (mixed(), ["a", 1.0]) if named else (forest(seed=1, trees=30), [0.0, 1.0, 2.0, 3.0])
    path, sample = save(model, tmp_path / "model.joblib"), Sample((row,))
    version = version_of(path)
    prepare(preparation, version, path, sample=sample)
    with_timings(preparation, [[1, 4000.0, 10.0], [4, 4000.0, 40.0], [8, 10.0, 80.0]])
    loaded = prepare(preparation, version, path, sample=sample)
    assert 4 < loaded.runs["native_from_rows"] <= 8
    rows = loaded.schema.parse([row] * 8)
    compiled = run_blocking(loaded.predictor.predict(rows, 8))
    assert isinstance(loaded.predictor, FormByRows)
    loaded.predictor.wait_until_opened()
    assert loaded.predictor.native is not None
    native = run_blocking(loaded.predictor.predict(rows, 8))
    assert native.predictions() == compiled.predictions()
    assert native.probabilities == pytest.approx(compiled.probabilities)


@pytest.mark.parametrize("by_library", [True, False])
def test_booster_answers_large_batches_by_its_library(preparation, tmp_path, by_library):
    model = xgboost.XGBClassifier(n_estimators=10, n_jobs=1).fit(boosters.rows(), boosters.targets("three"))
    path, sample = save(model, tmp_path / "model.joblib"), Sample(tuple(np.nan_to_num(boosters.rows()[:3]).tolist()))
    version = version_of(path)
    prepare(preparation, version, path, sample=sample)
    with_timings(preparation, [[1, 400.0, 10.0], [4, 10.0, 80.0]], by_library=by_library)
    loaded = prepare(preparation, version, path, sample=sample)
    rows = loaded.schema.parse(np.nan_to_num(boosters.rows()[:4]).tolist())
    compiled = run_blocking(loaded.predictor.predict(rows, 4))
    loaded.predictor.wait_until_opened()
    assert (loaded.predictor.native.library_ is not None) == by_library
    assert run_blocking(loaded.predictor.predict(rows, 4)).probabilities.tolist() == compiled.probabilities.tolist()


def test_native_form_is_not_opened_where_memory_lacks(preparation, tmp_path, monkeypatch):
    path, sample = save(forest(seed=1, trees=30), tmp_path / "forest.joblib"), Sample(([0.0, 1.0, 2.0, 3.0],))
    version = version_of(path)
    prepare(preparation, version, path, sample=sample)
    with_timings(preparation, [[1, 4000.0, 10.0], [4, 10.0, 40.0]])
    loaded = prepare(preparation, version, path, sample=sample)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000)
    run_blocking(loaded.predictor.predict(loaded.schema.parse([[0.0] * 4] * 4), 4))
    loaded.predictor.wait_until_opened()
    assert loaded.predictor.native is None


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"model_memory_bytes": 5_000}, 5_000),
        ({"model_memory_bytes": 5_000, "acceleration": {"size_bytes": 700, "native_from_rows": None}}, 5_000),
        ({"model_memory_bytes": 5_000, "acceleration": {"size_bytes": 700, "native_from_rows": 900}}, 5_700),
    ],
)
def test_both_forms_count_where_both_may_be_loaded(tmp_path, report, expected):
    path = save(constant(1), tmp_path / "a.joblib")
    assert memory_bytes(version_of(path), VersionDetails({}, None, report, "")) == expected


class EqualPace:
    """A model that takes so many seconds for each row, by a clock of its own."""

    def __init__(self, row_seconds: float, monkeypatch) -> None:
        self.row_seconds = row_seconds
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def predict(self, rows):
        self.now += self.row_seconds * len(rows)
        return [0.0] * len(rows)


def test_inline_body_length_is_timed(preparation, tmp_path, monkeypatch):
    path = save(forest(seed=1, trees=30), tmp_path / "forest.joblib")
    sample = Sample(([0.0] * 4,))

    def loaded(**given) -> LoadedModel:
        return prepare(preparation, version_of(path, **given), path, sample=sample)

    compiled = loaded()
    one_named_row = len(json.dumps({f"x{index}": -1.2345678901234567e-300 for index in range(4)}))
    # Whatever the rows take, so many of them are too many: reading them takes longer.
    most_rows = INLINE_ROWS_SECONDS / ROW_OVERHEAD_SECONDS
    assert one_named_row < compiled.inline_max_bytes < 4 * most_rows < MAX_INLINE_BYTES
    assert loaded(acceleration=False).inline_max_bytes == 0, "the native form holds the interpreter"
    slow = inline_max_bytes(EqualPace(0.0001, monkeypatch), compiled.schema, sample)
    assert one_named_row <= slow < 160, "many rows would take too long, one does not"
    assert inline_max_bytes(EqualPace(0.01, monkeypatch), compiled.schema, sample) == 0, "not even one"


@pytest.mark.parametrize(
    ("microseconds", "sample", "blocks"),
    [(80.0, Sample(([0.0] * 4,)), True), (80.0, None, False), (900.0, None, True), (None, None, True)],
)
def test_call_that_may_be_long_blocks_the_loop(preparation, tmp_path, microseconds, sample, blocks):
    path = save(forest(seed=1, trees=30), tmp_path / "forest.joblib")
    version = version_of(path)
    prepare(preparation, version, path, sample=sample)
    with_timings(preparation, [], compiled_microseconds=microseconds)
    assert prepare(preparation, version, path, sample=sample).blocks_loop == blocks
    native = version_of(path, acceleration=False)
    assert not prepare(preparation, native, path, sample=sample).blocks_loop, "the batcher calls it in a thread"


def test_long_answers_lower_the_inline_row_limit(monkeypatch):
    quick = EqualPace(0, monkeypatch)
    inputs = tuple(Feature(f"x{index}") for index in range(10))
    sample = Sample(([0.0] * 10,))
    few, many = (inline_max_bytes(quick, Schema(inputs, classes=tuple(range(count))), sample) for count in (2, 500))
    assert many < few / 8
    wide = Schema(tuple(Feature("x" * 500 + str(index)) for index in range(10)), classes=tuple(range(1000)))
    assert inline_max_bytes(quick, wide, sample) < 100, "long names make no room for many rows without them"


def test_sample_that_disagrees_here_is_not_served(preparation, tmp_path):
    path = save(constant(1), tmp_path / "a.joblib")
    with pytest.raises(SampleMismatch, match=r"answers 1\.0, expected 2\.0"):
        prepare(preparation, version_of(path), path, sample=Sample(([0, 0],), (2.0,)))


def test_other_bytes_are_not_parsed(preparation, tmp_path):
    path = save(constant(1), tmp_path / "a.joblib")
    other = save(constant(1, features=3), tmp_path / "b.joblib")
    with pytest.raises(DigestMismatch):
        prepare(preparation, version_of(path, size_bytes=other.stat().st_size), other)


def test_version_beyond_the_memory_is_refused_with_reason(preparation, tmp_path):
    path = save(constant(1), tmp_path / "a.joblib")
    with pytest.raises(BrokenArtifact, match="run fewer workers"):
        prepare(preparation, version_of(path), path, model_memory_bytes=10**15)


def test_damaged_compiled_form_is_rebuilt_before_serving(preparation, tmp_path):
    path = save(forest(seed=1, trees=30), tmp_path / "forest.joblib")
    version = version_of(path)
    prepare(preparation, version, path)
    (graph,) = preparation.compiled_directory.rglob("*.onnx")
    good = graph.read_bytes()
    graph.write_bytes(good[:-1])
    assert prepare(preparation, version, path).runs["form"] == "compiled"
    assert graph.read_bytes() != good[:-1]


def test_compiled_forms_are_evicted_with_their_artifacts(preparation, tmp_path):
    first = save(forest(seed=1, trees=30), tmp_path / "a.joblib")
    second = save(forest(seed=2, trees=30), tmp_path / "b.joblib")
    small = replace(preparation, cache=ArtifactCache(tmp_path / "cache", max_bytes=1))
    prepare(small, version_of(first), first)
    prepare(small, version_of(second), second)
    small.tidy()
    graphs = list(preparation.compiled_directory.rglob("*.onnx"))
    assert len(graphs) == 1
    assert digest_of(second)[:16] in str(graphs[0])


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (KMeans(2, n_init=1, random_state=0), "transform"),
        (KNeighborsClassifier(2), "kneighbors"),
        (BayesianRidge(), "return_std"),
    ],
)
def test_outputs_only_the_native_model_has_keep_it(preparation, tmp_path, model, method):
    path = save(model.fit([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1]), tmp_path / "k.joblib")
    loaded = prepare(preparation, version_of(path), path)
    rows = loaded.schema.parse([[0.5]])
    assert loaded.schema.has(method)
    assert len(call_method(loaded.estimator, method, rows)[0]) == 1
    assert call(loaded.estimator, rows).predictions() == run_blocking(loaded.predictor.predict(rows, 1)).predictions()
