"""A compiled model as a worker serves it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import call
from models_registry.compilation import AccelerationReport, open_compiled
from models_registry.compilation.cache import write, write_report
from models_registry.compilation.compiled import CompiledModel
from models_registry.compilation.compiler import Compiled, candidate_of, compile_estimator, verified_candidate
from models_registry.errors import BrokenArtifact, DigestMismatch
from tests.compilation import catalogue

ROOT = Path(__file__).parents[2]


def case(name: str, data: str) -> catalogue.Fitted:
    return catalogue.fit(next(item for item in catalogue.cases() if (item.name, item.data) == (name, data)))


def compiled(fitted: catalogue.Fitted, **changes: Any) -> CompiledModel:
    verified = verified_candidate(fitted.estimator, fitted.schema, fitted.instances)
    assert not isinstance(verified, str), verified
    return CompiledModel(verified.candidate.model, verified.candidate.plan | changes)


@pytest.fixture(scope="module")
def mixed() -> catalogue.Fitted:
    return case("scaled and one-hot columns → RandomForestClassifier", catalogue.MIXED)


@pytest.fixture(scope="module")
def forest() -> catalogue.Fitted:
    return case("RandomForestClassifier", catalogue.CLASSES)


@pytest.fixture(scope="module")
def kept(forest: catalogue.Fitted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Compiled]:
    verdict = compile_estimator(forest.estimator, forest.schema, forest.instances)
    assert verdict.report.is_compiled
    directory = tmp_path_factory.mktemp("compiled")
    return save(verdict, directory), verdict


def save(verdict: Compiled, directory: Path) -> Path:
    write(directory / "model.onnx", verdict.model)
    write(directory / "plan.json", verdict.plan)
    write_report(directory, verdict.report)
    return directory


def test_mixed_rows_come_as_frame_objects_lists_and_columns(mixed: catalogue.Fitted) -> None:
    model = compiled(mixed)
    frame = mixed.schema.parse(list(mixed.instances))
    objects = replace(mixed.schema, container="objects").parse(list(mixed.instances))
    columns = {name: [row[name] for row in mixed.instances] for name in mixed.schema.names}
    expected = mixed.estimator.predict_proba(frame)

    assert type(frame).__name__ == "DataFrame"
    for rows in (frame, objects, objects.tolist(), columns):
        labels, probabilities = model.predict_both(rows)
        np.testing.assert_array_equal(probabilities, expected)
        assert labels.tolist() == mixed.estimator.predict(frame).tolist()


def test_one_run_gives_labels_and_probabilities(forest: catalogue.Fitted) -> None:
    model = compiled(forest)
    rows = forest.schema.parse(list(forest.instances))
    expected = call(forest.estimator, rows)
    labels, probabilities = model.predict_both(rows)
    assert (labels == expected.labels).all()
    np.testing.assert_array_equal(probabilities, expected.probabilities)
    for index in range(len(rows)):
        one, chance = model.predict_both(rows[index : index + 1])
        assert one.tolist() == [expected.labels[index]]
        assert chance is not None
        np.testing.assert_array_equal(chance[0], expected.probabilities[index])


def test_rows_beyond_one_run_are_split(forest: catalogue.Fitted) -> None:
    whole, parted = compiled(forest), compiled(forest, row_bytes=16 * 1024**2)
    rows = np.tile(forest.schema.parse(list(forest.instances)), (3, 1))
    np.testing.assert_array_equal(parted.predict_proba(rows), whole.predict_proba(rows))
    assert (parted.predict(rows) == whole.predict(rows)).all()


def test_memory_of_a_large_batch_stays_bounded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    estimator = KNeighborsRegressor().fit(rng.normal(size=(3000, 4)), rng.normal(size=3000))
    candidate = candidate_of(estimator, infer_schema(estimator), [])
    (tmp_path / "model.onnx").write_bytes(candidate.model)
    # All at once, the distances alone would be 30,000 × 3,000 numbers of 8 bytes, several times over.
    script = (
        "import json, resource, sys, numpy; from pathlib import Path\n"
        "from models_registry.compilation import CompiledModel\n"
        "model = CompiledModel(Path(sys.argv[1]).read_bytes(), json.loads(sys.argv[2]))\n"
        "model.predict(numpy.ones((1, 4)))\n"
        "now = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 400 * 1024**2,) * 2)\n"
        "print(model.predict(numpy.ones((30_000, 4))).shape)"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "model.onnx"), json.dumps(candidate.plan)]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "(30000,)", result.stderr


def test_threads_share_one_model(forest: catalogue.Fitted) -> None:
    model = compiled(forest)
    rows = forest.schema.parse(list(forest.instances))
    expected = forest.estimator.predict_proba(rows)

    def ask(turn: int) -> bool:
        asked = slice(turn % 15, turn % 15 + 1 + turn % 5)
        return bool((model.predict_proba(rows[asked]) == expected[asked]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(2000)))


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("RandomForestClassifier", catalogue.CLASSES, str),
        ("SVC", catalogue.TWO, bool),
    ],
)
def test_labels_keep_their_type(name: str, data: str, kind: type) -> None:
    fitted = case(name, data)
    labels = compiled(fitted).predict(fitted.schema.parse(list(fitted.instances))).tolist()
    assert {type(label) for label in labels} == {kind}


def test_model_offers_the_methods_that_the_native_one_has(forest: catalogue.Fitted) -> None:
    machine = compiled(case("LinearSVC", catalogue.CLASSES))
    assert not hasattr(machine, "predict_proba")
    assert callable(machine.decision_function)
    model = compiled(forest)
    assert callable(model.predict_proba)
    assert not hasattr(model, "decision_function")
    assert not hasattr(compiled(case("Ridge", catalogue.NUMBERS)), "classes_")


def test_unknown_category_is_refused_as_natively() -> None:
    fitted = case("filled, one-hot and target-encoded columns → LogisticRegression", catalogue.MIXED)
    row = dict(fitted.instances[0], city="Atlantis")
    opened = replace(fitted.schema, inputs=tuple(replace(item, closed=False) for item in fitted.schema.inputs))
    with pytest.raises(ValueError, match="unknown categories"):
        fitted.estimator.predict(opened.parse([row]))
    with pytest.raises(ValueError, match=r"unknown categories \['Atlantis'\] in column 'city'"):
        compiled(fitted).predict(opened.parse([row]))


def test_kept_model_opens_and_answers(kept: tuple[Path, Compiled], forest: catalogue.Fitted) -> None:
    rows = forest.schema.parse(list(forest.instances))
    np.testing.assert_array_equal(open_compiled(kept[0]).predict_proba(rows), forest.estimator.predict_proba(rows))


def test_flipped_bit_is_found_before_the_model_is_read(kept: tuple[Path, Compiled], tmp_path: Path) -> None:
    verdict = kept[1]
    damaged = bytearray(verdict.model)
    damaged[len(damaged) // 2] ^= 1
    save(replace(verdict, model=bytes(damaged)), tmp_path)
    with pytest.raises(DigestMismatch, match="it is built again"):
        open_compiled(tmp_path)


def test_half_a_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BrokenArtifact, match="Remove the directory"):
        open_compiled(tmp_path)


def test_graph_that_onnxruntime_refuses_is_a_clear_error(kept: tuple[Path, Compiled], tmp_path: Path) -> None:
    from models_registry.compilation.compiled import digest_of

    verdict = kept[1]
    report: AccelerationReport = replace(verdict.report, sha256=digest_of(b"nonsense", verdict.plan))
    save(Compiled(report, b"nonsense", verdict.plan), tmp_path)
    with pytest.raises(BrokenArtifact, match="onnxruntime cannot load"):
        open_compiled(tmp_path)


def test_serving_worker_imports_neither_scikit_learn_nor_compiler(
    kept: tuple[Path, Compiled],
) -> None:
    script = (
        "import sys, numpy; from pathlib import Path\n"
        "from models_registry.compilation import accelerate, open_compiled\n"
        f"model = open_compiled(Path({str(kept[0])!r}))\n"
        "model.predict_both(numpy.zeros((1, 16)))\n"
        "print(sorted({'sklearn', 'scipy', 'pandas', 'onnx', 'skl2onnx', 'joblib', 'django'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
