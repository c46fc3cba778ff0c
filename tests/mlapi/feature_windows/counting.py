"""Workers that count the rows they serve, and what is told of the counts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from mlapi.observability.metrics.usage import usage_by_version
from models_registry.agent.feature_counter import STEPS_PER_LOOK, FeatureCounter
from models_registry.agent.usage_reporter import UsageReporter
from models_registry.models import FeatureBins
from tests.mlapi.test_api import Caller
from tests.monitoring.test_replay import classifier
from tests.support.asgi import AsgiClient

ROWS = np.random.default_rng(2).normal(0, 5, (300, 2)).round(3)
SAMPLE = {"instances": ROWS.tolist(), "predictions": classifier(0).predict(ROWS).tolist()}
SHIFTED = ROWS + np.array([0, 10])
BATCH = 100
MANY = np.random.default_rng(4).normal(0, 5, (1_200, 2)).round(3)


class Worker:
    """The parts of a worker that count and report."""

    def __init__(self, name: str, recorder) -> None:
        self.counter = FeatureCounter(replica.runtime)
        self.reporter = UsageReporter(name, lambda: self.counter.add_to(usage_by_version(recorder.totals())))
        self.minutes = 0

    def send(self, rows) -> None:
        """Send rows as the service gets them, and count them before more come than are counted at once."""
        self.counter.step()
        client = AsgiClient(Application(process.pipeline, None))
        for start in range(0, len(rows), BATCH):
            answer = client.post("/predict", {"instances": np.asarray(rows)[start : start + BATCH].tolist()})
            assert answer.status == 200, answer.body
            self.counter.step()

    def report(self) -> None:
        """Write the minute."""
        self.minutes += 1
        self.reporter.report(datetime.now(UTC) + timedelta(minutes=self.minutes))


def page_text(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def drift():
    found = Caller("view_registeredmodel").get("/api/models/m/drift?window=24h").json()
    return found["versions"][0]


def feature(found, name):
    (column,) = [item for item in found["features"] if item["name"] == name]
    return column


def histogram(version, index, values):
    column = FeatureBins.objects.get(version=version).columns[index]
    return np.histogram(values, [-np.inf, *column["edges"], np.inf])[0]


def events(logs):
    return [(line["event"], line["model"], line["version"]) for line in logs if line["log_level"] == "error"]


def look_again(one):
    for _ in range(STEPS_PER_LOOK):
        one.counter.step()
