"""A shadow: from requests through the pipeline to figures that say how far it agrees."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlapi import replica
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry import services
from models_registry.agent.check_slots import shadow_slot
from models_registry.agent.shadow_runner import ShadowRunner
from models_registry.artifacts.inference import infer_schema
from models_registry.artifacts.prediction import Prediction
from models_registry.inference.mirroring import MirroredCall, ShadowQueue, ShadowShare
from tests.support.estimators import BURN, CRASH, SLEEP, burner, constant, constant_label, crasher, save, sleeper
from tests.support.registry import ready_version
from tests.support.waiting import eventually

# Of the database, what is stored of a shadow is tested on PostgreSQL by the registry's tests.
pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


class Shadow:
    """A model with a shadow beside it, and the thread's step that asks the shadow."""

    def __init__(self, load, directory) -> None:
        self._load = load
        self._directory = directory

    def start(self, active, shadow, *, limit_seconds=30, **given) -> None:
        self.runner = ShadowRunner(
            replica.runtime, replica="r", poll_seconds=1, limit_seconds=limit_seconds, slot=lambda: nullcontext(True)
        )
        services.activate(ready_version(active, self._directory), by="x")
        ready_version(shadow, self._directory)
        model = services.get_model("m")
        services.start_shadow(services.get_version(model, 2), percent=100, by="x", **given)
        self._load(active, number=1)
        self.runner.read()

    def step(self):
        self.runner.read()
        self.runner.step()
        found = services.current_shadow(services.get_model("m"))
        return found, found and services.shadow_figures(found)


@pytest.fixture
def shadow(load, storage_directory, monkeypatch):
    """Return a shadow of this test alone."""
    monkeypatch.setattr(replica.runtime, "mirrored", ShadowQueue())
    monkeypatch.setattr(replica.runtime, "shadows", {})
    return Shadow(load, storage_directory)


def counts(figures) -> tuple[int, ...]:
    return figures.rows, figures.agreed, figures.differed, figures.errors, figures.dropped


def ask(host, rows, path="/predict"):
    return host.post(path, {"instances": rows}).status


@pytest.mark.parametrize(
    ("active", "other", "agreed"),
    [
        (constant(1), constant(1), 3),
        (constant(1), constant(2), 0),
        (constant_label("a"), constant_label("a"), 3),
        (constant_label("a"), constant_label("b"), 0),
    ],
    ids=["equal values", "other values", "equal labels", "other labels"],
)
def test_answers_are_compared(host, shadow, active, other, agreed):
    shadow.start(active, other)
    assert ask(host, [[1.0, 2.0], [3.0, 4.0]]) == 200
    assert host.post("/predict", {"features": [5.0, 6.0]}).status == 200
    _, figures = shadow.step()
    assert counts(figures) == (3, agreed, 3 - agreed, 0, 0)
    assert figures.p50_milliseconds > 0


def test_the_shadow_gets_the_inputs_of_the_requests(host, shadow):
    table = pd.DataFrame(
        {
            "age": pd.array([30, 40, 50, 60], dtype="int64"),
            "city": ["a", "b", "a", "c"],
        }
    )
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    active = make_pipeline(encoder, LogisticRegression()).fit(table, ["no", "no", "yes", "yes"])
    shadow.start(active, active)
    assert ask(host, table.to_dict("records")) == 200
    assert counts(shadow.step()[1]) == (4, 4, 0, 0, 0)


def test_values_within_a_percent_agree(host, shadow):
    rows = [[float(value)] for value in range(1, 11)]
    line = LinearRegression().fit(rows, np.arange(100.0, 110.0))
    near = LinearRegression().fit(rows, np.arange(100.5, 110.5))
    shadow.start(line, near)
    assert ask(host, rows) == 200
    assert counts(shadow.step()[1]) == (10, 10, 0, 0, 0)


def test_a_row_that_the_shadow_refuses_is_an_error(host, shadow, settings):
    settings.MODELS_TRUSTED_GLOBALS = frozenset({CRASH})
    shadow.start(constant(0, features=1), crasher())
    assert ask(host, [[-1.0], [0.0]]) == 200
    assert counts(shadow.step()[1]) == (2, 1, 0, 1, 0)


@pytest.mark.parametrize("case", [(crasher(), 1.0, "crashed"), (sleeper(), 600.0, "timed out")], ids=["crash", "hang"])
def test_a_shadow_that_crashes_or_hangs_ends_alone(host, shadow, settings, case):
    model, row, problem = case
    settings.MODELS_TRUSTED_GLOBALS = frozenset({CRASH, SLEEP})
    shadow.start(constant(0, features=1), model)
    settings.MODELS_CHECK_SECONDS = 2
    assert ask(host, [[row], [0.0]]) == 200
    found, figures = shadow.step()
    assert counts(figures) == (2, 0, 0, 2, 0)
    assert problem in found.problem
    assert ("MODELS_CHECK_SECONDS" in found.problem) is (problem == "timed out")
    settings.MODELS_CHECK_SECONDS = 60
    assert ask(host, [[0.0]]) == 200
    found, figures = shadow.step()
    assert (counts(figures), found.problem) == ((3, 1, 0, 2, 0), "")


def test_shadow_at_its_cpu_limit_names_its_setting(host, shadow, settings):
    settings.MODELS_TRUSTED_GLOBALS = frozenset({BURN})
    shadow.start(constant(0, features=1), burner(), limit_seconds=1)
    assert ask(host, [[60.0]]) == 200
    problem = shadow.step()[0].problem
    assert "more than 1 s of CPU time" in problem
    assert problem.endswith("Publish a faster model, or raise MLAPI_PREDICTION_SECONDS.")


def test_a_request_that_is_refused_is_not_copied(host, shadow):
    shadow.start(constant(1), constant(1))
    assert ask(host, [[1.0, "old"]]) == 400
    assert counts(shadow.step()[1])[0] == 0


def test_a_request_that_another_version_answers_is_not_copied(host, shadow, load):
    shadow.start(constant(1), constant(1))
    load(constant(1), number=3)
    assert ask(host, [[1.0, 2.0]]) == 200
    assert counts(shadow.step()[1])[0] == 0


def test_a_shadow_that_has_ended_is_not_asked(host, shadow):
    shadow.start(constant(1), constant(1))
    assert ask(host, [[1.0, 2.0]]) == 200
    services.end_shadow(services.get_model("m"), by="x")
    shadow.step()
    assert ask(host, [[1.0, 2.0]]) == 200
    assert replica.runtime.mirrored.take(10) == []


def test_a_missing_artifact_drops_the_copies(host, shadow, storage_directory, settings, tmp_path):
    shadow.start(constant(1), constant(1))
    settings.MODELS_STORAGE = (tmp_path / "nowhere").as_uri()
    assert ask(host, [[1.0, 2.0]]) == 200
    found, figures = shadow.step()
    assert counts(figures) == (0, 0, 0, 0, 1)
    assert found.problem


def test_waiting_copies_at_the_end_count_as_dropped(host, shadow):
    shadow.start(constant(1), constant(1))
    for _ in range(3):
        ask(host, [[1.0, 2.0]])
    shadow.runner.finish()
    assert counts(services.shadow_figures(services.current_shadow(services.get_model("m")))) == (0, 0, 0, 0, 3)


def test_metrics_count_the_rows(host, shadow, tmp_path):
    shadow.start(constant(1), constant(2))
    assert ask(host, [[1.0, 2.0]]) == 200
    shadow.step()
    recorder = MetricsRecorder(replica.runtime, Snapshots(tmp_path / "metrics"))
    found = recorder.snapshot().totals.counters["mlapi_shadow_rows"]
    assert {outcome: rows for (model, number, outcome), rows in found.items() if (model, number) == ("m", "2")} == {
        "agreed": 0,
        "differed": 1,
        "error": 0,
    }


# The queue and the slot


def call(rows: int, *, shadow_id: int = 1) -> MirroredCall:
    schema = infer_schema(constant(1))
    return MirroredCall(
        "m", ShadowShare(shadow_id, 2, 1, 100), schema, np.zeros((rows, 2)), rows, Prediction(np.zeros(rows))
    )


def test_a_full_queue_drops_and_counts():
    queue = ShadowQueue(max_rows=10)
    for rows in (6, 5, 4):
        queue.offer(call(rows))
    assert [one.count for one in queue.take(100)] == [6, 4]
    assert (queue.take_dropped(), queue.take_dropped()) == ({1: 5}, {})
    assert queue.counts["m", 2, "dropped"] == 5
    queue.offer(call(10))
    assert len(queue.take(100)) == 1


def test_run_takes_one_shadows_rows_up_to_its_limit():
    queue = ShadowQueue()
    for shadow_id, rows in ((1, 3), (1, 3), (1, 3), (2, 1), (2, 9)):
        queue.offer(call(rows, shadow_id=shadow_id))
    assert [[one.count for one in queue.take(6)] for _ in range(4)] == [[3, 3], [3], [1], [9]]


@pytest.mark.parametrize(("percent", "least", "most"), [(100, 1000, 1000), (20, 100, 300)])
def test_the_share_is_of_the_requests(percent, least, most):
    share = ShadowShare(1, 2, 1, percent)
    assert least <= sum(share.takes(1) for _ in range(1000)) <= most


def test_one_shadow_runs_on_a_machine(tmp_path, monkeypatch):
    with shadow_slot(tmp_path / "lock") as first, shadow_slot(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    monkeypatch.setattr("models_registry.inference.memory.available_bytes", lambda: 1_000_000)
    with shadow_slot(tmp_path / "lock") as third:
        assert not third


# A real service


def test_copies_reach_the_shadow_of_a_service(new_service, tmp_path):
    service = new_service(WEB_WORKERS="2")
    paths = [save(constant(number), tmp_path / f"{number}.joblib", rows=[[0.0, 0.0]]) for number in (1, 2)]
    service.add_ready("m", *paths)
    service.manage("shadow_model", "m", "2", "--percent", "100")
    service.start()

    def differed() -> bool:
        status, body, _ = service.post("/models/m/predict", {"features": [0, 0]})
        assert (status, body["version"], body["prediction"]) == (200, 1, 1)
        labels = {"model": "m", "outcome": "differed", "version": "2"}
        return any(
            sample.labels == labels and sample.value > 0
            for family in text_string_to_metric_families(service.get("/metrics")[1].decode())
            for sample in family.samples
        )

    eventually(differed, seconds=60)
