"""Large batches of named numbers: read past the dictionaries, and never otherwise than a small batch is."""

from __future__ import annotations

import json
import re
import struct
import time

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mlapi.protocols.number_rows import MAX_FEATURES, MIN_BYTES, PIECE_BYTES, read_number_rows
from models_registry.artifacts.features import Feature
from models_registry.artifacts.schema import Schema

NAMES = ("length", "width", "größe", "a b")
MANY = 1000


def schema(names=NAMES):
    return Schema(tuple(Feature(name) for name in names), named=True)


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
    read = read_number_rows(raw, schema(), ("instances",))
    general = [[float(value) for value in row.values()] for row in orjson.loads(raw)["instances"]]
    assert read is not None
    assert read.array.tobytes() == np.array(general).tobytes()


def at_an_end(behind):
    """Return two batches with `behind` after the last row; in the large one a piece that is read ends there."""
    rows = row_texts(MANY)
    padding = " " * (PIECE_BYTES + 9 - len(", ".join(rows)))
    return [
        body_text([*row_texts(2)[:-1], row_texts(2)[-1] + behind]),
        body_text([padding + rows[0], *rows[1:-1], rows[-1] + behind]),
    ]


PLAIN = {
    "spaced": (json.dumps({"instances": [json.loads(row) for row in row_texts(MANY)]}, indent=2).encode(), set()),
    "with a flag": (body_text(row_texts(MANY), after=', "probabilities": true'), {"probabilities"}),
    "in pieces": (at_an_end("")[1].replace(b"]}", b' ], "probabilities": true}'), {"probabilities"}),
    "with a flag in front": (body_text(row_texts(MANY), before='"probabilities": true, '), {"probabilities"}),
    "with a flag that is false": (body_text(row_texts(MANY), after=', "probabilities": false'), set()),
}


@pytest.mark.parametrize(("raw", "flags"), PLAIN.values(), ids=PLAIN.keys())
def test_plain_batches_take_the_quick_way(raw, flags):
    read = read_number_rows(raw, schema(), ("instances",), ("probabilities",))
    assert read is not None
    assert read.flags == flags
    assert read.array.tolist() == [list(json.loads(row).values()) for row in row_texts(MANY)]


def unlike(row):
    """Return two batches, a small one and a large one, whose last row is `row`."""
    return [body_text([*row_texts(count), row]) for count in (2, MANY)]


def damaged(before, after):
    """Return two batches, a small one and a large one, in whose text the last `before` became `after`."""
    return [after.join(body_text(row_texts(count)).rsplit(before, 1)) for count in (2, MANY)]


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
    "unknown field that is true": [body_text(row_texts(count), after=', "instance": true') for count in (2, MANY)],
    "flag of another type": [body_text(row_texts(count), after=', "probabilities": 1') for count in (2, MANY)],
    "one row too": [body_text(row_texts(count), after=', "features": [1, 1, 1, 1]') for count in (2, MANY)],
    "more behind it": [body_text(row_texts(count)) + b"]" for count in (2, MANY)],
    "cut short": [body_text(row_texts(count))[:-1] for count in (2, MANY)],
    "invalid UTF-8": damaged(b"width", b"wid\xffh"),
    "control character": damaged(b"width", b"wid\nth"),
    "a comma too many": damaged(b"}]", b"},]"),
    "a comma and a space too many": damaged(b"}]", b"}, ]"),
    "a comma too many where a piece ends": at_an_end(","),
    "a comma and a space too many where a piece ends": at_an_end(", "),
    "a bracket too many where a piece ends": at_an_end("]"),
    "two commas": damaged(b"}, {", b"},, {"),
    "no comma": damaged(b"}, {", b"} {"),
    "a row that does not end": damaged(b"}]", b"]"),
    "no row": [b'{"instances": [' + b" " * count + b"]}" for count in (2, MIN_BYTES)],
}


@pytest.mark.parametrize(("small", "large"), ODD.values(), ids=ODD.keys())
def test_errors_read_alike_for_every_batch_size(host, load, small, large):
    load(model())
    assert len(small) < MIN_BYTES < len(large)
    answers = [host.post("/predict", body, **{"X-Request-ID": "r"}) for body in (small, large)]
    assert [answer.status for answer in answers] == [400, 400]
    # the small batch has its last row in another place
    at = re.compile(r"line 1 column \d+ \(char \d+\)|\"row\":\d+|ow \d+")
    said = [at.sub("", answer.body.decode()) for answer in answers]
    assert said[0] == said[1]
    rows = [answer.json.get("row") for answer in answers]
    assert rows in ([None, None], [2, MANY])


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
def test_correct_input_in_another_form_answers_alike(host, load, rows):
    load(model())
    if rows is LIKE["another order"]:
        # not for the quick way, which would take longer for it
        assert read_number_rows(body_text(rows), schema(), ("instances",)) is None
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


WHOLE = Feature("width", "integer")
CLOSED = Feature("width", categories=(1.0, 2.0), closed=True)


@pytest.mark.parametrize("feature", [WHOLE, CLOSED], ids=["integer", "closed"])
def test_features_with_limited_numbers_use_the_general_parser(feature):
    checked = Schema((Feature("length"), feature, *(Feature(name) for name in NAMES[2:])), named=True)
    assert read_number_rows(body_text(row_texts(MANY)), schema(), ("instances",)) is not None
    assert read_number_rows(body_text(row_texts(MANY)), checked, ("instances",)) is None


def wide(value, names, order):
    """Return a large body: a row in the order of `names`, then rows in another."""
    first = "{" + ",".join(f'"{name}":1' for name in names) + "}"
    row = "{" + ",".join(f'"{name}":{value}' for name in order) + "}"
    return body_text([first, *[row] * max(1, 2_000_000 // len(row))])


WIDE = tuple(f"f{index:03}" for index in range(256))
SLOW = {
    "almost infinite": wide("1e300", NAMES, NAMES),
    "almost nothing": wide("5e-324", NAMES, NAMES),
    "another order": wide("1", WIDE, WIDE[::-1]),
    "the last name again and again": wide("1", WIDE, [WIDE[-1], *["f254"] * 300_000]),
}


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW.keys())
def test_what_the_decoder_is_slow_at_stops_no_worker(raw):
    def seconds(body, names):
        began = time.thread_time()
        read = read_number_rows(body, schema(names), ("instances",))
        return time.thread_time() - began, read

    names = WIDE if b"f000" in raw else NAMES
    plain = wide("1.5", names, names)
    usual = min(seconds(plain, names)[0] for _ in range(3))
    taken, read = seconds(raw, names)
    assert read is None
    assert taken < 10 * usual + 0.02


@pytest.mark.parametrize(
    "names", [tuple(f"f{index}" for index in range(MAX_FEATURES + 1)), ('a "b"', "c"), ("a\\b", "c"), ("a}", "c")]
)
def test_names_the_decoder_cannot_have_use_the_general_parser(names):
    raw = body_text([json.dumps(dict.fromkeys(names, 1))] * MANY)
    assert read_number_rows(raw, schema(names), ("instances",)) is None
