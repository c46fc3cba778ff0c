"""Compilation in a separate process, once per machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from models_registry.artifacts.inference import infer_schema
from models_registry.compilation import AccelerationRequest, Limits, accelerate, open_compiled, prune
from tests.support.estimators import forest

ROOT = Path(__file__).parents[2]
ROWS, LABELS = load_iris(return_X_y=True)

ASK = """
import json, sys
from pathlib import Path
from models_registry.compilation import AccelerationRequest, accelerate
report = accelerate(AccelerationRequest.from_json(json.load(sys.stdin)), Path(sys.argv[1]))
print(json.dumps([report.kind, report.compile_seconds, str(report.directory)]))
"""


def request_for(estimator: Any, path: Path) -> AccelerationRequest:
    joblib.dump(estimator, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return AccelerationRequest(path, "joblib", digest, infer_schema(estimator), tuple(ROWS[:10].tolist()))


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> AccelerationRequest:
    path = tmp_path_factory.mktemp("artifact") / "forest.joblib"
    return request_for(RandomForestClassifier(10, random_state=0).fit(ROWS, LABELS), path)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> AccelerationRequest:
    """Return the request for a forest that takes seconds and much memory to compile."""
    path = tmp_path_factory.mktemp("artifact") / "many.joblib"
    return request_for(forest(seed=0, trees=400, rows=3000), path)


@pytest.fixture(scope="module")
def filled(request_: AccelerationRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache in which two processes that started together have compiled the forest."""
    cache = tmp_path_factory.mktemp("cache")
    question = json.dumps(request_.to_json()).encode()
    started = [
        subprocess.Popen([sys.executable, "-c", ASK, str(cache)], cwd=ROOT, stdin=PIPE, stdout=PIPE) for _ in range(2)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(question)
        process.stdin.close()
    answers = [json.loads(process.stdout.read()) for process in started if process.stdout is not None]
    assert [process.wait() for process in started] == [0, 0]
    # The seconds are the compiling process's own: had each compiled, they would differ.
    assert answers[0] == answers[1]
    assert answers[0][0] == "onnx64"
    return cache


def directories(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_two_processes_compile_once(filled: Path) -> None:
    assert len(directories(filled)) == 1
    assert sorted(path.name for path in directories(filled)[0].iterdir()) == ["model.onnx", "plan.json", "report.json"]


def test_later_processes_find_it_done(filled: Path, request_: AccelerationRequest) -> None:
    before = (directories(filled)[0] / "report.json").stat().st_mtime_ns
    # A tenth of a second is too short to compile anything.
    report = accelerate(request_, filled, limits=Limits(wall_seconds=0.1))
    assert report.is_compiled
    assert report.directory == directories(filled)[0]
    assert (directories(filled)[0] / "report.json").stat().st_mtime_ns == before


def test_report_states_verification_and_gain(filled: Path, request_: AccelerationRequest) -> None:
    report = accelerate(request_, filled)
    assert report.rows_verified >= 500
    assert report.largest_difference == 0.0
    assert report.tolerance is not None
    assert report.speedup is not None and report.speedup > 1.2
    assert report.versions["onnxruntime"]
    assert "answers equal to the last bit" in report.describe()


def test_compiled_form_answers_as_the_artifact_does(filled: Path, request_: AccelerationRequest) -> None:
    directory = accelerate(request_, filled).directory
    assert directory is not None
    model, native = open_compiled(directory), joblib.load(request_.artifact)
    np.testing.assert_array_equal(model.predict_proba(ROWS), native.predict_proba(ROWS))


@pytest.mark.parametrize("name", ["model.onnx", "plan.json", "report.json"])
def test_damaged_form_is_built_again(filled: Path, request_: AccelerationRequest, name: str, tmp_path: Path) -> None:
    source = directories(filled)[0]
    copy = tmp_path / source.name
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes() if path.name != name else path.read_bytes()[:-9])
    # There is no time to build it, so that the attempt shows in the reason.
    report = accelerate(request_, tmp_path, limits=Limits(wall_seconds=0.1))
    assert report.reason == "the compilation took longer than the limit of 0.1 s"


def test_slow_child_gives_native_verdict_for_an_hour(request_: AccelerationRequest, tmp_path: Path) -> None:
    late = accelerate(request_, tmp_path, limits=Limits(wall_seconds=0.1))
    assert (late.kind, late.is_final) == ("native", False)
    assert late.reason == "the compilation took longer than the limit of 0.1 s"

    assert accelerate(request_, tmp_path).reason == late.reason
    report = directories(tmp_path)[0] / "report.json"
    two_hours_ago = time.time() - 7200
    os.utime(report, (two_hours_ago, two_hours_ago))
    assert accelerate(request_, tmp_path).is_compiled


def test_child_without_memory_gives_a_native_verdict(many: AccelerationRequest, tmp_path: Path) -> None:
    report = accelerate(many, tmp_path, limits=Limits(memory_bytes=1024**2))
    assert (report.kind, report.is_final) == ("native", False)
    assert report.reason


def test_signalled_child_gives_a_native_verdict(many: AccelerationRequest, tmp_path: Path) -> None:
    # The kernel ends a process that has used its processor time up: a task has a second at least.
    report = accelerate(many, tmp_path, limits=Limits(cpu_seconds=0))
    assert (report.kind, report.is_final) == ("native", False)
    assert "SIG" in str(report.reason)


def test_artifact_that_cannot_be_opened_gives_a_native_verdict(request_: AccelerationRequest, tmp_path: Path) -> None:
    broken = tmp_path / "broken.joblib"
    broken.write_bytes(b"not a model")
    report = accelerate(replace(request_, artifact=broken, digest="0" * 64), tmp_path / "cache")
    assert report.kind == "native"
    assert "compiler failed" in str(report.reason)


def test_native_verdict_is_kept_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 2, size=(200, 4)).astype(float)
    request = request_for(KNeighborsClassifier(3).fit(grid, rng.integers(0, 3, 200)), tmp_path / "grid.joblib")
    first = accelerate(request, tmp_path / "cache")
    assert (first.kind, first.is_final) == ("native", True)
    second = accelerate(request, tmp_path / "cache", limits=Limits(wall_seconds=0.1))
    assert second == first


def test_onnx_artifact_is_served_as_it_is(request_: AccelerationRequest, tmp_path: Path) -> None:
    report = accelerate(replace(request_, format="onnx"), tmp_path)
    assert "already" in report.describe()
    assert not list(tmp_path.iterdir())


def test_nothing_half_built_is_left_behind(request_: AccelerationRequest, tmp_path: Path) -> None:
    accelerate(request_, tmp_path, limits=Limits(wall_seconds=0.1))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_forms_of_artifacts_that_are_gone_are_removed(request_: AccelerationRequest, tmp_path: Path) -> None:
    accelerate(request_, tmp_path, limits=Limits(wall_seconds=0.1))
    assert prune(tmp_path, {request_.digest}) == []
    assert [path.name[:16] for path in prune(tmp_path, set())] == [request_.digest[:16]]
    assert not directories(tmp_path)


BUILD = """
import sys, time
from pathlib import Path
from models_registry.compilation.cache import build_dir
with build_dir(Path(sys.argv[1])) as built:
    (built / "model.onnx").write_bytes(b"half")
    print("half", flush=True)
    time.sleep(60)
"""


def test_killed_processes_partial_build_is_removed_after_hour(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(tmp_path / "0123-abc")], cwd=ROOT, stdout=PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    (half,) = directories(tmp_path)
    process.kill()
    process.wait()
    assert prune(tmp_path, set()) == []
    two_hours_ago = time.time() - 7200
    os.utime(half, (two_hours_ago, two_hours_ago))
    assert prune(tmp_path, {"0123"}) == [half]
    assert not half.exists()


def test_a_million_features_are_not_tried(request_: AccelerationRequest, tmp_path: Path) -> None:
    wide = replace(request_.schema, inputs=request_.schema.inputs * 250_000)
    report = accelerate(replace(request_, schema=wide), tmp_path)
    assert not report.is_compiled
    assert report.reason is not None and "takes 1000000 features" in report.reason
    assert list(tmp_path.iterdir()) == []
