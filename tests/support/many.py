"""A registry of many models, as its services leave it: rows alone, no artifacts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.urls import reverse

from models_registry import services
from models_registry.models import (
    Activation,
    ModelVersion,
    RegisteredModel,
    Replica,
    ReplicaModel,
    ReplicaState,
    State,
    UsageWindow,
)
from models_registry.monitoring.buckets import SECONDS
from tests.support.registry import SCHEMA

REPLICAS = 2
USED = 100
# Of the hour that is not summed up yet.
MINUTES = 30
# About what a validated version of a model with 30 features keeps.
REPORT = {"inputs": [{"name": f"x{number}", "type": "float"} for number in range(30)], "text": "x" * 8000}
NAME = "m{:05}"


def fill(models: int, versions: int) -> RegisteredModel:
    """Make `models` more models of one version each, active and served; return the first, of `versions` versions."""
    first = RegisteredModel.objects.count()
    now = datetime.now(UTC).replace(microsecond=0)
    RegisteredModel.objects.bulk_create(
        [RegisteredModel(name=NAME.format(first + number)) for number in range(models)], 500
    )
    made = list(RegisteredModel.objects.filter(active_version=None).order_by("name"))
    numbers = [(model, 1) for model in made] + [(made[0], number) for number in range(2, versions + 1)]
    ModelVersion.objects.bulk_create(
        [_version(model, number, now - timedelta(minutes=index)) for index, (model, number) in enumerate(numbers)], 200
    )
    found = list(ModelVersion.objects.filter(number=1, model__in=made).order_by("model__name").only("pk", "model"))
    for model, version in zip(made, found, strict=True):
        model.active_version, model.generation = version, 1
    RegisteredModel.objects.bulk_update(made, ["active_version", "generation"], 50)
    Activation.objects.bulk_create(
        [Activation(model=m, version=v, generation=1, activated_by="ann") for m, v in zip(made, found, strict=True)],
        500,
    )
    _served(made, found, now)
    return made[0]


def _version(model: RegisteredModel, number: int, at: datetime) -> ModelVersion:
    return ModelVersion(
        model=model,
        number=number,
        state=State.READY,
        format="joblib",
        storage_key=f"{model.name}/model.joblib",
        storage_version=str(number),
        size_bytes=100 + number,
        digest=f"{number:064x}",
        schema=SCHEMA,
        inspection=REPORT,
        report=REPORT,
        metrics={"accuracy": 0.9},
        found_at=at,
        checked_at=at,
    )


def _served(models: list[RegisteredModel], versions: list[ModelVersion], now: datetime) -> None:
    """Let each replica report every model, and the first models have been used in the last day."""
    digest = f"{1:064x}"
    for pid in range(REPLICAS):
        replica = f"box-{pid}"
        services.report_replica(replica, host="box", pid=pid, started_at=now, reports=[], changed=True)
        ReplicaModel.objects.bulk_create(
            [
                ReplicaModel(
                    replica_id=replica,
                    model=model,
                    state=ReplicaState.SERVING,
                    serving_version=version,
                    generation=1,
                    desired_generation=1,
                    digest=digest,
                    runs={"form": "compiled", "text": "x" * 200},
                    since=now,
                )
                for model, version in zip(models, versions, strict=True)
            ],
            500,
        )
    hour = now.replace(minute=0, second=0)
    hours = [
        _usage(version, hour - timedelta(hours=step), 3600, "") for version in versions[:USED] for step in range(2, 24)
    ]
    minutes = [
        _usage(version, now - timedelta(minutes=step), 60, f"box-{pid}")
        for version in versions[:USED]
        for step in range(MINUTES)
        for pid in range(REPLICAS)
    ]
    UsageWindow.objects.bulk_create(hours + minutes, 500)


def _usage(version: ModelVersion, at: datetime, seconds: int, replica: str) -> UsageWindow:
    latency = [1] * (len(SECONDS) + 1)
    return UsageWindow(
        version=version,
        starts_at=at,
        seconds=seconds,
        replica=replica,
        requests=40,
        rows=40,
        latency=latency,
        labels={"0": 20, "1": 20},
    )


def stay_alive() -> None:
    """Let every replica be heard of now."""
    Replica.objects.update(heartbeat_at=datetime.now(UTC))


def pages_of(busy: RegisteredModel) -> dict[str, str]:
    """Return the address of each page by what it shows; `busy` is the model with many versions."""
    newest = ModelVersion.objects.filter(model=busy).latest("number")
    models = reverse("admin:models_registry_registeredmodel_changelist")
    versions = reverse("admin:models_registry_modelversion_changelist")
    return {
        "overview": reverse("admin:index"),
        "models": models,
        "models by activation": f"{models}?o=-6",
        "models, search": f"{models}?q=m0000",
        "versions": versions,
        "versions by date": f"{versions}?o=-5",
        "versions, search": f"{versions}?q=m0000",
        "history": reverse("admin:models_registry_activation_changelist"),
        "replicas": reverse("admin:models_registry_replica_changelist"),
        "model with many versions": reverse("admin:models_registry_registeredmodel_change", args=[busy.pk]),
        "one of its versions": reverse("admin:models_registry_modelversion_change", args=[newest.pk]),
        "two of its versions": reverse("admin:models_registry_modelversion_compare", args=[newest.pk]) + "?with=1",
        "Ctrl+K": reverse("admin:search") + "?extended=1&s=m0000/1",
    }
