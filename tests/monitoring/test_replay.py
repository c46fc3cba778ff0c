"""Replays: what is counted as a change, and a version that is run over rows beside another."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.core.management import CommandError, call_command
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from models_registry import services
from models_registry.artifacts.replaying import Replayed
from models_registry.artifacts.table import read_table
from models_registry.errors import RequestError
from models_registry.models import Replay
from models_registry.monitoring.intervals import share_interval
from models_registry.monitoring.replay import MAX_EXAMPLES, Z, compare
from tests.support.estimators import constant
from tests.support.registry import ready_version, version
from tests.support.tables import write_parquet, write_query


def replayed(*predictions, problems=None, scores=None) -> Replayed:
    return Replayed(predictions, scores or [None] * len(predictions), problems or {}, [0.001] * len(predictions))


CHANGES = {
    "same labels": (["a", "b"], ["a", "b"], 0),
    "another label": (["a", "b"], ["a", "c"], 1),
    "label of another type": ([1, 0], [True, 0], 1),
    "whole numbers are labels": ([100, 200], [100, 201], 1),
    "value within one percent": ([100.0, 200.0], [100.5, 200.0], 0),
    "value beyond the spread": ([100.0, 200.0], [101.5, 200.0], 1),
    "small value within the spread": ([0.0, 100.0], [0.4, 100.0], 0),
    "number without a fraction": ([100.0, 200.0], [100, 250], 1),
    "one of several outputs": ([[1, "x"], [2, "y"]], [[1, "x"], [2, "z"]], 1),
    "another number of outputs": ([1.0, 2.0], [[1.0, 2.0], 2.0], 1),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_counts_as_a_change(case):
    before, after, changed = CHANGES[case]
    assert compare(before, replayed(*before), replayed(*after))["changed"] == changed


def test_row_that_one_version_fails_at_has_changed():
    before = replayed("a", None, None, problems={1: "no", 2: "no"})
    after = replayed(None, "b", None, problems={0: "unlucky", 2: "no"})
    result = compare([0, 1, 2], before, after)
    assert (result["changed"], result["errors"], result["active_errors"]) == (2, 2, 2)
    assert result["examples"][0]["candidate"] == {"error": "unlucky"}


def test_most_changed_rows_come_first_and_are_twenty():
    before, after = np.full(50, 10.0), 10.0 + np.arange(50)
    result = compare(list(range(50)), replayed(*before.tolist()), replayed(*after.tolist()))
    assert [example["row"] for example in result["examples"]] == list(range(49, 49 - MAX_EXAMPLES, -1))


def test_surest_of_the_changed_labels_comes_first():
    before = replayed("a", "a", scores=[0.6, 0.9])
    after = replayed("b", "b", scores=[0.6, 0.9])
    assert [example["row"] for example in compare([0, 1], before, after)["examples"]] == [1, 0]


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (10, 10), (17, 1000)])
def test_interval_is_that_of_scipy(count, total):
    expected = binomtest(count, total).proportion_ci(method="wilson")
    assert share_interval(count, total, z=Z) == pytest.approx((expected.low, expected.high), abs=1e-12)


# In the sandbox

ROWS = [[float(value), float(-value)] for value in range(-10, 10)]


def classifier(flip: float):
    inputs = np.array(ROWS)
    return LogisticRegression().fit(inputs, np.where(inputs[:, 0] >= flip, "yes", "no"))


@pytest.fixture
def versions(db, storage_directory, tmp_path):
    """Return an active version, and one that says "yes" to four rows fewer."""
    first = ready_version(classifier(0), tmp_path, sample={"instances": ROWS, "predictions": None})
    services.activate(first, by="ann")
    return first, ready_version(classifier(4), tmp_path)


def expected_changes() -> int:
    rows = np.array(ROWS)
    return int((classifier(0).predict(rows) != classifier(4).predict(rows)).sum())


def write_table(path: Path) -> Path:
    if path.suffix == ".csv":
        path.write_text("0,1\n" + "\n".join(f"{a},{b}" for a, b in ROWS))
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    if path.suffix == ".parquet":
        write_parquet(pd.DataFrame({"0": [row[0] for row in ROWS], "1": [row[1] for row in ROWS]}), path)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_table_is_read_in_each_format(ending, tmp_path):
    path = write_table(tmp_path / f"rows.{ending}")
    assert read_table(path, path.name, max_rows=1000).instances == ROWS
    assert read_table(path, path.name, max_rows=3).instances == ROWS[:3]


def test_column_of_predictions_is_read_apart(tmp_path):
    path = tmp_path / "rows.parquet"
    write_query("SELECT unnest([34.0::DOUBLE, NULL]) AS age, unnest(['yes', 'no']) AS prediction", path)
    table = read_table(path, path.name, max_rows=9)
    assert (table.instances, table.predictions) == ([{"age": 34.0}, {"age": None}], ["yes", "no"])


@pytest.mark.parametrize("is_file", [False, True], ids=["sample", "file"])
def test_replay_counts_what_scikit_learn_does(is_file, versions, tmp_path):
    path = write_table(tmp_path / "rows.parquet")
    table = read_table(path, path.name, max_rows=1000) if is_file else None
    replay = services.request_replay(services.ReplayRequest(versions[1], table), by="ann")
    assert services.replay_next() == replay
    replay.refresh_from_db()
    content = services.replay_content(replay)
    source = "file" if is_file else "sample"
    assert (content["state"], content["source"], content["compared_with"]) == ("done", source, 1)
    assert content["changed"] == expected_changes() > 0
    assert content["changed_percent"] == pytest.approx(100 * expected_changes() / len(ROWS))
    assert content["examples"][0]["active"] != content["examples"][0]["candidate"]
    assert content["latency"]["candidate"]["p50_ms"] > 0
    assert replay.table is None
    assert services.replay_next() is None


def test_rows_that_a_version_fails_at_are_counted(versions, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('[1.0, 2.0]\n[1.0, "text"]\n[1.0]\n')
    table = read_table(path, path.name, max_rows=10)
    replay = services.run_replay(services.request_replay(services.ReplayRequest(versions[1], table), by="ann"))
    assert (replay.result["rows"], replay.result["errors"], replay.result["changed"]) == (3, 2, 1)


def test_replay_that_reaches_a_limit_ends_as_a_sentence(versions, tmp_path, settings):
    broken = ready_version(constant(1), tmp_path, "m")
    settings.MODELS_CHECK_SECONDS = 0.001
    replay = services.run_replay(services.request_replay(services.ReplayRequest(broken), by="ann"))
    assert replay.state == Replay.State.FAILED
    assert "The replay" in replay.reason
    assert services.replay_content(replay)["reason"] == replay.reason


def test_active_version_is_compared_with_recorded_predictions(versions, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("0,1,prediction\n5,-5,yes\n-5,5,yes\n")
    call_command("replay_model", "m", 1, input=path, json=True, stdout=(out := StringIO()))
    assert json.loads(out.getvalue())["changed"] == 1


@pytest.mark.parametrize(("tolerate", "status"), [(None, 0), (0.0, 3), (19.0, 3), (20.0, 0)])
def test_command_exits_with_3_where_too_much_changes(tolerate, status, versions, monkeypatch):
    result = compare(
        list(range(5)), replayed(*"aaaaa"), replayed(*"aaaab"))  # fmt: skip

    def run(replay):
        Replay.objects.filter(pk=replay.pk).update(result=result, state=Replay.State.DONE)
        return Replay.objects.get(pk=replay.pk)

    monkeypatch.setattr(services, "run_replay", run)
    out = StringIO()
    try:
        call_command("replay_model", "m", 2, tolerate=tolerate, stdout=out)
        found = 0
    except CommandError as error:
        found = error.returncode
    assert found == status
    assert "changed  1 (20 %" in out.getvalue()


REFUSED = {
    "nothing to compare with": (lambda _: version("lone", 1, sample={"instances": [[1, 2]]}), {}, "nothing to compare"),
    "not ready": (lambda _: version("m", 9, "rejected"), {}, "only a ready version"),
    "no rows": (lambda pair: pair[1], {"rows": 0}, "1 to 10000 rows"),
    "no sample": (lambda _: version("bare", 1), {}, "no sample to replay"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_replay_that_cannot_be_run_is_refused(case, versions):
    make, given, reason = REFUSED[case]
    with pytest.raises(RequestError, match=reason):
        services.request_replay(services.ReplayRequest(make(versions), **given), by="ann")
