"""Manifests: invalid JSON and values that a database cannot store are refused; the values of CSV cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models_registry.artifacts.manifest import Manifest, Sample, parse_metrics
from models_registry.errors import ManifestError

HUGE = "1" + "0" * 400
REFUSED = {
    "NaN for a metric": ('{"metrics": {"loss": NaN}}', "must be a finite number"),
    "minus infinity": ('{"metrics": {"loss": -Infinity}}', "-Infinity is not a JSON number"),
    "misspelt field": ('{"descripton": ""}', "did you mean 'description'"),
    "a float that overflows": ('{"sample": {"instances": [[1e999]]}}', "not finite"),
    "lone surrogate": ('{"description": "\\ud800"}', "half a character"),
    "lone surrogate in a key": ('{"sample": {"instances": [{"\\udfff": 1}]}}', "half a character"),
    "misspelt field of an input": ('{"inputs": [{"name": "a", "nulable": true}]}', "did you mean 'nullable'"),
    "input of an unknown type": ('{"inputs": [{"name": "a", "type": "date"}]}', "boolean, datetime, any"),
    "input that is nullable in words": ('{"inputs": [{"name": "a", "nullable": "yes"}]}', "expected true or false"),
    "input without a name": ('{"inputs": [{"type": "float"}]}', "needs a 'name'"),
    "NUL": ('{"description": "a\\u0000b"}', "character NUL"),
    "integer metric beyond a float": (f'{{"metrics": {{"a": {HUGE}}}}}', "'a' must be a finite number"),
    "integer of too many digits": (f'{{"metrics": {{"a": 1{"0" * 5000}}}}}', "is not valid JSON"),
    "too deep": ("[" * 100_000, "is not valid JSON"),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_no_database_stores_is_refused_in_words(content, sentence):
    with pytest.raises(ManifestError, match=sentence) as caught:
        Manifest.parse(content.encode())
    assert len(str(caught.value)) < 300


def test_whole_characters_and_a_spelled_out_escape_are_taken():
    manifest = Manifest.parse(rb'{"description": "\ud83d\ude00 \\u0000", "metrics": {"a": 1}}')
    assert manifest.description == "\U0001f600 \\u0000"
    assert manifest.metrics == {"a": 1}


def test_a_missing_cell_as_pandas_writes_it_is_null():
    manifest = Manifest.parse(b'{"sample": {"instances": [{"age": NaN, "city": "Oslo"}]}}')
    assert manifest.sample is not None
    assert manifest.sample.instances == ({"age": None, "city": "Oslo"},)


def test_metrics_from_elsewhere_are_held_to_the_same():
    for number in (float("nan"), float("inf"), 10**400, True, "1"):
        with pytest.raises(ManifestError, match="must be a finite number"):
            parse_metrics({"a": number})


def test_sample_alone_is_checked_by_the_same_rules():
    with pytest.raises(ManifestError, match="not finite"):
        Sample.from_json({"instances": [[float("nan")]]})


def test_inputs_keep_what_they_say_and_nothing_more():
    inputs = [{"name": "a"}, {"name": "b", "type": "datetime", "nullable": True}, {"name": "c", "nullable": False}]
    assert Manifest.from_json({"inputs": inputs}).to_json() == {"inputs": inputs}


CELLS = {
    "0": 0,
    "-12": -12,
    "1.50": 1.5,
    ".5": 0.5,
    "2.": 2.0,
    "1e-05": 1e-05,
    " 7": 7,
    "True": True,
    "": None,
    "01234": "01234",
    "-01.5": "-01.5",
    "1_000": "1_000",
    "nan": "nan",
    "Infinity": "Infinity",
    "1e999": "1e999",
    "9" * 5000: "9" * 5000,
    "٣": "٣",
    "0x10": "0x10",
}


@pytest.mark.parametrize(("cell", "value"), CELLS.items(), ids=[cell[:9] or "empty" for cell in CELLS])
def test_only_plain_decimal_cells_are_numbers(cell, value):
    sample = Sample.from_csv(f"a,b\nx,{cell}\n")
    assert sample.instances[0]["b"] == value
    assert type(sample.instances[0]["b"]) is type(value)


def test_numbered_csv_columns_keep_their_order():
    table = pd.DataFrame(np.array([[1.5, 2.0], [3.0, 4.5]]))
    assert Sample.from_csv(table.to_csv(index=False)).instances == ([1.5, 2.0], [3.0, 4.5])
    expected = Sample.from_csv(table.assign(prediction=["a", "b"]).to_csv(index=False))
    assert (expected.instances, expected.predictions) == (([1.5, 2.0], [3.0, 4.5]), ("a", "b"))
    assert Sample.from_csv("1,2\n5,6\n").instances == ({"1": 5, "2": 6},)


@pytest.mark.parametrize("header", ["", "Unnamed: 0"])
def test_kept_index_of_a_csv_is_named(header: str) -> None:
    with pytest.raises(ManifestError, match="the index that pandas writes.*index=False"):
        Sample.from_csv(f"{header},age,city\n0,34,Oslo\n")
