"""Lazy loading with real processes: a worker holds what was asked for, and nothing else."""

from __future__ import annotations

import http.client
import json
import os
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.estimators import constant, save
from tests.support.waiting import eventually

REGISTERED, WORKERS = 60, 2
ASKED = [f"m{number:02}" for number in range(5)]
# As checks leave them, which would take minutes.
ACTIVATE = """
from pathlib import Path
import pytest

from models_registry import services
from models_registry.artifacts.cache import digest_of
from models_registry.models import ModelVersion
from tests.support.registry import SCHEMA
services.discover()
for version in ModelVersion.objects.select_related("model"):
    version.state, version.digest = "ready", digest_of(Path({storage!r}) / version.storage_key)
    version.schema = SCHEMA
    version.save()
    services.activate(version, by="test")
"""


def ask(service, name: str) -> int:
    """Ask on a connection of its own, which any worker may take."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    body = json.dumps({"features": [0, 0]})
    connection.request("POST", f"/models/{name}/predict", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def states(service) -> Counter[tuple[str, bool]]:
    """Return how many workers hold models in which state, those that were asked for apart from the others."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: Counter[tuple[str, bool]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "mlapi_model_workers":
                found[sample.labels["state"], sample.labels["model"] in ASKED] += int(sample.value)
    return found


@pytest.mark.any_database
def test_each_worker_loads_only_the_five_requested_models(new_service):
    service = new_service(WEB_WORKERS=str(WORKERS), MODELS_LOADING="lazy")
    for number in range(REGISTERED):
        path = save(constant(number), service.storage / f"m{number:02}" / "a.joblib")
        os.utime(path, (1_600_000_000, 1_600_000_000))  # one that is being written is left alone
    service.manage("shell", "--verbosity", "0", "--command", ACTIVATE.format(storage=str(service.storage)))
    service.start()
    unasked = WORKERS * (REGISTERED - len(ASKED))
    expected = Counter({("serving", True): WORKERS * len(ASKED), ("unloaded", False): unasked})

    def each_worker_is_asked() -> bool:
        assert [ask(service, name) for name in ASKED] == [200] * len(ASKED)
        return states(service) == expected

    eventually(each_worker_is_asked, seconds=60)
    service.wait_until_listed(
        f"all(model['replicas'] == {{'live': {WORKERS}, 'serving': {WORKERS}}} for model in listing)"
    )
