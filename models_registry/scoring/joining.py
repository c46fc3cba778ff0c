"""Writes one Parquet file per batch, and joins them to one file in which each column has one type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_registry.errors import ScoringRefused
from models_registry.parquet import (
    FLOAT,
    INTEGER,
    MAX_EXACT_FLOAT,
    TEXT,
    Database,
    clashing,
    column_of,
    literal,
    position,
    quoted,
    scan,
    values_query,
)
from models_registry.scoring.batches import Batch

# The type of a column with only missing values, from writers without type information.
_NO_TYPES = frozenset({'"NULL"', TEXT})
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", INTEGER})


def write_chunk(
    database: Database, path: Path, batch: Batch, kept: Sequence[str], answers: Mapping[str, list[Any]]
) -> None:
    """Write the columns `kept` of a batch, plus the prediction's columns, to `path` in the directory of `database`."""
    names = [*kept, *answers]
    if clash := clashing(names):
        raise ScoringRefused(
            f"the columns {clash[0]!r} and {clash[1]!r} differ in case alone, which Parquet as written here does not "
            "hold. Write CSV or JSON Lines, or name the columns to keep with --keep."
        )
    given, values = values_query([column_of(column) for column in answers.values()])
    query = given
    if kept:
        rows, more = batch.query(kept)
        own = [f"kept.{position(index)} AS {position(index)}" for index in range(len(kept))]
        own += [f"given.{position(index)} AS {position(len(kept) + index)}" for index in range(len(answers))]
        query = f"SELECT {', '.join(own)} FROM ({rows}) AS kept POSITIONAL JOIN ({given}) AS given"
        values = [*more, *values]
    database.run(f"CREATE OR REPLACE TEMP TABLE chunk AS {query}", values)
    database.copy(f"SELECT {_named(names)} FROM chunk", path, compression="uncompressed")


def join_parquet(database: Database, files: Sequence[str | Path], target: Path, metadata: Mapping[str, str]) -> None:
    """Write the rows of all files to `target`, file by file.

    `files` are paths, or sources of open files. Raises ScoringRefused if no type holds all values of a column.
    """
    sources = [literal(str(file)) if isinstance(file, Path) else file for file in files]
    fields = [database.fields(source) for source in sources]
    if all(found == fields[0] for found in fields):
        names = list(fields[0])
        listed = f"[{', '.join(sources)}]"
        query = f"SELECT {_named(names)} FROM {scan(listed, len(names))}"
    else:
        query = _union(sources, fields, _common(database, sources, fields))
    database.copy(query, target, metadata=metadata)


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"{position(index)} AS {quoted(name)}" for index, name in enumerate(names))


def _union(sources: Sequence[str], fields: Sequence[Mapping[str, str]], common: Mapping[str, str]) -> str:
    """Return a query of all files in order, each column in its common type, NULL if a file lacks it."""
    selects = []
    for source, found in zip(sources, fields, strict=True):
        order = list(found)
        chosen = [
            f"CAST({position(order.index(name)) if name in found else 'NULL'} AS {kind}) AS {quoted(name)}"
            for name, kind in common.items()
        ]
        selects.append(f"SELECT {', '.join(chosen)} FROM {scan(source, len(order))}")
    return " UNION ALL ".join(selects)


def _common(database: Database, sources: Sequence[str], fields: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return all columns with a type that holds their values in every file."""
    names = list(dict.fromkeys(name for found in fields for name in found))
    if clash := clashing(names):
        raise ScoringRefused(f"the columns {clash[0]!r} and {clash[1]!r} differ in case alone. Write JSON Lines.")
    common = {}
    for name in names:
        kinds = {found[name] for found in fields if name in found}
        if len(kinds) > 1:
            kinds = {
                found[name]
                for source, found in zip(sources, fields, strict=True)
                if name in found and not (found[name] in _NO_TYPES and _is_missing(database, source, found, name))
            } or {TEXT}
        if len(kinds) > 1 and kinds <= {FLOAT, *_INTEGERS} and _are_exact(database, sources, fields, name):
            kinds = {FLOAT}
        if len(kinds) > 1:
            raise ScoringRefused(
                f"column {name!r} changes its type between rows: {', '.join(sorted(kinds))}. Write JSON Lines, or keep "
                "fewer columns with --keep."
            )
        common[name] = kinds.pop()
    return common


def _is_missing(database: Database, source: str, found: Mapping[str, str], name: str) -> bool:
    """Return whether a column has only missing values in a file."""
    column = position(list(found).index(name))
    return database.rows(f"SELECT count({column}) FROM {scan(source, len(found))}") == [(0,)]


def _are_exact(database: Database, sources: Sequence[str], fields: Sequence[Mapping[str, str]], name: str) -> bool:
    """Return whether DOUBLE represents each integer of a column exactly."""
    for source, found in zip(sources, fields, strict=True):
        if found.get(name) in _INTEGERS:
            column = position(list(found).index(name))
            bounds = f"min({column}) < -{MAX_EXACT_FLOAT} OR max({column}) > {MAX_EXACT_FLOAT}"
            if database.rows(f"SELECT {bounds} FROM {scan(source, len(found))}") == [(True,)]:
                return False
    return True
