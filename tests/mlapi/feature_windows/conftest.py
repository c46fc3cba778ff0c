"""A version with a sample, and workers that count its rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlapi import replica
from models_registry import services
from models_registry.models import ModelVersion
from tests.mlapi.feature_windows.counting import SAMPLE, Worker
from tests.monitoring.test_replay import classifier
from tests.support.registry import ready_version


@pytest.fixture
def version(tmp_path, load, monkeypatch, settings):
    """Return the active version, whose sample is ROWS; the log is off."""
    settings.MODELS_WEBHOOK_URLS = ["https://hooks.example.com"]
    for name in ("row_samples", "captures"):
        monkeypatch.setattr(replica.runtime, name, {})
    found = ready_version(classifier(0), tmp_path)
    ModelVersion.objects.update(sample=SAMPLE)
    services.activate(found, by="ann")
    replica.runtime.swap(replace(load(classifier(0), number=1), version_id=found.pk))
    return found


@pytest.fixture
def worker(version, recorder):
    """Return a function that makes a worker of this name."""
    return lambda name="r1": Worker(name, recorder)
