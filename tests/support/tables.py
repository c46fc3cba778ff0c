"""Parquet files of the tests, written and read as their users do it: by DuckDB, from and to frames of pandas."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd


def write_parquet(frame: pd.DataFrame, path: Path | str, *, row_group_size: int = 100_000) -> None:
    """Write a frame without its index, in groups of rows: DuckDB makes each a multiple of its own 2,048."""
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        connection.execute(f"COPY frame TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {row_group_size})")


def write_query(query: str, path: Path | str) -> None:
    """Write the rows of a query, whose types are DuckDB's own."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def read_parquet(path: Path | str) -> pd.DataFrame:
    """Return the rows of a file."""
    with duckdb.connect() as connection:
        return connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).df()


def parquet_types(path: Path | str) -> dict[str, str]:
    """Return the columns of a file with their types."""
    with duckdb.connect() as connection:
        return {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE FROM '{path}'").fetchall()}


def parquet_metadata(path: Path | str) -> dict[str, str]:
    """Return what a file says beside its schema."""
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    return {key.decode(): value.decode() for key, value in rows}


def parquet_rows(path: Path | str) -> int:
    """Return how many rows a file has."""
    return len(read_parquet(path))
