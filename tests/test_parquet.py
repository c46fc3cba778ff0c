"""Parquet by DuckDB: each value as it was, and no other file within reach."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime

import pytest

from models_registry import parquet
from models_registry.parquet import Column, Database, ParquetError, column_of, file_source, typed
from tests.support.tables import parquet_types, write_query

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
VALUES = {
    "beyond 2^53": ([2**53 + 1, -(2**63), None], "BIGINT"),
    "beyond 64 bits": ([2**63, 1, None], "VARCHAR"),
    "floats": ([0.1, 5e-324, None], "DOUBLE"),
    "whole and broken": ([1, 2.5, None], "DOUBLE"),
    "not exact as floats": ([2**53 + 1, 2.5, None], "VARCHAR"),
    "booleans": ([True, False, None], "BOOLEAN"),
    "booleans and numbers": ([True, 1, None], "VARCHAR"),
    "texts": (["", "a\x00'\"é", None], "VARCHAR"),
    "texts and numbers": (["1", 1, None], "VARCHAR"),
    "lists": ([[1, None], [], None], "BIGINT[]"),
    "lists of lists": ([[[1.5]], [[]], None], "DOUBLE[][]"),
    "objects": ([{"a": 1}, {"b": ["x"]}, None], "STRUCT(a BIGINT, b VARCHAR[])"),
    "missing": ([None, None, None], "VARCHAR"),
}
READ = {
    "whole and broken": [1.0, 2.5, None],
    "beyond 64 bits": [str(2**63), "1", None],
    "not exact as floats": [str(2**53 + 1), "2.5", None],
    "booleans and numbers": ["True", "1", None],
    "texts and numbers": ["1", "1", None],
    "objects": [{"a": 1, "b": None}, {"a": None, "b": ["x"]}, None],
}


@pytest.mark.parametrize("name", VALUES)
def test_values_and_types_come_back(name, tmp_path):
    values, kind = VALUES[name]
    path = tmp_path / "it's [one]*.parquet"
    parquet.write_columns(path, {name: column_of(values)})
    with path.open("rb") as file:
        assert parquet.read_rows(path.read_bytes()) == [{name: value} for value in READ.get(name, values)]
        assert parquet.count_rows(file) == 3
    path.rename(tmp_path / "plain.parquet")
    assert parquet_types(tmp_path / "plain.parquet") == {name: kind}
    assert [found.name for found in tmp_path.iterdir()] == ["plain.parquet"]


def test_nan_is_no_missing_value(tmp_path):
    parquet.write_columns(tmp_path / "a", {"x": Column("DOUBLE", [math.nan, None, math.inf])})
    first, second, third = (row["x"] for row in parquet.read_rows((tmp_path / "a").read_bytes()))
    assert math.isnan(first)
    assert (second, third) == (None, math.inf)


def test_moments_keep_their_zone_and_fraction(tmp_path):
    parquet.write_columns(tmp_path / "a", {"at": Column(parquet.MOMENT, [MOMENT])})
    assert parquet.read_rows((tmp_path / "a").read_bytes()) == [{"at": MOMENT}]


def test_names_that_differ_in_case_come_back(tmp_path):
    parquet.write_columns(tmp_path / "a", {"x": column_of([1]), "X": column_of(["b"])})
    content = (tmp_path / "a").read_bytes()
    assert parquet.read_rows(content) == [{"x": 1, "X": "b"}]
    assert parquet.read_rows(content, ["X"]) == [{"X": "b"}]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None], "DOUBLE", Column("DOUBLE", [1, None])),
        ([2**53 + 1], "DOUBLE", Column("VARCHAR", [str(2**53 + 1)])),
        ([3.0, None], "BIGINT", Column("BIGINT", [3, None])),
        ([3.5, 1], "BIGINT", Column("VARCHAR", ["3.5", "1"])),
        ([2**63], "BIGINT", Column("VARCHAR", [str(2**63)])),
        ([True], "BIGINT", Column("VARCHAR", ["True"])),
        ([None], "BOOLEAN", Column("BOOLEAN", [None])),
    ],
)
def test_a_column_of_other_values_becomes_texts(values, kind, expected):
    assert typed(values, kind) == expected


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '{other}.new' (FORMAT parquet)",
        "ATTACH '{other}.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_parquet('s3://bucket/key.parquet')",
        "SELECT * FROM 'https://host.example/rows.parquet'",
        "SET enable_external_access = true",
    ],
)
def test_no_other_file_and_no_extension_is_reached(query, tmp_path):
    write_query("SELECT 1 AS x", tmp_path / "given.parquet")
    write_query("SELECT 1 AS x", tmp_path / "other.parquet")
    (tmp_path / "own").mkdir()
    with (tmp_path / "given.parquet").open("rb") as file, Database([file], directory=tmp_path / "own") as database:
        assert database.rows(f"SELECT x FROM read_parquet({file_source(file)})") == [(1,)]
        with pytest.raises(ParquetError):
            database.run(query.format(other=tmp_path / "other.parquet"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\xff" * 8 + b"PAR1"])
def test_what_is_no_parquet_is_refused(content):
    with pytest.raises(ParquetError):
        parquet.read_rows(content)
    with pytest.raises(ParquetError):
        parquet.count_rows(io.BytesIO(content))


def test_rows_are_counted_by_the_footer_alone(tmp_path):
    write_query("SELECT range AS x FROM range(200000)", tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()

    class Far(io.BytesIO):
        """Notes how many bytes are read."""

        taken = 0

        def read(self, size=-1, /):
            data = super().read(size)
            self.taken += len(data)
            return data

    far = Far(content)
    assert parquet.count_rows(far) == 200_000
    assert far.taken < len(content) / 10
