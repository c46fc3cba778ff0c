"""Malicious joblib files end as a refusal, and leave no mark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models_registry.artifacts.formats import joblib_format, open_artifact
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.errors import ArtifactError, BrokenArtifact, UntrustedArtifact
from tests.artifacts.attacks import LOGISTIC, Attacks, built, file, name, value

ONLY_THE_LOADER_TELLS = {
    "hidden object in a type",
    "shared type turned around",
    "too short a list of objects",
    "too short a list of masked objects",
    "a type of pointers to text",
    "tree of more nodes than it has",
    "tree of more outputs than classes",
}
NAMES = sorted(Attacks(Path("/tmp")).all())


@pytest.fixture
def attacks(tmp_path: Path) -> Attacks:
    made = Attacks(tmp_path)
    made.prepare()
    return made


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("honest") / "model.joblib"
    joblib.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), path)
    return path


def test_there_are_more_than_forty_attacks() -> None:
    assert len(NAMES) >= 60


@pytest.mark.parametrize("key", NAMES)
def test_attack_is_refused_without_effect(key: str, attacks: Attacks, honest: Path) -> None:
    path = attacks.folder / "model.joblib"
    path.write_bytes(attacks.all()[key])
    native = np.dtype("f8").byteorder

    expected = UntrustedArtifact if key in ONLY_THE_LOADER_TELLS else (UntrustedArtifact, BrokenArtifact)
    with pytest.raises(expected):
        joblib_format.open_joblib(path, trusted=frozenset(), allow_any_pickle=False)

    assert not attacks.has_fired()
    assert np.dtype("f8").byteorder == native
    assert open_artifact(honest, "joblib").predict([[1.0]]).tolist() == [1]


@pytest.mark.parametrize("key", NAMES)
def test_inspection_gives_a_reason_without_effect(key: str, attacks: Attacks) -> None:
    path = attacks.folder / "model.joblib"
    path.write_bytes(attacks.all()[key])

    inspection = inspect_artifact(path, "joblib", max_claimed_bytes=10**9)

    # These are told apart only by what numpy makes of them, which the loader compares.
    if key not in ONLY_THE_LOADER_TELLS:
        assert judge(inspection)
    assert not attacks.has_fired()


LOADER = """
import sys, pathlib
sys.path.insert(0, {root!r})
import joblib
from tests.artifacts.attacks import Attacks
attacks = Attacks(pathlib.Path({folder!r}))
for key, content in attacks.firing().items():
    attacks.prepare()
    path = attacks.folder / "model.joblib"
    path.write_bytes(content)
    try:
        joblib.load(path)
    except BaseException:
        pass
    if attacks.mark.is_dir():
        attacks.mark.rmdir()
        fired = True
    else:
        fired = attacks.has_fired()
    print(key, "fired" if fired else "quiet", sep="\\t")
"""


def test_attacks_are_real_where_joblib_itself_reads_them(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADER.format(root=root, folder=str(tmp_path))],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    verdicts = dict(line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
    quiet = {key for key, verdict in verdicts.items() if verdict == "quiet"}
    assert len(verdicts) >= 45
    assert quiet <= {"loose array wrapper", "os.system in lz4", "Z-file"}, done.stderr


def test_blocked_name_is_shown(attacks: Attacks) -> None:
    path = attacks.folder / "model.joblib"
    path.write_bytes(attacks.all()["os.system"])

    with pytest.raises(UntrustedArtifact, match=r"uses os\.system, which is not on the list"):
        open_artifact(path, "joblib")
    assert "os.system" in judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**6))[0]


def test_only_the_loud_setting_runs_what_a_file_names(attacks: Attacks) -> None:
    path = attacks.folder / "model.joblib"
    path.write_bytes(attacks.all()["os.system"])

    with pytest.raises(ArtifactError):
        open_artifact(path, "joblib", allow_any_pickle=True)
    assert attacks.has_fired()


def test_exact_name_is_trusted_and_neighbours_are_not(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(file(built(name("tests.artifacts.models", "Doubling") + b")\x81", value({"factor": 2}))))

    model = open_artifact(path, "joblib", trusted=frozenset({"tests.artifacts.models.Doubling"}))
    assert model.predict([[3]]) == [6]
    for trusted in ({"tests.artifacts.models"}, {"tests.artifacts.models.Doublin"}, {"Doubling"}):
        with pytest.raises(UntrustedArtifact):
            open_artifact(path, "joblib", trusted=frozenset(trusted))


def test_joblib_that_reads_object_arrays_unchecked_is_refused() -> None:
    with pytest.raises(BrokenArtifact, match=r"1\.6 or newer"):
        joblib_format.refuse_old_joblib("1.5.3")
    joblib_format.refuse_old_joblib("1.10.0")


def test_class_keeps_its_methods_after_an_attack_on_it(attacks: Attacks) -> None:
    before = LogisticRegression.predict
    path = attacks.folder / "model.joblib"
    path.write_bytes(file(built(name(*LOGISTIC), b"N" + value({"predict": 1}) + b"\x86")))

    with pytest.raises(UntrustedArtifact):
        open_artifact(path, "joblib")
    assert LogisticRegression.predict is before


@pytest.mark.parametrize("cut", [0, 1, 20, 200, 400])
def test_truncated_file_is_broken(cut: int, honest: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(honest.read_bytes()[:cut])

    with pytest.raises(ArtifactError):
        open_artifact(path, "joblib")
    assert judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**6))
