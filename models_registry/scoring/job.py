"""One batch scoring job. Each output part is written atomically, so that a killed job can continue."""

from __future__ import annotations

import gc
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import orjson

from models_registry.errors import InputError, ScoringRefused
from models_registry.parquet import Database, ParquetError, file_source, on_this_machine
from models_registry.scoring.batches import Batch
from models_registry.scoring.joining import join_parquet
from models_registry.scoring.locations import FORMATS, InputFile, Location, format_of
from models_registry.scoring.reading import count_lines, read_batches, row_of, rows_in
from models_registry.scoring.versions import OpenedVersion
from models_registry.scoring.writing import (
    CONFIDENCE,
    ERROR,
    PREDICTION,
    PROBABILITY,
    answer_columns,
    join,
    open_writer,
)

JOB_FILE = "_mlapi.json"
SUCCESS_FILE = "_SUCCESS"
PARTS_SUFFIX = ".parts"
DEFAULT_ROWS_PER_PART = 100_000
MAX_BATCH_ROWS = 10_000
PART_NAME = re.compile(rf"part-\d{{5}}-\d{{6}}\.({'|'.join(set(FORMATS.values()))})")
ROW_WORDS = re.compile(r"^Row \d+[:,] ")


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """The options of a job.

    `keep` names the input columns to keep, None for all. A row that the schema refuses ends the job. With
    `skip_invalid`, it gets no prediction, and the column `error` has the reason.
    """

    format: str = ""
    rows_per_part: int = DEFAULT_ROWS_PER_PART
    probabilities: bool = False
    keep: tuple[str, ...] | None = None
    skip_invalid: bool = False

    @property
    def batch_rows(self) -> int:
        """Number of rows that are predicted at a time; a part has a whole number of such batches."""
        return math.ceil(self.rows_per_part / math.ceil(self.rows_per_part / MAX_BATCH_ROWS))

    @property
    def part_rows(self) -> int:
        """Number of rows in a part: `rows_per_part`, rounded up to whole batches."""
        return self.batch_rows * math.ceil(self.rows_per_part / MAX_BATCH_ROWS)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job; `total_rows` is None if the files do not store it."""

    rows: int
    total_rows: int | None
    parts: int
    rows_per_second: float


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a job: all output rows, those of an earlier run, and those without a prediction."""

    rows: int
    resumed_rows: int
    invalid_rows: int
    parts: int
    output: str


def score(
    version: OpenedVersion,
    source: Location,
    target: Location,
    options: ScoringOptions,
    *,
    restart: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Score all files of `source` and write the rows with predictions to `target`.

    A `target` that ends in .parquet, .csv or .jsonl becomes one file; any other becomes a folder of parts. Parts of an
    earlier run of the same job are kept, unless `restart`. Raises ScoringRefused, StorageError.
    """
    files = source.files()
    if any(os.path.realpath(file.address) == os.path.realpath(target.address) for file in files):
        raise ScoringRefused(f"{target.address} is a file to score. Name another output.")
    single = format_of(target.address)
    kind = single or options.format or files[0].format
    folder = _beside(target) if single else target
    # Freeze the loaded objects: garbage collections during the job need not traverse them.
    gc.freeze()
    job = _Job(version, files, source=source, folder=folder, kind=kind, options=options)
    job.begin(restart=restart)
    done = job.run(on_progress)
    if single:
        job.join_into(target)
        job.clear()
        folder.remove()
    else:
        job.put(SUCCESS_FILE, orjson.dumps(asdict(done)))
    return done


def _beside(target: Location) -> Location:
    """Return the folder for the parts of an output that becomes one file."""
    from models_registry.scoring.locations import open_location

    return open_location(target.address + PARTS_SUFFIX)


class _Job:
    def __init__(
        self,
        version: OpenedVersion,
        files: list[InputFile],
        *,
        source: Location,
        folder: Location,
        kind: str,
        options: ScoringOptions,
    ) -> None:
        self._version = version
        self._files = files
        self._source = source
        self._folder = folder
        self._kind = kind
        self._options = options
        self._metadata = {
            "mlapi-model": version.model,
            "mlapi-version": str(version.number),
            "mlapi-digest": version.digest,
        }
        self._done: set[str] = set()

    def begin(self, *, restart: bool) -> None:
        """Write the job's description to the output folder, or check that the folder's description is equal."""
        asked = orjson.dumps(self._description(), option=orjson.OPT_INDENT_2)
        noted = self._folder.child(JOB_FILE).read()
        if restart and noted is not None:
            self.clear()
            self.put(JOB_FILE, asked)
            return
        names = self._folder.names()
        if noted is None and names:
            raise ScoringRefused(
                f"{self._folder.address} holds other files, such as {min(names)!r}. Name an empty folder, or one that "
                "a job has begun."
            )
        if noted is not None and orjson.loads(noted) != orjson.loads(asked):
            raise ScoringRefused(
                f"{self._folder.address} holds parts of another job: {_difference(noted, asked)}. Name another output, "
                "or start again with --restart, which removes those parts."
            )
        if noted is None:
            self.put(JOB_FILE, asked)
        self._done = {name for name in names if name.startswith("part-")}

    def clear(self) -> None:
        """Remove the files that jobs wrote into the folder, and no others; the job's description last."""
        own = {name for name in self._folder.names() if name == SUCCESS_FILE or PART_NAME.fullmatch(name)}
        for name in (*sorted(own), JOB_FILE):
            self._folder.child(name).remove()

    def _description(self) -> dict[str, Any]:
        """Return the properties that determine the parts' contents."""
        return {
            "model": self._version.model,
            "version": self._version.number,
            "digest": self._version.digest,
            "files": [asdict(file) for file in self._files],
            "output_format": self._kind,
            "part_rows": self._options.part_rows,
            "probabilities": self._options.probabilities,
            "keep": None if self._options.keep is None else list(self._options.keep),
            "skip_invalid": self._options.skip_invalid,
        }

    def put(self, name: str, content: bytes) -> None:
        """Write a small file to the output folder."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            self._folder.child(name).write(Path(file.name), self._metadata)

    def run(self, on_progress: Callable[[Progress], None]) -> Result:
        """Write every missing part."""
        total = self._total_rows()
        rows = resumed = invalid = parts = 0
        began = time.monotonic()
        for index, file in enumerate(self._files):
            known = self._known_parts(index)
            skip = known * self._options.part_rows
            parts += known
            with _naming(file), self._opened(file) as (handle, database):
                batches = read_batches(handle, file.format, database, rows=self._options.batch_rows, skip=skip)
                if known:
                    counted = self._rows_of(file, skip)
                    resumed += counted
                    rows += counted
                for number in range(known, 10**6):
                    count, refused = self._write_part(database, self._name(index, number), skip, batches)
                    if not count:
                        break
                    rows, invalid, parts, skip = rows + count, invalid + refused, parts + 1, skip + count
                    speed = (rows - resumed) / max(time.monotonic() - began, 1e-9)
                    on_progress(Progress(rows, total, parts, speed))
        if not rows:
            raise ScoringRefused(f"{self._source.address} has no rows.")
        return Result(rows, resumed, invalid, parts, self._folder.address)

    @contextmanager
    def _opened(self, file: InputFile) -> Iterator[tuple[IO[bytes], Database]]:
        """Yield a file to read, and the database that holds its rows and writes its parts."""
        with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
            handle: IO[bytes] = opened.enter_context(self._source.open(file))
            if file.format == "parquet":
                handle = opened.enter_context(on_this_machine(handle, Path(directory)))
            files = [handle] if file.format == "parquet" else []
            yield handle, opened.enter_context(Database(files, directory=Path(directory)))

    def _total_rows(self) -> int | None:
        total = 0
        for file in self._files:
            with _naming(file), self._source.open(file) as handle:
                count = rows_in(handle, file.format)
            if count is None:
                return None
            total += count
        return total

    def _known_parts(self, index: int) -> int:
        """Return the number of a file's existing parts, without gaps from the first."""
        count = 0
        while self._name(index, count) in self._done:
            count += 1
        return count

    def _rows_of(self, file: InputFile, skip: int) -> int:
        """Return the number of rows in existing parts: a file's last part may be shorter."""
        with self._source.open(file) as handle:
            count = rows_in(handle, file.format)
            if count is None:
                count = count_lines(handle, file.format)
        return min(count, skip)

    def _name(self, index: int, number: int) -> str:
        return f"part-{index:05d}-{number:06d}.{self._kind}"

    def _write_part(self, database: Database, name: str, first_row: int, batches: Iterator[Batch]) -> tuple[int, int]:
        """Score and write the next rows; return their number, and the number without a prediction."""
        taken = islice(batches, self._options.part_rows // self._options.batch_rows)
        first = next(taken, None)
        if first is None:
            return 0, 0
        self._require_columns(first)
        rows = invalid = 0
        with tempfile.TemporaryDirectory(dir=database.directory) as directory:
            path = Path(directory) / "part"
            with open_writer(path, self._kind, database, keep=self._options.keep, metadata=self._metadata) as writer:
                for batch in chain([first], taken):
                    columns = self._answer(batch, first_row + rows)
                    writer.write(batch, columns)
                    rows += batch.count
                    invalid += sum(text is not None for text in columns.get(ERROR, ()))
            self._folder.child(name).write(path, self._metadata)
        return rows, invalid

    def _require_columns(self, batch: Batch) -> None:
        """Raise ScoringRefused if a column to keep does not exist, or has the name of an added column."""
        names = set(batch.names)
        keep = self._options.keep
        if keep is not None and (missing := [name for name in keep if name not in names]):
            raise ScoringRefused(
                f"there is no column {missing[0]!r} to keep. The columns are {', '.join(sorted(names))}."
            )
        kept = names if keep is None else set(keep)
        added = [name for name in kept if name in {PREDICTION, CONFIDENCE, ERROR} or name.startswith(PROBABILITY)]
        if added:
            raise ScoringRefused(
                f"the column {sorted(added)[0]!r} of the input has a name that the output needs. Leave it out: name "
                "the columns to keep with --keep."
            )

    def _answer(self, batch: Batch, first_row: int) -> dict[str, list[Any]]:
        try:
            columns = self._columns(batch)
            return {**columns, ERROR: [None] * batch.count} if self._options.skip_invalid else columns
        except InputError as error:
            row = row_of(error)
            if not self._options.skip_invalid or row is None:
                message = ROW_WORDS.sub("", str(error))
                raise ScoringRefused(message if row is None else f"row {first_row + row}: {message}") from error
            if batch.count == 1:
                return {PREDICTION: [None], ERROR: [ROW_WORDS.sub("", str(error))]}
        middle = batch.count // 2
        halves = [
            self._answer(batch.part(0, middle), first_row),
            self._answer(batch.part(middle, batch.count), first_row + middle),
        ]
        names = sorted({name for half in halves for name in half}, key=_column_order)
        return {
            name: [value for half in halves for value in half.get(name, [None] * len(half[ERROR]))] for name in names
        }

    def _columns(self, batch: Batch) -> dict[str, list[Any]]:
        prediction = self._version.predict(batch.model_input(self._version.schema), batch.count)
        return answer_columns(prediction, self._version.schema, with_probabilities=self._options.probabilities)

    def join_into(self, target: Location) -> None:
        """Write the rows of all parts to one file."""
        names = sorted(name for name in self._folder.names() if name.startswith("part-"))
        by_name = {Path(file.address).name: file for file in self._folder.files()}
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "joined"
            files = [by_name[name] for name in names]
            if self._kind == "parquet":
                self._join_parquet(files, path)
            else:
                join((partial(self._folder.open, file) for file in files), self._kind, path)
            target.write(path, self._metadata)

    def _join_parquet(self, files: list[InputFile], path: Path) -> None:
        with ExitStack() as opened:
            handles = [
                opened.enter_context(on_this_machine(opened.enter_context(self._folder.open(file)), path.parent))
                for file in files
            ]
            with Database(handles, directory=path.parent) as database:
                join_parquet(database, [file_source(handle) for handle in handles], path, self._metadata)


class _naming:  # noqa: N801 - it reads as a word in `with`
    """Adds the file's address to errors."""

    def __init__(self, file: InputFile) -> None:
        self._address = file.address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ScoringRefused | ParquetError) and self._address not in str(error):
            raise ScoringRefused(f"{self._address}: {error}") from error


def _column_order(name: str) -> tuple[int, str]:
    return ({PREDICTION: 0, CONFIDENCE: 1, ERROR: 3}.get(name, 2), name)


def _difference(noted: bytes, asked: bytes) -> str:
    """Return the first difference between two jobs."""
    before, now = orjson.loads(noted), orjson.loads(asked)
    name = next(name for name in now if before.get(name) != now[name])
    return f"its {name.replace('_', ' ')} is {_shown(before.get(name))}, now {_shown(now[name])}"


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}…"
