"""A bounded number of models has series of its own, and no series ever falls."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlapi.http.request import Headers
from mlapi.observability.metrics import definitions
from mlapi.observability.metrics.bounding import SeriesBound
from mlapi.observability.metrics.endpoint import metrics_endpoint
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.records import Record
from mlapi.observability.metrics.snapshots import Snapshot, Snapshots
from mlapi.observability.metrics.totals import Totals
from mlapi.protocols.base import Call
from models_registry.inference.runtime import Runtime

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Worker:
    """One worker's metrics, with its own memory and the directory that the workers share."""

    def __init__(self, directory, *, max_models: int) -> None:
        self.runtime = Runtime()
        self._snapshots = snapshots = Snapshots(directory)
        self.recorder = MetricsRecorder(self.runtime, snapshots)
        self._endpoint = metrics_endpoint(
            "metrics", "metrics", self.recorder, SeriesBound(snapshots, max_models=max_models)
        )

    def ask(self, model: str, times: int = 1, *, version: str = "1", prediction: str = "yes") -> None:
        for _ in range(times):
            self.recorder.record(
                Record(model, version, "native", "success", 0.1, 0.0, 0.1, 1, 1, "classifier", np.array([prediction]))
            )

    def share(self, *, pid: int) -> None:
        """Lay the figures down as a worker with another process id does."""
        self._snapshots.write(self.recorder.snapshot(), pid=pid)

    def scrape(self) -> Series:
        reply = self._endpoint.handler(Call(b"", Headers([]), "", 0.0), self.runtime)
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(reply.body.decode())
            for sample in family.samples
        }


@pytest.fixture
def worker(tmp_path) -> Callable[..., Worker]:
    return lambda max_models=2: Worker(tmp_path, max_models=max_models)


def models_in(series: Series) -> set[str]:
    return {dict(labels)["model"] for _, labels in series if "model" in dict(labels)}


def value(series: Series, name: str, **labels: str) -> float:
    wanted = labels.items()
    return sum(number for (found, has), number in series.items() if found == name and wanted <= dict(has).items())


def test_the_least_used_models_are_summed(worker):
    one = worker()
    for model, times in {"rare": 1, "often": 9, "some": 5, "seldom": 2}.items():
        one.ask(model, times, prediction=f"class of {model}")
    series = one.scrape()
    assert models_in(series) == {"often", "some", "other"}
    assert value(series, "mlapi_requests_total", model="other", version="") == 3
    assert value(series, "mlapi_request_seconds_count", model="other") == 3
    assert value(series, "mlapi_predictions_total", model="other", prediction="") == 3
    assert value(series, "mlapi_requests_total") == 17


@pytest.mark.parametrize("count", [1, 2])
def test_all_models_have_series_where_they_fit(worker, count):
    one = worker()
    one.runtime.post(desired={f"m{number}": 1 for number in range(count)})
    assert models_in(one.scrape()) == {f"m{number}" for number in range(count)}


def test_requests_for_no_model_stay_apart(worker):
    one = worker(1)
    for model in ("", "", "", "a", "a", "b"):
        one.ask(model)
    assert models_in(one.scrape()) == {"", "a", "other"}


def test_no_counter_falls_as_models_come(worker):
    one = worker()
    before: Series = {}
    for model in ("b", "c", "a", "a", "a", "d", "d", "d", "d", "c"):
        one.runtime.swaps[model] += 1
        one.runtime.swaps[f"{model} unused"] += 1
        one.ask(model)
        after = one.scrape()
        counted = {key: number for key, number in before.items() if not key[0].startswith("mlapi_worker")}
        assert {key for key, number in counted.items() if after.get(key, 0) < number} == set()
        before = after
    assert len(models_in(before)) == 3


def test_loaded_unused_models_take_no_place(worker):
    one = worker()
    names = [f"m{number}" for number in range(9)]
    one.runtime.post(desired=dict.fromkeys(names, 1))
    one.runtime.swaps.update(names)
    before = one.scrape()
    assert models_in(before) == {"other"}
    assert value(before, "mlapi_model_workers", model="other", state="loading") == 9
    one.ask("m7")
    after = one.scrape()
    assert models_in(after) == {"m7", "other"}
    assert value(after, "mlapi_swaps_total", model="m7") == 1
    for model in ("other", "m7"):
        swaps = [value(series, "mlapi_swaps_total", model=model) for series in (before, after)]
        assert swaps == sorted(swaps)


def test_traffic_shares_are_not_summed(tmp_path):
    shares = tuple((definitions.TRAFFIC.name, (model, "1"), 90.0) for model in "ab")
    found = SeriesBound(Snapshots(tmp_path), max_models=1).apply([Snapshot(Totals(), shares)])
    assert [snapshot.gauges for snapshot in found] == [()]


def test_a_failed_load_of_an_unused_model_is_told(worker):
    one = worker(1)
    one.ask("a")
    one.runtime.load_failures["b"] += 2
    one.scrape()
    one.runtime.load_failures["b"] += 1
    assert value(one.scrape(), "mlapi_load_failures_total", model="other") == 3


def test_the_workers_agree(worker):
    first, second = worker(1), worker(1)
    first.ask("a")
    assert models_in(first.scrape()) == {"a"}
    first.share(pid=1)
    second.ask("b", 5)
    series = second.scrape()
    assert value(series, "mlapi_requests_total", model="a") == 1
    assert value(series, "mlapi_requests_total", model="other") == 5


def test_a_choice_without_use_holds_when_more_models_come(worker):
    first, second = worker(), worker()
    first.runtime.post(desired={"a": 1, "b": 1})
    first.scrape()
    first.share(pid=1)
    second.runtime.post(desired={"c": 1})
    assert models_in(second.scrape()) == {"a", "b", "other"}


def test_a_new_server_chooses_anew(worker, tmp_path):
    one = worker(1)
    one.ask("a")
    one.scrape()
    Snapshots(tmp_path).clear()
    two = worker(1)
    two.ask("b")
    assert models_in(two.scrape()) == {"b"}


@pytest.mark.parametrize("content", [b"", b"[", b"{}", json.dumps(None).encode()])
def test_a_damaged_choice_is_made_anew(worker, tmp_path, content):
    one = worker(1)
    one.ask("a")
    (tmp_path / "models-with-series").write_bytes(content)
    assert models_in(one.scrape()) == {"a"}


def test_without_the_directory_a_worker_bounds_its_own(tmp_path):
    (tmp_path / "file").write_text("")
    one = Worker(tmp_path / "file" / "metrics", max_models=1)
    one.ask("a", 2)
    one.ask("b")
    assert models_in(one.scrape()) == {"a", "other"}
    one.ask("b", 9)
    assert models_in(one.scrape()) == {"a", "other"}


def test_a_model_called_other_is_told_apart(worker):
    one = worker(1)
    one.ask("other", 3)
    one.ask("b")
    series = one.scrape()
    assert value(series, "mlapi_requests_total", model="other", version="1") == 3
    assert value(series, "mlapi_requests_total", model="other", version="") == 1
