"""Texts that pandas keeps in Arrow's memory: read as they are, and never past a file's bytes."""

from __future__ import annotations

import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from models_registry.artifacts.formats.arrow_strings import ArrowType, Texts, chunks_of, texts_of, type_of
from models_registry.artifacts.formats.joblib_format import open_joblib
from models_registry.artifacts.formats.pandas_values import python_string_state
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.errors import UntrustedArtifact

# Files of a machine that has pyarrow, by write_arrow_strings.py.
FILES = zipfile.ZipFile(Path(__file__).with_name("arrow_strings.zip"))
TEXTS = pd.Series(["x", "", None, "åß∂", "y" * 300] * 5, dtype="str")
WRITTEN = {
    "unique": TEXTS.unique(),
    "slice": TEXTS.array[3:17],
    "empty": TEXTS.array[:0],
    "chunks": pd.concat([TEXTS, TEXTS]).array,
    "index": pd.Index(TEXTS.unique()),
    "nullable": ["a", None],
    "short offsets": ["a", "b"],
}


def open_pickle(content: bytes, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    return open_joblib(path, trusted=frozenset(), allow_any_pickle=False)


@pytest.mark.parametrize(("name", "protocol"), list(product(WRITTEN, range(6))))
def test_texts_are_read_as_they_are(name, protocol, tmp_path):
    written = WRITTEN[name]
    found = open_pickle(FILES.read(f"{name}.{protocol}.pkl"), tmp_path)
    assert found.dtype.storage == "python"
    assert [None if pd.isna(text) else text for text in found] == [None if pd.isna(text) else text for text in written]


@pytest.mark.parametrize("columns", ["index", "list"])
def test_a_pipeline_with_arrow_categories_answers_alike(columns, tmp_path):
    frame = pd.DataFrame({"team": ["a", "b", "c", "a"] * 5, "size": range(20)})
    encoder = make_column_transformer((OneHotEncoder(categories=[["a", "b", "c"]]), ["team"]))
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, [0, 1, 1, 0] * 5)
    (tmp_path / "model.joblib").write_bytes(FILES.read(f"pipeline-{columns}.joblib"))
    inspection = inspect_artifact(tmp_path / "model.joblib", "joblib", max_claimed_bytes=10**9)
    assert judge(inspection) == ()
    found = open_joblib(tmp_path / "model.joblib", trusted=frozenset(), allow_any_pickle=False)
    np.testing.assert_array_equal(found.predict_proba(frame), model.predict_proba(frame))


def array(kind="large_string", length=2, nulls=0, offset=0, buffers=None, children=(), dictionary=None):  # noqa: PLR0917
    ends = np.array([0, 1, 2], "<i8" if kind == "large_string" else "<i4").tobytes()
    return (ArrowType(kind), length, nulls, offset, buffers or [None, ends, b"xy"], list(children), dictionary)


def offsets(*ends: int) -> bytes:
    return np.array(ends, "<i8").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        array(length=3),
        array(length=10**18),
        array(length=-1),
        array(length=2.0),
        array(length=True),
        array(offset=1),
        array(offset=-1),
        array(offset=10**18),
        array(buffers=[None, offsets(0, 1, 3), b"xy"]),
        array(buffers=[None, offsets(0, 2, 1), b"xy"]),
        array(buffers=[None, offsets(-8, 1, 2), b"xy"]),
        array(buffers=[None, offsets(0, 1, 2**62), b"xy"]),
        array(buffers=[None, None, b"xy"]),
        array(buffers=[None, offsets(0, 1, 2), None]),
        array(buffers=[b"", offsets(0, 1, 2), b"xy"]),
        array(buffers=["\xff", offsets(0, 1, 2), b"xy"]),
        array(buffers=[None, offsets(0, 1, 2), b"\xff\xfe"]),
        array(buffers=[None, offsets(0, 1, 2)]),
        array(children=[1]),
        array(dictionary=1),
        array()[:6],
        ("large_string", *array()[1:]),
        list(array()),
    ],
)
def test_arrays_that_lie_about_their_bytes_are_refused(data):
    with pytest.raises(UntrustedArtifact, match="The artifact holds an Arrow array"):
        texts_of(data)


def test_other_types_and_pieces_are_refused():
    assert texts_of(array()) == texts_of(array("string")) == ["x", "y"]
    for refused in (
        lambda: type_of("int64"),
        lambda: type_of(None),
        lambda: chunks_of([["x"]]),
        lambda: chunks_of("x"),
    ):
        with pytest.raises(UntrustedArtifact):
            refused()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"_pa_array": ["x"], "_dtype": TEXTS.dtype},
        {"_pa_array": Texts(["x"]), "_dtype": "str"},
        {"_pa_array": Texts(["x"]), "_dtype": TEXTS.dtype, "_cache": {"values": 1}},
        {"_pa_array": Texts(["x"]), "_dtype": TEXTS.dtype, "more": {}},
    ],
)
def test_an_array_of_strings_takes_no_other_state(state):
    with pytest.raises(UntrustedArtifact):
        python_string_state(state)
