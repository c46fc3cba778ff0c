"""A file that holds no artifact is called by its name."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge


def _zip(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return content.getvalue()


def _npy() -> bytes:
    content = io.BytesIO()
    np.save(content, np.arange(4))
    return content.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer"),
    "html": (b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>", "an HTML page"),
    "html-short": (b"<html><body>404</body></html>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an XML document"),
    "json": (json.dumps({"model": "churn", "rows": [1, 2]}).encode(), "a JSON file"),
    "csv": (pd.DataFrame({"age": [1, 2], "city": ["a", "b"]}).to_csv().encode(), "a CSV file"),
    "text": (b"This model was trained in 2019.\nAsk the team for it.\n", "a text file"),
    "empty": (b"", "an empty file"),
    "torch": (_zip("archive/data.pkl", "archive/version"), "a PyTorch model"),
    "torch-old": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "a PyTorch model"),
    "keras": (_zip("config.json", "model.weights.h5"), "a Keras or TensorFlow model"),
    "hdf": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "a Keras or TensorFlow model"),
    "parquet": (b"PAR1" + b"\0" * 100 + b"PAR1", "a Parquet file"),
    "numpy": (_npy(), "a numpy array"),
    "zip": (_zip("readme.txt"), "a zip archive"),
    "zip-cut": (_zip("readme.txt")[:30], "a zip archive that is damaged"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "a PNG image"),
}


@pytest.mark.parametrize("key", FILES)
def test_file_is_called_by_its_name(key: str, tmp_path: Path) -> None:
    content, said = FILES[key]
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    (reason,) = judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**8))
    assert f"The artifact is not a joblib file. It is {said}" in reason


def test_skops_file_under_another_ending_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    skops.io.dump(LinearRegression().fit([[1.0]], [1.0]), path)
    (reason,) = judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**8))
    assert "It is a skops file. Rename it to end in .skops." in reason


@pytest.mark.parametrize("format", ["skops", "onnx"])
def test_page_in_the_place_of_any_format_is_named(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{format}"
    path.write_bytes(b"<html><body>404</body></html>")
    (reason,) = judge(inspect_artifact(path, format, max_claimed_bytes=10**8))
    assert f"The artifact is not a {format} file. It is an HTML page" in reason


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_file_that_was_cut_off_is_called_so(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit([[1.0]], [1.0]), path, protocol=protocol)
    path.write_bytes(path.read_bytes()[:-40])
    (reason,) = judge(inspect_artifact(path, "joblib", max_claimed_bytes=10**8))
    assert "truncated" in reason
