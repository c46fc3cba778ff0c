"""File formats of tables, by extension."""

from collections.abc import Mapping
from pathlib import PurePath

from models_registry.errors import RequestError

FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


MAX_TABLE_BYTES = 20_000_000


def table_format(name: str) -> str:
    """Return the format of a file by its name; RequestError if it is not one of FORMATS."""
    found = FORMATS.get(PurePath(name).suffix.lower())
    if found is None:
        raise RequestError(f"{name[-100:]!r} is not a table of rows; send a file that ends in {', '.join(FORMATS)}.")
    return found
