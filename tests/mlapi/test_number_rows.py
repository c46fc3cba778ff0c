"""Large batches of named numbers: read past the dictionaries, and never otherwise than a small batch is."""

from __future__ import annotations

import json
import struct

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mlapi.protocols.number_rows import FEWEST_BYTES, MOST_FEATURES, read_number_rows
from models_registry.artifacts.features import Feature
from models_registry.artifacts.signature import Signature

NAMES = ("length", "width", "größe", "a b")
MANY = 1000


def signature(names=NAMES):
    return Signature(tuple(Feature(name) for name in names), named=True)


def model():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 4)), columns=NAMES)
    return LinearRegression().fit(frame, frame["length"] - 2 * frame["a b"])


def row_texts(count):
    """Return rows as JSON, all different."""
    return [
        json.dumps(dict(zip(NAMES, (index, index / 3, -index, 1e-3 * index), strict=True))) for index in range(count)
    ]


def body_text(rows, before="", after=""):
    return (f'{{{before}"instances": [{", ".join(rows)}]{after}}}').encode()


def test_every_number_is_read_to_the_last_bit():
    generator = np.random.default_rng(0)
    doubles = [struct.unpack("d", generator.bytes(8))[0] for _ in range(4 * MANY)]
    numbers = [value if abs(value) < 3e38 else float(index) for index, value in enumerate(doubles)]
    numbers[:12] = [0, -0.0, 5e-324, 2**53 + 1, 2**63, -(2**63), 10**30, 0.1, 1e22, 1.7e-308, -1, 123456789012345678]
    texts = [*map(json.dumps, numbers[:-4]), "1E5", "1e+05", "-0", "1e-400"]
    rows = [
        "{"
        + ",".join(f"{json.dumps(name)}:{text}" for name, text in zip(NAMES, texts[start : start + 4], strict=True))
        + "}"
        for start in range(0, len(texts), 4)
    ]
    raw = body_text(rows)
    read = read_number_rows(raw, signature(), ("instances",))
    general = [[float(value) for value in row.values()] for row in orjson.loads(raw)["instances"]]
    assert read is not None
    assert read.array.tobytes() == np.array(general).tobytes()


PLAIN = {
    "spaced": (json.dumps({"instances": [json.loads(row) for row in row_texts(MANY)]}, indent=2).encode(), set()),
    "with a flag": (body_text(row_texts(MANY), after=', "probabilities": true'), {"probabilities"}),
    "with a flag in front": (body_text(row_texts(MANY), before='"probabilities": true, '), {"probabilities"}),
    "with a flag that is false": (body_text(row_texts(MANY), after=', "probabilities": false'), set()),
}


@pytest.mark.parametrize(("raw", "flags"), PLAIN.values(), ids=PLAIN.keys())
def test_plain_batches_take_the_quick_way(raw, flags):
    read = read_number_rows(raw, signature(), ("instances",), ("probabilities",))
    assert read is not None
    assert read.flags == flags
    assert read.array.tolist() == [list(json.loads(row).values()) for row in row_texts(MANY)]


def unlike(row):
    """Return two batches, a small one and a large one, in which `row` takes the place of the second."""
    return [body_text([row_texts(1)[0], row, *row_texts(count)]) for count in (1, MANY)]


ODD = {
    "null": unlike('{"length": null, "width": 1, "größe": 1, "a b": 1}'),
    "text": unlike('{"length": "1", "width": 1, "größe": 1, "a b": 1}'),
    "boolean": unlike('{"length": true, "width": 1, "größe": 1, "a b": 1}'),
    "list": unlike('{"length": [1], "width": 1, "größe": 1, "a b": 1}'),
    "beyond float32": unlike('{"length": 1e39, "width": 1, "größe": 1, "a b": 1}'),
    "beyond float64": unlike('{"length": 1e400, "width": 1, "größe": 1, "a b": 1}'),
    "an integer without end": unlike(f'{{"length": {"9" * 400}, "width": 1, "größe": 1, "a b": 1}}'),
    "NaN": unlike('{"length": NaN, "width": 1, "größe": 1, "a b": 1}'),
    "missing": unlike('{"length": 1, "width": 1, "größe": 1}'),
    "unknown": unlike('{"length": 1, "width": 1, "größe": 1, "a b": 1, "c": 1}'),
    "misspelt": unlike('{"lenght": 1, "width": 1, "größe": 1, "a b": 1}'),
    "twice": unlike('{"length": 1, "width": 1, "größe": 1, "a b": 1, "length": 2}'),
    "twice, escaped": unlike('{"length": 1, "width": 1, "größe": 1, "a b": 1, "\\u006cength": 2}'),
    "half a surrogate": unlike('{"length\\ud800": 1, "width": 1, "größe": 1, "a b": 1}'),
    "positional": unlike("[1, 1, 1, 1]"),
    "a number": unlike("1"),
    "deep": unlike('{"length": ' + "[" * 5000 + "]" * 5000 + ', "width": 1, "größe": 1, "a b": 1}'),
    "two lists": [body_text(row_texts(count), after=', "instances": []') for count in (2, MANY)],
    "unknown field": [body_text(row_texts(count), after=', "instance": 1') for count in (2, MANY)],
    "flag of another type": [body_text(row_texts(count), after=', "probabilities": 1') for count in (2, MANY)],
    "one row too": [body_text(row_texts(count), after=', "features": [1, 1, 1, 1]') for count in (2, MANY)],
    "more behind it": [body_text(row_texts(count)) + b"]" for count in (2, MANY)],
    "cut short": [body_text(row_texts(count))[:-1] for count in (2, MANY)],
    "invalid UTF-8": [body_text(row_texts(count)).replace(b"width", b"wid\xffh", 1) for count in (2, MANY)],
}


@pytest.mark.parametrize(("small", "large"), ODD.values(), ids=ODD.keys())
def test_what_is_wrong_is_said_in_the_same_words_however_large_the_batch(host, load, small, large):
    load(model())
    assert len(small) < FEWEST_BYTES < len(large)
    answers = [host.post("/predict", body, **{"X-Request-ID": "r"}) for body in (small, large)]
    assert [answer.status for answer in answers] == [400, 400]
    known = [{key: value for key, value in answer.json.items() if key != "error"} for answer in answers]
    assert known[0] == known[1]


LIKE = {
    "another order": [json.dumps(dict(reversed(json.loads(row).items()))) for row in row_texts(MANY)],
    "another order from the second on": [
        row_texts(1)[0],
        *(json.dumps(dict(reversed(json.loads(row).items()))) for row in row_texts(MANY)[1:]),
    ],
    "positional": [json.dumps(list(json.loads(row).values())) for row in row_texts(MANY)],
    "escaped": [row.replace("length", "\\u006cength") for row in row_texts(MANY)],
}


@pytest.mark.parametrize("rows", LIKE.values(), ids=LIKE.keys())
def test_what_is_right_in_another_form_gives_the_same_answer(host, load, rows):
    load(model())
    expected = host.post("/predict", body_text(row_texts(MANY))).json["predictions"]
    assert len(expected) == MANY
    assert host.post("/predict", body_text(rows)).json["predictions"] == expected


@pytest.mark.parametrize("form", ["dataframe_records", "instances", "inputs"])
def test_invocations_take_it_in_each_form_that_lists_rows(host, load, form):
    load(model())
    expected = host.post("/predict", body_text(row_texts(MANY))).json["predictions"]
    raw = body_text(row_texts(MANY)).replace(b"instances", form.encode())
    assert host.post("/invocations", raw).json["predictions"] == expected
    twice = raw[:-1] + b', "instances": [], "inputs": []}'
    assert host.post("/invocations", twice).status == 400


@pytest.mark.parametrize(
    "names", [tuple(f"f{index}" for index in range(MOST_FEATURES + 1)), ('a "b"', "c"), ("a\\b", "c")]
)
def test_names_that_the_decoder_can_not_be_told_are_left_to_the_general_way(names):
    raw = body_text([json.dumps(dict.fromkeys(names, 1))] * MANY)
    assert read_number_rows(raw, signature(names), ("instances",)) is None
