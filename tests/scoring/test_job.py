"""Batch scoring: every row once, with the prediction that the model itself gives, whatever the format."""

from __future__ import annotations

import csv
import json

import duckdb
import numpy as np
import pandas as pd
import pytest

from models_registry.errors import ScoringRefused
from models_registry.scoring import job, reading
from models_registry.scoring.job import JOB_FILE, SUCCESS_FILE, ScoringOptions, score
from models_registry.scoring.locations import open_location
from models_registry.scoring.versions import OpenedVersion
from tests.scoring.conftest import COLUMNS, model, people
from tests.support.tables import parquet_metadata, parquet_rows, parquet_types, read_parquet, write_parquet, write_query

WRITERS = {
    "parquet": lambda frame, path: write_parquet(frame, path, row_group_size=70),
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}
READERS = {
    "parquet": read_parquet,
    "csv": lambda path: pd.read_csv(path, dtype={"id": str}),
    "jsonl": lambda path: pd.read_json(path, lines=True, dtype={"id": str}),
}


@pytest.fixture
def given(tmp_path):
    """Return a maker of input files."""

    def make(kind: str, count: int = 250, name: str = "people", **changes: object):
        path = tmp_path / f"{name}.{kind}"
        WRITERS[kind](people(count).assign(**changes), path)
        return path

    return make


def run(opened, source, target, *, restart: bool = False, **options: object):
    return score(
        opened, open_location(str(source)), open_location(str(target)), ScoringOptions(**options), restart=restart
    )


def require_right(found: pd.DataFrame, count: int) -> None:
    rows, trained = people(count), model()
    assert found["id"].tolist() == rows["id"].tolist()
    assert found["prediction"].tolist() == trained.predict(rows[COLUMNS]).tolist()
    np.testing.assert_allclose(found["confidence"], trained.predict_proba(rows[COLUMNS]).max(axis=1), rtol=1e-6)


@pytest.mark.parametrize(("source", "kind"), [(source, kind) for source in WRITERS for kind in WRITERS])
def test_each_row_has_the_models_own_prediction(opened, given, tmp_path, source, kind):
    done = run(opened, given(source), tmp_path / f"out.{kind}", rows_per_part=64)
    require_right(READERS[kind](tmp_path / f"out.{kind}"), 250)
    assert (done.rows, done.parts, done.resumed_rows) == (250, 4, 0)
    assert not list(tmp_path.glob("*.parts"))


def test_a_folder_of_files_becomes_a_folder_of_parts(opened, tmp_path):
    rows = people(250)
    (tmp_path / "in/deep").mkdir(parents=True)
    write_parquet(rows[:100], tmp_path / "in/a.parquet")
    write_parquet(rows[100:], tmp_path / "in/deep/b.parquet")
    run(opened, tmp_path / "in", tmp_path / "out", rows_per_part=64)
    parts = sorted((tmp_path / "out").glob("part-*.parquet"))
    assert [parquet_rows(part) for part in parts] == [64, 36, 64, 64, 22]
    require_right(pd.concat(map(read_parquet, parts)), 250)
    assert json.loads((tmp_path / "out" / SUCCESS_FILE).read_text())["rows"] == 250


def test_output_names_the_version_by_digest(opened, given, tmp_path):
    run(opened, given("parquet"), tmp_path / "one.parquet")
    run(opened, given("csv"), tmp_path / "many")
    told = parquet_metadata(tmp_path / "one.parquet")
    assert (told["mlapi-model"], told["mlapi-version"]) == ("churn", "1")
    assert told["mlapi-digest"] == opened.digest
    assert json.loads((tmp_path / "many" / JOB_FILE).read_text())["digest"] == opened.digest


@pytest.mark.parametrize("kind", WRITERS)
def test_a_job_that_was_cut_off_goes_on(opened, given, tmp_path, kind, monkeypatch):
    source, target = given(kind), tmp_path / f"out.{kind}"
    predicted: list[int] = []

    def counted(version, rows, count):
        predicted.append(count)
        if len(predicted) == 3:
            raise KeyboardInterrupt
        return original(version, rows, count)

    original = OpenedVersion.predict
    monkeypatch.setattr(OpenedVersion, "predict", counted)
    with pytest.raises(KeyboardInterrupt):
        run(opened, source, target, rows_per_part=64)
    assert not target.exists()
    assert len(list(tmp_path.glob("out.*.parts/part-*"))) == 2
    done = run(opened, source, target, rows_per_part=64)
    assert (done.rows, done.resumed_rows) == (250, 128)
    assert predicted == [64, 64, 64, 64, 58]
    require_right(READERS[kind](target), 250)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"probabilities": True}, "its probabilities is false, now true"),
        ({"rows_per_part": 50}, "its part rows is 64, now 50"),
    ],
)
def test_parts_of_another_job_are_kept_from_it(opened, given, tmp_path, change, reason):
    source = given("parquet")
    run(opened, source, tmp_path / "out", rows_per_part=64)
    with pytest.raises(ScoringRefused, match=reason):
        run(opened, source, tmp_path / "out", **({"rows_per_part": 64} | change))
    assert run(opened, source, tmp_path / "out", restart=True, **({"rows_per_part": 64} | change)).resumed_rows == 0


def test_a_changed_input_is_another_job(opened, given, tmp_path):
    run(opened, given("csv"), tmp_path / "out")
    with pytest.raises(ScoringRefused, match="its files is"):
        run(opened, given("csv", 251), tmp_path / "out")


def test_files_that_are_no_parts_are_left_alone(opened, given, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    with pytest.raises(ScoringRefused, match=r"holds other files, such as 'thesis.txt'"):
        run(opened, given("csv"), tmp_path / "out")
    assert (tmp_path / "out/thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["out", "out.csv.parts"])
def test_restart_removes_nothing_from_a_folder_of_no_job(opened, given, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("mine")
    with pytest.raises(ScoringRefused, match=r"holds other files, such as 'thesis.txt'"):
        run(opened, given("csv"), tmp_path / name.removesuffix(".parts"), restart=True)
    assert (tmp_path / name / "thesis.txt").read_text() == "mine"


def test_restart_removes_the_parts_and_no_other_file(opened, given, tmp_path):
    source = given("csv")
    run(opened, source, tmp_path / "out", rows_per_part=64)
    (tmp_path / "out/part-notes.csv").write_text("mine")
    run(opened, source, tmp_path / "out", rows_per_part=250, restart=True)
    own = ["_SUCCESS", "_mlapi.json", "part-00000-000000.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*own, "part-notes.csv"]


def test_joined_output_leaves_a_file_beside_the_parts(opened, given, tmp_path, monkeypatch):
    source, parts = given("csv"), tmp_path / "out.csv.parts"
    monkeypatch.setattr(job, "join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(opened, source, tmp_path / "out.csv")
    monkeypatch.undo()
    (parts / "thesis.txt").write_text("mine")
    run(opened, source, tmp_path / "out.csv")
    assert [path.name for path in parts.iterdir()] == ["thesis.txt"]


def test_input_is_never_the_output(opened, given, tmp_path):
    source = given("csv")
    before = source.read_bytes()
    (tmp_path / "link.csv").symlink_to(source)
    for target in (source, tmp_path / "link.csv"):
        with pytest.raises(ScoringRefused, match="is a file to score. Name another output"):
            run(opened, source, target)
    assert source.read_bytes() == before


@pytest.mark.parametrize("kind", WRITERS)
def test_the_row_that_the_schema_refuses_is_named(opened, given, tmp_path, kind):
    ages = people(250)["age"].astype(object)
    ages[201] = None
    with pytest.raises(ScoringRefused, match=rf"people\.{kind}: row 201: feature 'age'"):
        run(opened, given(kind, age=ages.astype(float)), tmp_path / "out", rows_per_part=64)


@pytest.mark.parametrize("kind", WRITERS)
def test_refused_rows_may_be_skipped(opened, given, tmp_path, kind):
    ages = people(250)["age"].copy()
    ages[[3, 201]] = float("nan")
    done = run(opened, given(kind, age=ages), tmp_path / f"out.{kind}", rows_per_part=64, skip_invalid=True)
    found = READERS[kind](tmp_path / f"out.{kind}")
    assert done.invalid_rows == 2
    assert found["error"].notna().to_numpy().nonzero()[0].tolist() == [3, 201]
    assert found["prediction"].isna().to_numpy().nonzero()[0].tolist() == [3, 201]
    whole = found["error"].isna().to_numpy()
    assert found["prediction"][whole].tolist() == model().predict(people(250)[COLUMNS])[whole].tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_are_kept_by_name(opened, given, tmp_path, kind):
    run(opened, given(kind), tmp_path / f"out.{kind}", keep=("id",), probabilities=True)
    assert READERS[kind](tmp_path / f"out.{kind}").columns.tolist() == [
        "id", "prediction", "confidence", "probability_no", "probability_yes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "keep", "reason"),
    [
        ({}, ("nothing",), "there is no column 'nothing' to keep"),
        ({"prediction": 1}, None, "the column 'prediction' of the input has a name that the output needs"),
    ],
)
def test_columns_that_do_not_fit_are_refused(opened, given, tmp_path, changes, keep, reason):  # noqa: PLR0917
    with pytest.raises(ScoringRefused, match=reason):
        run(opened, given("parquet", **changes), tmp_path / "out", keep=keep)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.parquet", b"no parquet", "not valid parquet"),
        ("x.csv", b"", "it is empty"),
        ("x.csv", b"age,age\n1,2\n", "two columns are called 'age'"),
        ("x.csv", b"age,income,city\n", "has no rows"),
        ("x.csv", b"age,income\n1,2\n", "Also missing: 'city'|city"),
        ("x.csv", b"age,income,city\n1,2\n", "not valid csv"),
        ("x.jsonl", b'{"age": 1,\n', "row 0 is not valid JSON"),
        ("x.jsonl", b"[1, 2]\n", "row 0 is list; expected an object"),
        ("x.txt", b"1", "no file to score"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(opened, tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScoringRefused, match=reason):
        run(opened, tmp_path / name, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("text", ["ftp://a/b", "s3://bucket", "s3:///key"])
def test_a_location_that_is_none_is_refused(text):
    with pytest.raises(ScoringRefused, match="expected"):
        open_location(text)


KEPT = {
    "id": "9007199254740993::BIGINT",
    "unsigned": "18446744073709551615::UBIGINT",
    "at": "'2026-01-02 03:04:05.123456789'::TIMESTAMP_NS",
    "zoned": "'2026-01-02 03:04:05.123456+02'::TIMESTAMPTZ",
    "day": "'2026-01-02'::DATE",
    "price": "12345678901234567.89::DECIMAL(38,2)",
    "narrow": "0.1::FLOAT",
    "nan": "'nan'::DOUBLE",
    "missing": "NULL::BIGINT",
    "list": "[1, NULL]::BIGINT[]",
    "object": "{'a': [1.5]}",
    "bytes": "'\\xFF'::BLOB",
    "ID": "1",
}


def odd_rows(path, names):
    chosen = ", ".join(f'{KEPT[name]} AS "{name}"' for name in names)
    write_query(f"SELECT 30.0::DOUBLE AS age, 1.0::DOUBLE AS income, 'Oslo' AS city, {chosen} FROM range(3)", path)


def test_kept_columns_of_parquet_keep_types_and_values(opened, tmp_path):
    names = [name for name in KEPT if name != "ID"]
    odd_rows(tmp_path / "in.parquet", names)
    run(opened, tmp_path / "in.parquet", tmp_path / "out.parquet", rows_per_part=2)
    before, after = parquet_types(tmp_path / "in.parquet"), parquet_types(tmp_path / "out.parquet")
    assert {name: after[name] for name in before} == before
    kept = ", ".join(f'"{name}"' for name in names)
    query = "SELECT {} FROM '{}'"
    assert str(duckdb.sql(query.format(kept, tmp_path / "out.parquet")).fetchall()) == str(
        duckdb.sql(query.format(kept, tmp_path / "in.parquet")).fetchall()
    )


@pytest.mark.parametrize(
    ("kind", "id_text", "at"),
    [("csv", "9007199254740993", "2026-01-02 03:04:05.123456789"), ("jsonl", 9007199254740993, None)],
)
def test_exact_values_reach_text_formats(opened, tmp_path, kind, id_text, at):
    odd_rows(tmp_path / "in.parquet", ["id", "at"])
    run(opened, tmp_path / "in.parquet", tmp_path / f"out.{kind}")
    line = (tmp_path / f"out.{kind}").read_text().splitlines()[-1]
    found = next(csv.reader([line]))[3:5] if kind == "csv" else list(json.loads(line).values())[3:5]
    assert found == [id_text, at or "2026-01-02 03:04:05.123456789"]


def test_names_that_differ_in_case_alone_are_no_parquet(opened, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"age": 30.0, "income": 1.0, "city": "Oslo", "id": 1, "ID": 2}\n')
    with pytest.raises(ScoringRefused, match="'id' and 'ID' differ in case alone"):
        run(opened, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    run(opened, tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("age,income,city,id,ID,")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2.5"], [1.0, 2.5]),
        (["null", "7"], [None, 7]),
        (['"a"', "null"], ["a", None]),
        (["9007199254740993", "2.5"], "changes its type"),
        (['"a"', "1"], "changes its type"),
    ],
)
def test_a_column_has_one_type_in_all_parts(opened, tmp_path, values, expected):
    rows = [f'{{"age": 30.0, "income": 1.0, "city": "Oslo", "x": {value}}}' for value in values]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    if isinstance(expected, str):
        with pytest.raises(ScoringRefused, match=expected):
            run(opened, tmp_path / "in.jsonl", tmp_path / "out.parquet", rows_per_part=1)
        return
    run(opened, tmp_path / "in.jsonl", tmp_path / "out.parquet", rows_per_part=1)
    assert [value for (value,) in duckdb.sql(f"SELECT x FROM '{tmp_path / 'out.parquet'}'").fetchall()] == expected


def test_a_link_out_of_the_folder_is_not_read(opened, given, tmp_path):
    secret = given("csv", name="secret")
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a.csv").write_bytes(secret.read_bytes())
    (tmp_path / "in/b.csv").symlink_to(tmp_path / "in/a.csv")
    run(opened, tmp_path / "in", tmp_path / "inside")
    (tmp_path / "in/deep/c.csv").symlink_to(secret)
    with pytest.raises(ScoringRefused, match=r"deep/c.csv is a link that leads out of"):
        run(opened, tmp_path / "in", tmp_path / "outside")


@pytest.mark.parametrize(("kind", "start"), [("csv", "age,income,city\n"), ("jsonl", "")])
def test_a_line_without_end_is_refused_in_bounded_memory(opened, tmp_path, kind, start):
    content = "x" * (reading.MAX_ROW_BYTES + 1_000_000)
    (tmp_path / f"in.{kind}").write_text(f'{start}"{content}')
    with pytest.raises(ScoringRefused, match="is longer than|field larger than"):
        run(opened, tmp_path / f"in.{kind}", tmp_path / "out.jsonl")
