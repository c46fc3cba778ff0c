"""The trust policy turns the results of an inspection into reasons that name the versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_registry.artifacts import codes
from models_registry.artifacts.formats.migrations import proven
from models_registry.artifacts.inspection import Inspection, inspect_artifact
from models_registry.artifacts.installed import server_versions
from models_registry.artifacts.load_test import LoadTestReport
from models_registry.artifacts.policy import VersionVerdict, explain_versions, judge, version_verdict


def found(**changes: object) -> Inspection:
    plain = {
        "format": "joblib", "globals": (), "called": (), "versions": {}, "claimed_bytes": 10, "outline": (),
        "problems": (),
    }  # fmt: skip
    return Inspection(**{**plain, **changes})  # type: ignore[arg-type]


SERVED = server_versions()["scikit-learn"]


@pytest.mark.parametrize(
    ("inspection", "part"),
    [
        (found(globals=("os.system",)), "not on the list of trusted names: os.system"),
        (found(globals=("numpy.log1p",), called=("numpy.log1p",)), "calls numpy.log1p while it is loaded"),
        (found(globals=("numpy.memmap",), called=("numpy.memmap",)), "calls numpy.memmap"),
        (found(problems=("It is odd.",)), "It is odd."),
        (found(claimed_bytes=2_000), "needs 2000 bytes of memory; at most 1000 are allowed"),
        (found(format="skops", globals=("numpy.memmap",)), "trusted names: numpy.memmap"),
        (found(format="onnx", problems=("It wants a file.",)), "wants a file"),
    ],
)
def test_reason_says_what_was_found(inspection: Inspection, part: str) -> None:
    (reason,) = judge(inspection, max_claimed_bytes=1_000)
    assert part in reason


@pytest.mark.parametrize(
    "inspection",
    [
        found(),
        found(globals=("numpy.log1p", "numpy.memmap")),
        found(globals=("sklearn.svm._classes.SVC",), called=("sklearn.svm._classes.SVC",)),
        found(format="onnx", globals=("ai.onnx.Add",)),
    ],
)
def test_nothing_found_is_no_reason(inspection: Inspection) -> None:
    assert judge(inspection, max_claimed_bytes=1_000) == ()


def test_operators_own_name_is_no_reason() -> None:
    own = found(globals=("shop.Cleaner",), called=("shop.Cleaner",))
    assert judge(own)
    assert judge(own, trusted=frozenset({"shop.Cleaner"})) == ()
    assert judge(own, trusted=frozenset({"shop"}))


@pytest.mark.parametrize(
    ("names", "step"),
    [
        (("shop.Cleaner",), "add the exact names to MODELS_TRUSTED_GLOBALS"),
        (("__main__.Cleaner",), "Put the class or function into a package that the service has installed"),
        (("scipy.stats._distn_infrastructure.rv_continuous_frozen",), "search.best_estimator_"),
        (("joblib.memory.Memory",), "set_params(memory=None)"),
    ],
)
def test_unknown_name_comes_with_the_step_that_helps(names: tuple[str, ...], step: str) -> None:
    (reason,) = judge(found(globals=names))
    assert step in reason
    assert ("publish the model as ONNX or skops" in reason) is (names == ("shop.Cleaner",))


@pytest.mark.parametrize("name", ["shop", "shop.", "shop.*", ".Cleaner", "shop features.Cleaner", "shop..Cleaner"])
def test_trusted_name_of_no_module_is_named(name: str) -> None:
    (reason,) = judge(found(), trusted=frozenset({name, "shop.features.Cleaner"}))
    assert f"MODELS_TRUSTED_GLOBALS holds {name!r}; expected exact names like package.module.Name" in reason
    assert judge(found(format="onnx"), trusted=frozenset({name})) == ()


def test_loud_setting_lets_names_pass_and_bombs_not() -> None:
    bad = found(globals=("os.system",), problems=("It is odd.",), claimed_bytes=10**9)
    (reason,) = judge(bad, allow_any_pickle=True, max_claimed_bytes=10**6)
    assert "bytes of memory" in reason
    assert judge(found(format="skops", globals=("os.system",)), allow_any_pickle=True)


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        ({"scikit-learn": (SERVED,)}, ""),
        ({"scikit-learn": (SERVED,), "numpy": (">=2.0",)}, ""),
        ({"scikit-learn": ("1.4.2",)}, f"Trained with scikit-learn 1.4.2, served with {SERVED}."),
        ({"scikit-learn": ("1.4.2", SERVED)}, f"Trained with scikit-learn 1.4.2 and {SERVED}, served with {SERVED}."),
        (
            {"scikit-learn": (SERVED,), "numpy": ("<2.0",)},
            f"Trained with numpy older than 2.0, served with {server_versions()['numpy']}.",
        ),
    ],
)
def test_verdict_names_both_versions(versions: dict[str, tuple[str, ...]], sentence: str) -> None:
    assert version_verdict(found(versions=versions)).sentence == sentence


def test_estimator_that_hides_its_version_does_not_agree() -> None:
    hidden = found(called=("sklearn.svm._classes.SVC",))
    verdict = version_verdict(hidden)
    assert "scikit-learn of an unknown version" in verdict.sentence
    assert not verdict.is_verified


def test_onnx_agrees_with_every_server() -> None:
    assert version_verdict(found(format="onnx", versions={"skl2onnx": ("1.2",)})) == VersionVerdict("", True)


def _written_by(version: str, model: Any, path: Path) -> Inspection:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", version)
        joblib.dump(model.fit([[0.0], [1.0]], [0, 1]), path)
    return inspect_artifact(path, "joblib", max_claimed_bytes=10**6)


@pytest.mark.parametrize("version", ["0.22.2.post1", "0.24.1", "1.0.2", "1.1.3", "1.4.2", "1.8.0"])
def test_proven_model_of_an_older_scikit_learn_is_verified(version: str, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    verdict = version_verdict(_written_by(version, model, tmp_path / "m.joblib"))
    assert verdict == VersionVerdict(f"Written by scikit-learn {version}, verified for {SERVED}.", True)


@pytest.mark.parametrize("version", ["0.9.0", "1.99.0", "unknown"])
def test_version_without_a_proof_is_not_verified(version: str) -> None:
    parts = ("sklearn.linear_model._logistic.LogisticRegression", "numpy.dtype")
    verdict = version_verdict(found(called=parts, versions={"scikit-learn": (version,)}))
    assert verdict == VersionVerdict(
        f"Trained with scikit-learn {version}, served with {SERVED}. Not verified for these versions: "
        "LogisticRegression.",
        False,
    )


@pytest.mark.parametrize(
    ("called", "is_verified"),
    [
        (("sklearn.svm._classes.SVC",), True),
        (("sklearn.svm._classes.SVC", "numpy.dtype", "builtins.slice"), True),
        # Not in the version that wrote it: a part of a crafted or patched library.
        (("sklearn.svm._classes.SVC", "sklearn.frozen._frozen.FrozenEstimator"), False),
        (("sklearn.svm._classes.SVC", "shop.features.Cleaner"), False),
        (("shop.features.Cleaner",), False),
        ((), False),
    ],
)
def test_each_part_needs_a_proof(called: tuple[str, ...], is_verified: bool) -> None:
    assert version_verdict(found(called=called, versions={"scikit-learn": ("1.4.2",)})).is_verified is is_verified


def test_every_version_in_the_file_needs_a_proof() -> None:
    mixed = found(called=("sklearn.svm._classes.SVC",), versions={"scikit-learn": ("1.4.2", "0.9.1")})
    assert not version_verdict(mixed).is_verified


def test_another_numpy_alone_is_verified_for_proven_parts() -> None:
    versions = {"scikit-learn": ("1.8.0",), "numpy": ("<2.0",)}
    verdict = version_verdict(found(called=("sklearn.svm._classes.SVC",), versions=versions))
    assert verdict.is_verified
    assert f"Written by numpy older than 2.0, verified for {server_versions()['numpy']}." in verdict.sentence


def test_nothing_is_proven_for_another_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven, "installed_version", lambda name: "1.10.0")
    assert proven.unproven_parts(["sklearn.svm._classes.SVC"], ["1.4.2"]) == ("sklearn.svm._classes.SVC",)


@pytest.mark.parametrize(
    "name",
    ["posix.system", "os.system", "subprocess.Popen", "builtins.eval", "builtins.__import__", "socket.socket",
     "operator.attrgetter", "numpy.load", "joblib.numpy_pickle.load", "sklearn.datasets._base.clear_data_home",
     "importlib.import_module", "runpy._run_code", "ctypes.CDLL", "pickle.loads", "shutil.rmtree"],
)  # fmt: skip
def test_dangerous_name_is_not_to_be_trusted(name: str) -> None:
    (reason,) = judge(found(globals=("shop.Cleaner", name)))
    assert f"trusted names: {name}, shop.Cleaner" in reason
    assert "Do not trust this file. No part of it was run" in reason
    assert "MODELS_TRUSTED_GLOBALS" not in reason


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("xgboost.dask.DaskXGBClassifier", "Use one of its classifiers, regressors or rankers, or its Booster"),
        ("lightgbm.basic.Dataset", "Use one of its classifiers, regressors or rankers, or its Booster"),
        ("catboost.core.CatBoostClassifier", "model.save_model('model.onnx', format='onnx')"),
        ("torch._utils._rebuild_tensor_v2", "torch.onnx.export"),
        ("pandas.core.series.Series", "columns.tolist()"),
        ("imblearn.pipeline.Pipeline", "a pipeline of scikit-learn"),
    ],
)
def test_library_that_is_not_here_comes_with_its_export(name: str, step: str) -> None:
    (reason,) = judge(found(globals=(name,)))
    assert step in reason
    assert "package of your own code" not in reason


OLD = found(versions={"scikit-learn": ("1.4.2",)})


FAILED = "The artifact failed with KeyError: 'x'."
CORRECT = "Correct the model or its sample, and publish again."


def failed(finding: str, code: str, advice: str = CORRECT) -> LoadTestReport:
    return LoadTestReport(passed=False, reason=f"{finding} {advice}", code=code, advice=advice)


@pytest.mark.parametrize("code", sorted(codes.CAUSED_BY_VERSIONS))
def test_failure_of_another_version_names_both_versions(code: str) -> None:
    told = explain_versions(failed(FAILED, code), OLD)
    assert told == (
        f"{FAILED} Trained with scikit-learn 1.4.2, served with {SERVED}. Train it again with the server's versions "
        f"(pip install scikit-learn=={SERVED} numpy=={server_versions()['numpy']}), or publish it as ONNX."
    )


def test_failure_that_no_version_causes_stays_as_it_is() -> None:
    report = failed("Row 0: feature 'age' is missing.", "")
    assert explain_versions(report, OLD) == report.reason


def test_failure_under_the_same_versions_stays_as_it_is() -> None:
    report = failed(FAILED, codes.EXCEPTION)
    assert explain_versions(report, found(versions={"scikit-learn": (SERVED,)})) == report.reason
