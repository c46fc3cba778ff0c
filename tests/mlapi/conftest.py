"""The request pipeline through both of its hosts, with models loaded by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.asgi import get_asgi_application
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client

from mlapi import replica
from mlapi.http import process
from mlapi.http.application import Application
from mlapi.http.django_host import DjangoHost
from mlapi.observability.metrics.recorder import MetricsRecorder
from mlapi.observability.metrics.snapshots import Snapshots
from models_registry.artifacts.inference import infer_schema
from models_registry.explanations.lazy import LazyExplainer
from models_registry.inference.batching import DynamicBatcher
from models_registry.inference.ground_truth import GroundTruthQueue
from models_registry.inference.runtime import LoadedModel, ServingSnapshot
from models_registry.models import RegisteredModel
from tests.mlapi.callers import PERMISSIONS, Caller
from tests.support.asgi import AsgiClient

Load = Callable[..., LoadedModel]


@pytest.fixture(params=["application", "views"])
def host(request: pytest.FixtureRequest) -> Iterator[AsgiClient]:
    """Return a client of the service: of the whole application, and of Django's views alone."""
    # As Django's own test client does: a request must not close the connection that holds the test's transaction.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    if request.param == "views":
        yield AsgiClient(get_asgi_application(), is_behind_django=True)
    else:
        yield AsgiClient(Application(process.pipeline, DjangoHost(process.admission, threads=4)))
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.fixture
def load() -> Iterator[Load]:
    """Return a function that serves an estimator under a name."""
    replica.runtime.snapshot = ServingSnapshot(has_read_desired_state=True)

    def serve(model: Any, name: str = "m", number: int = 1, **given: Any) -> LoadedModel:
        schema = given.pop("schema", None) or infer_schema(model, given.pop("declared", None))
        loaded = LoadedModel(
            name=name,
            number=number,
            version_id=number,
            generation=number,
            digest="0" * 64,
            schema=schema,
            predictor=DynamicBatcher(model),
            estimator=model,
            explainer=LazyExplainer(schema, lambda: model, is_open=True),
            example=given.pop("example", None),
            description="",
            runs={"form": "native"},
            loaded_at=datetime.now(UTC),
            **given,
        )
        snapshot = replica.runtime.snapshot
        replica.runtime.snapshot = replace(
            snapshot,
            models={**snapshot.models, name: loaded},
            desired={**snapshot.desired, name: number},
            default=snapshot.default or name,
        )
        return loaded

    yield serve
    replica.runtime.snapshot = ServingSnapshot()
    replica.runtime.ground_truth = GroundTruthQueue()


@pytest.fixture
def caller():
    """Return a program that may do everything."""
    return Caller(*PERMISSIONS)


@pytest.fixture
def recorder(monkeypatch, tmp_path):
    """Return the recorder that counts this test's requests and nothing else."""
    made = MetricsRecorder(replica.runtime, Snapshots(tmp_path / "metrics"))
    monkeypatch.setattr(process.pipeline, "recorder", made)
    return made


@pytest.fixture
def look():
    """Return a function that opens a page of the model `m` as somebody with these permissions."""

    def open_page(name: str, query: str = "", *, permissions: tuple[str, ...] = ("view_registeredmodel",)):
        user = User.objects.create_user("ann", password="x", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        browser = Client()
        browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        pk = RegisteredModel.objects.get(name="m").pk
        return browser.get(f"/admin/models_registry/registeredmodel/{pk}/{name}/{query}")

    return open_page
