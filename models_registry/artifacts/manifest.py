"""The manifest of an artifact, and the sample in it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from models_registry.artifacts.csv_fields import converter_of
from models_registry.artifacts.features import FEATURE_TYPES, DeclaredInput, Feature
from models_registry.artifacts.suggestions import closest
from models_registry.artifacts.table_formats import FORMATS
from models_registry.errors import ManifestError

MANIFEST_SUFFIX = ".manifest.json"
KNOWN_FIELDS = {"description", "metrics", "inputs", "sample", "reference", "steps", "run_id"}
MAX_RUN_ID = 200
MAX_STEPS = 16
MAX_FILE_NAME = 200
INPUT_FIELDS = ("name", "nullable", "type")
# ASCII digits without leading zeros: 01234 is a postcode; only Python reads 1_000 and nan as numbers.
DECIMAL = re.compile(r"[+-]?(?:(?P<whole>0|[1-9][0-9]*)\.?|(?:0|[1-9][0-9]*)?\.[0-9]+)(?P<power>[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Sample:
    """Stored inputs, optionally with expected predictions.

    `instances` holds rows: each a mapping by feature name, or a list in the schema's order. `predictions` has one entry
    per instance, or is None. `probabilities` has one mapping from class label to probability per instance; for several
    outputs, a list of these.
    """

    instances: tuple[Any, ...]
    predictions: tuple[Any, ...] | None = None
    probabilities: tuple[Any, ...] | None = None

    @classmethod
    def from_json(cls, value: object) -> Sample:
        """Return the sample in `value`; ManifestError with the problem."""
        if not isinstance(value, dict) or not isinstance(value.get("instances"), list):
            raise ManifestError(
                f"The sample must be an object with a list 'instances'; found {_kind(value)}. "
                'Expected {"instances": [{"age": 34}], "predictions": [1]}.'
            )
        unknown = set(value) - {"instances", "predictions", "probabilities"}
        if unknown:
            raise ManifestError(f"The sample has the unknown field {sorted(unknown)[0]!r}; remove it.")
        check_storable(value)
        instances = value["instances"]
        predictions = value.get("predictions")
        if not instances:
            raise ManifestError("The sample's 'instances' is empty; give at least one row.")
        if predictions is not None and (not isinstance(predictions, list) or len(predictions) != len(instances)):
            found = len(predictions) if isinstance(predictions, list) else _kind(predictions)
            raise ManifestError(
                f"The sample's 'predictions' must be a list of {len(instances)}, one per instance; found {found}."
            )
        probabilities = value.get("probabilities")
        if probabilities is not None:
            _check_probabilities(probabilities, len(instances))
        return cls(
            tuple(instances),
            None if predictions is None else tuple(predictions),
            None if probabilities is None else tuple(probabilities),
        )

    @classmethod
    def from_text(cls, text: str) -> Sample:
        """Return the sample in `text`: JSON if it starts with a brace, else CSV; ManifestError with the problem."""
        text = text.removeprefix("\ufeff")
        if not text.lstrip().startswith("{"):
            return cls.from_csv(text)
        try:
            return cls.from_json(read_json(text))
        except ValueError as error:
            raise ManifestError(f"The sample is not valid JSON: {error}.") from error

    @classmethod
    def from_csv(cls, text: str, features: Sequence[Feature] = ()) -> Sample:
        """Return the sample in a CSV with a header; a last column `prediction` has the expected predictions.

        If the header only counts from 0, as pandas writes it for an array, each row is a list. The columns of
        `features` have their types; the types of other columns are inferred.
        """
        rows = list(csv.reader(io.StringIO(text)))
        if len(rows) < 2:
            raise ManifestError("The sample CSV needs a header and at least one row.")
        header, *lines = [row for row in rows if row]
        for number, row in enumerate(lines, start=2):
            if len(row) != len(header):
                raise ManifestError(
                    f"Line {number} of the sample CSV has {len(row)} values; the header has {len(header)}."
                )
        if header[0] == "" or header[0].startswith("Unnamed: "):
            raise ManifestError(
                f"The first column of the sample CSV is called {header[0]!r}: it is the index that pandas writes. Save "
                "the table with to_csv(path, index=False)."
            )
        has_predictions = header[-1] == "prediction"
        names = header[:-1] if has_predictions else header
        is_counted = names == [str(index) for index in range(len(names))]
        converters = _csv_converters(names, features, is_counted=is_counted)
        converters += [_csv_value] * (len(header) - len(names))
        values = [[convert(cell) for convert, cell in zip(converters, row, strict=True)] for row in lines]
        return cls(
            tuple(row[: len(names)] if is_counted else dict(zip(names, row, strict=False)) for row in values),
            tuple(row[-1] for row in values) if has_predictions else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form used in manifests."""
        body: dict[str, Any] = {"instances": list(self.instances)}
        if self.predictions is not None:
            body["predictions"] = list(self.predictions)
        if self.probabilities is not None:
            body["probabilities"] = list(self.probabilities)
        return body


@dataclass(frozen=True, slots=True)
class Manifest:
    """The publisher's statements about an artifact; all parts are optional.

    `reference` names a file of training rows in the artifact's directory. `steps` names, in order, the parts of a dict
    or tuple, or files in the directory. `run_id` is the MLflow run of the training.
    """

    description: str = ""
    metrics: dict[str, float] | None = None
    inputs: tuple[DeclaredInput, ...] | None = None
    sample: Sample | None = None
    reference: str | None = None
    steps: tuple[str, ...] | None = None
    run_id: str = ""

    @classmethod
    def parse(cls, content: bytes) -> Manifest:
        """Return the manifest in `content` (JSON, UTF-8); ManifestError with the problem."""
        try:
            value = read_json(content)
        except (ValueError, RecursionError) as error:
            raise ManifestError(
                f"The manifest is not valid JSON: {error}. Correct it, then press Check again, or publish again."
            ) from error
        return cls.from_json(value)

    @classmethod
    def from_json(cls, value: object) -> Manifest:
        """Return the manifest in `value`; ManifestError with the problem."""
        if not isinstance(value, dict):
            raise ManifestError(f"The manifest must be a JSON object; found {_kind(value)}.")
        check_storable(value)
        unknown = sorted(set(value) - KNOWN_FIELDS)
        if unknown:
            guess = closest(unknown[0], sorted(KNOWN_FIELDS))
            hint = f"known are {', '.join(sorted(KNOWN_FIELDS))}." if guess is None else f"did you mean {guess!r}?"
            raise ManifestError(f"The manifest has the unknown field {unknown[0]!r}; {hint}")
        description = value.get("description", "")
        if not isinstance(description, str):
            raise ManifestError(f"The manifest's 'description' must be text; found {_kind(description)}.")
        run_id = value.get("run_id", "")
        if not isinstance(run_id, str) or len(run_id) > MAX_RUN_ID:
            raise ManifestError(
                f"The manifest's 'run_id' must be text of at most {MAX_RUN_ID} characters; found {run_id!r:.60}."
            )
        inputs, sample, steps = value.get("inputs"), value.get("sample"), value.get("steps")
        reference = value.get("reference")
        return cls(
            description=description,
            metrics=parse_metrics(value.get("metrics", {})),
            inputs=None if inputs is None else _parse_inputs(inputs),
            sample=None if sample is None else Sample.from_json(sample),
            reference=None if reference is None else _parse_reference(reference),
            steps=None if steps is None else _parse_steps(steps),
            run_id=run_id,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that is stored with the artifact."""
        body: dict[str, Any] = {}
        if self.description:
            body["description"] = self.description
        if self.metrics:
            body["metrics"] = self.metrics
        if self.inputs is not None:
            body["inputs"] = [item.to_json() for item in self.inputs]
        if self.sample is not None:
            body["sample"] = self.sample.to_json()
        if self.reference is not None:
            body["reference"] = self.reference
        if self.steps is not None:
            body["steps"] = list(self.steps)
        if self.run_id:
            body["run_id"] = self.run_id
        return body


def _parse_reference(value: object) -> str:
    """Return the name of a file in the artifact's own directory."""
    is_plain = isinstance(value, str) and PurePosixPath(value).name == value and "\\" not in value
    if not is_plain or str(value).startswith(".") or len(str(value)) > MAX_FILE_NAME:
        raise ManifestError(
            f"The manifest's 'reference' is {value!r:.100}; expected the name of a file in the artifact's own folder, "
            'like "train.parquet". Put the file there.'
        )
    if PurePosixPath(str(value)).suffix.lower() not in FORMATS:
        raise ManifestError(
            f"The manifest's 'reference' is {value!r:.100}; expected a table of rows that ends in {', '.join(FORMATS)}."
        )
    return str(value)


def _parse_steps(value: object) -> tuple[str, ...]:
    """Return the names of parts in order; a part of a tuple may be a number."""
    is_list = isinstance(value, list) and 0 < len(value) <= MAX_STEPS
    if not is_list or not all(type(item) in {str, int} and str(item) for item in value):  # type: ignore[attr-defined]
        raise ManifestError(
            f"The manifest's 'steps' must be a list of 1 to {MAX_STEPS} names of parts, the model last, like "
            f'["vectorizer", "model"] or ["vectorizer.pkl", "model.pkl"]; found {value!r:.100}.'
        )
    steps = tuple(map(str, value))  # type: ignore[call-overload]  # a list, as was just checked
    twice = next((name for name in steps if steps.count(name) > 1), None)
    if twice is not None:
        raise ManifestError(f"The manifest's 'steps' name {twice!r} twice.")
    return steps


def parse_metrics(value: object) -> dict[str, float]:
    """Return `value` as metrics by name; ManifestError if it is something else."""
    if not isinstance(value, dict):
        raise ManifestError(f"Metrics must be an object of numbers by name; found {_kind(value)}.")
    for name, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not _is_finite(number):
            found = f"{number!r:.60}"
            raise ManifestError(f"The metric {name!r} must be a finite number; found {found}.")
    return dict(value)


def _parse_inputs(value: object) -> tuple[DeclaredInput, ...]:
    if not isinstance(value, list) or not value:
        raise ManifestError('The manifest\'s \'inputs\' must be a list like [{"name": "age", "type": "float"}].')
    inputs = tuple(_parse_input(position, item) for position, item in enumerate(value))
    names = [item.name for item in inputs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ManifestError(f"The manifest names the input {twice!r} twice.")
    return inputs


def _parse_input(position: int, item: object) -> DeclaredInput:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not item["name"]:
        raise ManifestError(f"Input {position} of the manifest needs a 'name'; found {item!r:.200}.")
    where = f"Input {item['name']!r} of the manifest"
    # Unknown fields are the publisher's notes; but a misspelt known field would silently change how rows are read.
    for field in item.keys() - set(INPUT_FIELDS):
        guess = closest(field, INPUT_FIELDS)
        if guess is not None:
            raise ManifestError(f"{where} has the unknown field {field!r}; did you mean {guess!r}?")
    kind, nullable = item.get("type"), item.get("nullable")
    if kind is not None and kind not in FEATURE_TYPES:
        raise ManifestError(f"{where} has the type {kind!r:.200}; expected one of {', '.join(FEATURE_TYPES)}.")
    if nullable is not None and not isinstance(nullable, bool):
        raise ManifestError(f"{where} has 'nullable' set to {_kind(nullable)}; expected true or false.")
    return DeclaredInput(item["name"], kind, nullable)


def _check_probabilities(value: object, count: int) -> None:
    """Raise ManifestError unless each instance has a mapping from labels to numbers from 0 to 1."""
    if not isinstance(value, list) or len(value) != count:
        found = len(value) if isinstance(value, list) else _kind(value)
        raise ManifestError(
            f"The sample's 'probabilities' must be a list of {count}, one per instance; found {found}. "
            'Expected [{"no": 0.1, "yes": 0.9}].'
        )
    for row, mappings in enumerate(value):
        for mapping in mappings if isinstance(mappings, list) else [mappings]:
            plain = isinstance(mapping, dict) and all(
                isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1
                for number in mapping.values()
            )
            if not plain:
                raise ManifestError(
                    f"The sample's 'probabilities' of row {row} must be numbers from 0 to 1 by class label, such as "
                    f'{{"no": 0.1, "yes": 0.9}}; found {mapping!r:.80}.'
                )


def _csv_converters(
    names: Sequence[str], features: Sequence[Feature], *, is_counted: bool
) -> list[Callable[[str], Any]]:
    """Return each column's conversion from a cell to its value."""
    if is_counted and len(names) == len(features):
        return [converter_of(feature) for feature in features]
    by_name = {feature.name: converter_of(feature) for feature in features}
    return [by_name.get(name, _csv_value) for name in names]


def _csv_value(cell: str) -> Any:
    """Return the cell's value as a number, boolean or null, else as text."""
    if cell == "":
        return None
    if cell.lower() in {"true", "false"}:
        return cell.lower() == "true"
    form = DECIMAL.fullmatch(cell.strip())
    if form is None or not math.isfinite(float(cell)):
        return cell
    is_whole = form["whole"] is not None and form["power"] is None and "." not in cell
    return int(cell) if is_whole else float(cell)


def read_json(content: str | bytes) -> Any:
    """Return the JSON value of `content`; NaN, which Python writes for a missing cell, becomes null.

    Raises ManifestError for an infinite number, ValueError for invalid JSON.
    """
    return json.loads(content, parse_constant=_constant)


def _constant(name: str) -> None:
    if name != "NaN":
        raise ManifestError(f"{name} is not a JSON number. Write a finite number, or null where there is none.")


def check_storable(value: object, what: str = "The manifest") -> None:
    """Raise ManifestError for values that JSON allows but a database cannot store, anywhere in `value`."""
    # A list instead of recursion: the parser allows nesting up to the stack's limit.
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            _check_text(item, what)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ManifestError(
                f"{what} holds a number that is not finite (NaN, or too large). Write another, or null."
            )


def _check_text(text: str, what: str) -> None:
    if "\0" in text:
        raise ManifestError(f"{what} holds the character NUL, which no database stores. Remove it.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ManifestError(
            f"{what} holds half a character (a lone surrogate) in {text[:60]!r}, which no database stores. "
            "Write the whole character."
        )


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer too large for any float
        return False


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number" if isinstance(value, int | float) else type(value).__name__
    )
