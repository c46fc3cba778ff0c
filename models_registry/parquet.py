"""Reads and writes Parquet files with DuckDB in bounded memory; each value keeps its type.

DuckDB is imported only when a file is read or written, so other workers do not load it.
"""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import duckdb

# Memory limit of one connection. Larger intermediate results go to its directory of temporary files.
MEMORY_MB = 512
# Rows of a row group: the writer holds one group in memory.
ROW_GROUP = 10_240
# Integers up to this value are exact in a DOUBLE.
MAX_EXACT_FLOAT = 2**53
# The end of a file: the length of its footer, and the magic number.
_TAIL_BYTES = 8
_MAGIC = b"PAR1"
COPY_BYTES = 8 * 1024 * 1024

TEXT, FLOAT, INTEGER, BOOLEAN, MOMENT, NUMBER_OF_ROW = (
    "VARCHAR",
    "DOUBLE",
    "BIGINT",
    "BOOLEAN",
    "TIMESTAMPTZ",
    "INTEGER",
)


# Metadata key for the original column names: DuckDB renames one of two columns whose names differ only in case.
NAMES = "mlapi-columns"


class ParquetError(Exception):
    """A file is not valid Parquet, or does not fit into its reader's memory."""


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one SQL type; None is a missing value."""

    type: str
    values: list[Any]


class Database:
    """DuckDB in memory, on one thread. It can access `files` and its own directory only.

    It loads no extensions: Parquet is built in. Without `directory` it writes no files, and exceeding its memory is an
    error. Its methods raise ParquetError.
    """

    def __init__(self, files: Sequence[IO[bytes]] = (), *, directory: Path | None = None) -> None:
        """Open the database. `files` are open files, read by descriptor: their names are not treated as patterns."""
        import duckdb

        self.directory = directory
        self._error = duckdb.Error
        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            config={
                "threads": 1,
                "memory_limit": f"{MEMORY_MB}MB",
                "temp_directory": str(directory or ""),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                # A name in a query never refers to a Python variable.
                "python_enable_replacements": "false",
            }
        )
        allowed = ", ".join(literal(os.path.realpath(_address(file))) for file in files)
        self._connection.execute(f"SET allowed_paths = [{allowed}]")
        if directory is not None:
            self._connection.execute(f"SET allowed_directories = [{literal(f'{directory.resolve()}/')}]")
        for setting in ("TimeZone = 'UTC'", "enable_external_access = false", "lock_configuration = true"):
            self._connection.execute(f"SET {setting}")

    def __enter__(self) -> Self:
        """Return the database itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the memory."""
        self._connection.close()

    def run(self, query: str, values: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Run a query, and return its result."""
        try:
            return self._connection.execute(query, list(values))
        except self._error as error:
            raise ParquetError(str(error).splitlines()[0]) from error

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        result = self.run(query, values)
        try:
            return result.fetchall()
        except self._error as error:
            raise ParquetError(str(error).splitlines()[0]) from error

    def arrays(self, query: str) -> list[Any]:
        """Return the columns of a query as numpy arrays, masked at missing values."""
        result = self.run(query)
        try:
            return list(result.fetchnumpy().values())
        except self._error as error:
            raise ParquetError(str(error).splitlines()[0]) from error

    def fields(self, source: str) -> dict[str, str]:
        """Return the columns of a file with their types, in order.

        `source` comes from `file_source`. DuckDB treats `a` and `A` as one name and renames one; these are the file's
        own names.
        """
        types = [kind for _, kind, *_ in self.rows(f"DESCRIBE SELECT * FROM read_parquet({source})")]
        names, pending = [], 0
        for name, children in self.rows(f"SELECT name, num_children FROM parquet_schema({source}) OFFSET 1"):
            if not pending:
                names.append(name)
            pending += (children or 0) - bool(pending)
        names = self._stored_names(source) or names
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ParquetError(f"two columns are called {min(duplicates)!r}; expected a name for each column")
        return dict(zip(names, types, strict=True))

    def _stored_names(self, source: str) -> list[str]:
        """Return the names that `write_columns` stored in the metadata; empty for most files."""
        noted = self.rows(f"SELECT value FROM parquet_kv_metadata({source}) WHERE key = {literal(NAMES)}::BLOB")
        return list(json.loads(noted[0][0])) if noted else []

    def copy(
        self, query: str, path: Path, *, compression: str = "snappy", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write the rows of a query to `path`, with `metadata` in the footer."""
        pairs = ", ".join(f"{literal(key)}: {literal(text)}" for key, text in (metadata or {}).items())
        told = f", KV_METADATA {{{pairs}}}" if pairs else ""
        self.run(
            f"COPY ({query}) TO {literal(str(path))} "
            f"(FORMAT parquet, COMPRESSION {compression}, ROW_GROUP_SIZE {ROW_GROUP}, USE_TMP_FILE false{told})"
        )


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a column name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def position(index: int) -> str:
    """Return the unique name by which queries refer to the column at `index`."""
    return f"c{index}"


def clashing(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that differ only in case, which DuckDB treats as equal; None if there are none."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.lower(), name)) != name:
            return other, name
    return None


def file_source(file: IO[bytes]) -> str:
    """Return the SQL literal by which a query reads an open file."""
    return literal(_address(file))


def scan(source: str, count: int) -> str:
    """Return the FROM clause for a file of `count` columns."""
    names = ", ".join(map(position, range(count)))
    return f"read_parquet({source}, hive_partitioning = false) AS file({names})"


def _address(file: IO[bytes]) -> str:
    return f"/dev/fd/{file.fileno()}"


def values_query(columns: Sequence[Column]) -> tuple[str, list[Any]]:
    """Return a query that selects `columns` by position, and its values."""
    fields = ", ".join(f"unnest(?::{column.type}[]) AS {position(index)}" for index, column in enumerate(columns))
    return f"SELECT {fields}", [column.values for column in columns]


def column_of(values: Sequence[Any]) -> Column:
    """Return values, including lists and objects, in their common type; as texts if there is none."""
    kind = _type_of(values)
    return as_text(values) if kind is None else Column(kind, _completed(values) if "STRUCT" in kind else list(values))


def as_text(values: Sequence[Any]) -> Column:
    """Return values as texts."""
    return Column(TEXT, [value if value is None or isinstance(value, str) else _text(value) for value in values])


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)


def typed(values: Sequence[Any], kind: str) -> Column:
    """Return values in the type `kind`; as texts if one has another type, so that none is lost."""
    present = [value for value in values if value is not None]
    found = _type_of(present)
    if not present or found == kind or (found == INTEGER and kind == FLOAT and _are_exact(present)):
        return Column(kind, list(values))
    if kind == INTEGER and found == FLOAT and all(float(value).is_integer() for value in present):
        return Column(kind, [None if value is None else int(value) for value in values])
    return as_text(values)


def _type_of(values: Sequence[Any]) -> str | None:
    """Return the SQL type that holds all of `values` exactly; None if there is none."""
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds <= {str}:
        return TEXT
    if kinds == {bool}:
        return BOOLEAN
    if kinds == {int}:
        return INTEGER if all(-(2**63) <= value < 2**63 for value in present) else None
    if kinds == {float} or (kinds == {int, float} and _are_exact([value for value in present if type(value) is int])):
        return FLOAT
    if kinds == {list}:
        inner = _type_of([item for value in present for item in value])
        return inner and f"{inner}[]"
    if kinds == {dict}:
        return _type_of_objects(present)
    return None


def _are_exact(numbers: Sequence[int]) -> bool:
    return all(-MAX_EXACT_FLOAT <= number <= MAX_EXACT_FLOAT for number in numbers)


def _type_of_objects(values: Sequence[dict[str, Any]]) -> str | None:
    names = list(dict.fromkeys(name for value in values for name in value))
    inner = [_type_of([value.get(name) for value in values]) for name in names]
    if not names or None in inner or len({name.lower() for name in names}) < len(names):
        return None
    return f"STRUCT({', '.join(f'{quoted(name)} {kind}' for name, kind in zip(names, inner, strict=True))})"


def _completed(values: Sequence[Any]) -> list[Any]:
    """Return values in which each object has all names, with None for missing ones."""
    present = [value for value in values if value is not None]
    if present and isinstance(present[0], list):
        items = iter(_completed([item for value in present for item in value]))
        return [None if value is None else [next(items) for _ in value] for value in values]
    if present and isinstance(present[0], dict):
        names = list(dict.fromkeys(name for value in present for name in value))
        columns = [_completed([value.get(name) for value in present]) for name in names]
        objects = iter(dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        return [None if value is None else next(objects) for value in values]
    return list(values)


def on_this_machine(file: IO[bytes], directory: Path) -> IO[bytes]:
    """Return a file with a descriptor: `file`, or a copy of it in `directory`."""
    try:
        file.fileno()
    except io.UnsupportedOperation:
        copy: IO[bytes] = tempfile.NamedTemporaryFile(dir=directory)  # noqa: SIM115 - the caller closes it
        shutil.copyfileobj(file, copy, COPY_BYTES)
        copy.flush()
        return copy
    return file


def count_rows(file: IO[bytes]) -> int:
    """Return the number of rows by reading only the footer: `file` may be remote. Raises ParquetError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little") + _TAIL_BYTES
    if tail[4:] != _MAGIC or length > size:
        raise ParquetError("its last bytes are not those of Parquet")
    file.seek(size - length)
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(_MAGIC)
        # The content before the footer is a sparse hole, which takes no disk space.
        copy.seek(size - length)
        shutil.copyfileobj(file, copy)
        copy.flush()
        with Database([copy]) as database:
            ((count,),) = database.rows(f"SELECT num_rows FROM parquet_file_metadata({file_source(copy)})")
    return int(count)


class _Held(threading.local):
    """A database for each thread that reads small files: opening one takes longer than reading a file."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.directory = Path(self._directory.name)
        self.database = Database(directory=self.directory)


@functools.cache
def _held(_process: int) -> _Held:
    return _Held()


def read_rows(content: bytes, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a small file; empty if it lacks one of `columns`. Raises ParquetError."""
    held = _held(os.getpid())
    database = held.database
    # DuckDB caches files by name.
    with tempfile.NamedTemporaryFile(dir=held.directory) as file:
        file.write(content)
        file.flush()
        source = literal(file.name)
        names = list(database.fields(source))
        wanted = names if columns is None else list(columns)
        if not set(wanted) <= set(names):
            return []
        chosen = ", ".join(position(names.index(name)) for name in wanted)
        return [
            dict(zip(wanted, row, strict=True))
            for row in database.rows(f"SELECT {chosen} FROM {scan(source, len(names))}")
        ]


def write_columns(path: Path, columns: Mapping[str, Column]) -> None:
    """Write a small file. Raises ParquetError."""
    query, values = values_query(list(columns.values()))
    names = ", ".join(f"{position(index)} AS {quoted(name)}" for index, name in enumerate(columns))
    with tempfile.TemporaryDirectory(dir=path.parent) as directory, Database(directory=Path(directory)) as database:
        database.run(f"CREATE TEMP TABLE written AS {query}", values)
        told = {NAMES: json.dumps(list(columns))} if clashing(columns) else {}
        database.copy(f"SELECT {names} FROM written", Path(directory) / "rows", compression="zstd", metadata=told)
        (Path(directory) / "rows").replace(path)
