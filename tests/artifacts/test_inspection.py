"""An inspection identifies a file, runs none of it, and limits its memory."""

from __future__ import annotations

import pickle
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models_registry.artifacts.inspection import Inspection, inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.artifacts.structure import validate_structure
from models_registry.errors import UnsupportedFormat
from tests.artifacts.attacks import LOGISTIC, PROTO, STOP, array_dtype, file, joblib_array, name, value

LIMIT = 200_000_000


@pytest.fixture(scope="module")
def model() -> object:
    X = np.random.RandomState(0).rand(50, 3)
    return make_pipeline(StandardScaler(), RandomForestClassifier(4)).fit(X, np.arange(50) % 2)


@pytest.mark.parametrize("format", ["joblib", "skops"])
def test_inspection_tells_names_versions_sizes_and_steps(format: str, model: object, tmp_path: Path) -> None:
    path = tmp_path / f"m.{format}"
    {"joblib": joblib.dump, "skops": skops.io.dump}[format](model, path)

    found = inspect_artifact(path, format, max_claimed_bytes=LIMIT)

    assert "sklearn.ensemble._forest.RandomForestClassifier" in found.globals
    assert "sklearn.tree._tree.Tree" in found.called
    assert found.versions["scikit-learn"] == ("1.9.1",)
    assert found.outline == (
        "Pipeline",
        "  standardscaler: StandardScaler",
        "  randomforestclassifier: RandomForestClassifier (4 × DecisionTreeClassifier)",
    )
    assert found.claimed_bytes > 1_000
    assert judge(found) == ()


def test_inspection_survives_json(model: object, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(model, path)
    found = inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT)
    assert Inspection.from_json(found.to_json()) == found


def test_joblib_betrays_the_packages_that_wrote_it(model: object, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(model, path)
    versions = inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT).versions
    assert versions == {
        "joblib": (">=1.2",), "numpy": (">=2.0",), "python": (">=3.4",), "scikit-learn": ("1.9.1",)
    }  # fmt: skip


def test_older_numpy_is_betrayed_by_its_module(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(file(name("numpy.core.multiarray", "scalar")))
    assert inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT).versions["numpy"] == ("<2.0",)


def test_inspection_imports_nothing(tmp_path: Path) -> None:
    package = tmp_path / "package_that_tells.py"
    package.write_text("raise AssertionError('imported')")
    path = tmp_path / "m.joblib"
    path.write_bytes(file(name("package_that_tells", "Model") + b")\x81"))
    assert inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT).globals == ("package_that_tells.Model",)


def test_unknown_format_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat):
        inspect_artifact(tmp_path / "m.pkl", "pickle", max_claimed_bytes=1)


def test_control_characters_of_names_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(file(name("evil\x1b[2J\ud800", "na\nme")))
    (found,) = inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT).globals
    assert found.isprintable()
    found.encode()


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_end_as_an_inspection(seed: int, model: object, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(model, path, compress=seed % 2)
    content = bytearray(path.read_bytes())
    chance = np.random.RandomState(seed)
    for _ in range(3):
        content[chance.randint(len(content))] ^= 1 << chance.randint(8)
    path.write_bytes(content)
    judge(inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT))


def _compressed(chunks: Iterator[bytes]) -> bytes:
    compressor = zlib.compressobj(9)
    return b"".join([*map(compressor.compress, chunks), compressor.flush()])


def _zeros(count: int) -> Iterator[bytes]:
    block = bytes(1 << 20)
    yield from (block for _ in range(count >> 20))


def _floats() -> bytes:
    return array_dtype("f8", (3, "<", None, None, None, -1, -1, 0))


def _long_bytes(count: int) -> bytes:
    return b"\x8e" + struct.pack("<Q", count)


BOMBS: dict[str, Callable[[], bytes]] = {
    "a shape of 8 TB": lambda: file(joblib_array(_floats(), (1 << 40,), b"")),
    "a shape that overflows": lambda: file(joblib_array(_floats(), (1 << 40, 1 << 40, 1 << 40), b"")),
    "1000:1 in one text": lambda: _compressed(
        iter([PROTO + _long_bytes(1 << 29), *_zeros(1 << 29), b"."])
    ),
    "1000:1 in one array": lambda: _compressed(
        iter([PROTO + joblib_array(_floats(), (1 << 26,), b""), *_zeros(1 << 29), STOP])
    ),
    "1000:1 in one line": lambda: _compressed(iter([b"I", *_zeros(1 << 28)])),
    "1000:1 in many texts": lambda: _compressed(
        iter([PROTO, *((b"\x8c\xff" + b"a" * 255 + b"0") * 4_000 for _ in range(300)), STOP])
    ),
    "1000:1 in one text of the old kind": lambda: _compressed(
        iter([b"T" + struct.pack("<i", 1 << 29), *_zeros(1 << 29), b"."])
    ),
    "one state for many objects": lambda: file(
        b"}(" + b"".join(value(f"k{n}") + b"N" for n in range(20_000)) + b"uq\xc8"
        + (name(*LOGISTIC) + b")\x81h\xc8b0") * 5_000 + b"N"
    ),
    "a length of no file": lambda: PROTO + _long_bytes(1 << 62),
    "a number of 2 GB": lambda: PROTO + b"\x8b" + struct.pack("<i", (1 << 31) - 1),
    "ten million lists": lambda: _compressed(iter([PROTO, *(b"]" * (1 << 20) for _ in range(10)), STOP])),
    "deeply nested lists": lambda: _compressed(iter([PROTO, b"]" * (1 << 20) + b"a" * ((1 << 20) - 1), STOP])),
    "arrays of objects in arrays of objects": lambda: PROTO + b"".join(
        joblib_array(array_dtype("O8", (3, "|", None, None, None, -1, -1, 63)), (1,), PROTO) for _ in range(2_000)
    ),
    "a key that hashes for ever": lambda: file(
        b"}" + b")" + b"\x94".join(b"\x85h" + bytes([0]) + b"\x86" for _ in range(2)) + value(1) + b"s"
    ),
    "memo at a huge index": lambda: PROTO + b"Nr\xff\xff\xff\xff.",
}  # fmt: skip


@pytest.mark.parametrize("key", BOMBS)
def test_bomb_is_refused_in_little_time_and_memory(key: str, tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(BOMBS[key]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()

    found = inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT)

    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert judge(found) or key in {"deeply nested lists", "memo at a huge index"}
    assert time.process_time() - start < 20
    assert grown < 600_000_000 if key == "ten million lists" else grown < 200_000_000


def test_many_keys_that_hash_for_ever_are_not_hashed(tmp_path: Path) -> None:
    nested = b")" + b"".join(b"\x94h" + bytes([index]) + b"\x86" for index in range(60))
    path = tmp_path / "m.joblib"
    path.write_bytes(file(b"}" + nested + value(1) + b"s"))
    start = time.process_time()
    inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name_", ["array.npy", "schema.json"])
def test_zip_bomb_under_skops_is_refused(name_: str, tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    node = '{"__loader__": "NdArrayNode", "__module__": "numpy", "__class__": "ndarray", "type": "numpy", "file": "%s"}'
    schema = f'{{"protocol": 2, "content": [{",".join([node % name_] * 3)}]}}'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if name_ == "schema.json":
            archive.writestr("schema.json", "[" + " " * (300 << 20) + "]")
        else:
            archive.writestr("schema.json", schema)
            archive.writestr(name_, bytes(100 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "are allowed" in judge(inspect_artifact(path, "skops", max_claimed_bytes=LIMIT))[0]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100_000_000


def test_header_of_an_array_counts_as_what_it_claims(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(127)
    node = '{"__loader__": "NdArrayNode", "__module__": "numpy", "__class__": "ndarray", "type": "numpy", "file": "a"}'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", f'{{"protocol": 2, "content": {node}}}')
        archive.writestr("a", header + b"\n")
    assert "8796093022" in judge(inspect_artifact(path, "skops", max_claimed_bytes=LIMIT))[0]


def test_hundred_trees_are_checked_in_linear_time(tmp_path: Path) -> None:
    X = np.random.RandomState(0).rand(5_000, 10)
    forest = RandomForestClassifier(100, random_state=0).fit(X, np.random.RandomState(1).randint(0, 2, 5_000))
    path = tmp_path / "m.joblib"
    joblib.dump(forest, path)
    start = time.process_time()
    reasons = judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**9))
    validate_structure(forest)
    assert reasons == ()
    assert time.process_time() - start < 3


def test_pickle_written_by_hand_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    found = inspect_artifact(path, "joblib", max_claimed_bytes=LIMIT)
    assert judge(found) == ()
    assert found.outline == ("LogisticRegression",)
