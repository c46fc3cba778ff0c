"""Rows of the registry, made as its services make them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from models_registry import services
from models_registry.artifacts.inference import infer_schema
from models_registry.models import ModelVersion, RegisteredModel, State
from tests.support.estimators import save

SCHEMA = {
    "inputs": [{"name": "x0", "type": "float"}, {"name": "x1", "type": "float"}],
    "container": "array",
    "named": False,
    "kind": "regressor",
    "outputs": 1,
    "classes": None,
    "methods": ["predict"],
}


def version(name: str = "m", number: int = 1, state: str = State.READY, **values: Any) -> ModelVersion:
    """Return a new version of `name` in `state`."""
    given: dict[str, Any] = {
        "format": "joblib",
        "storage_key": f"{name}/model.joblib",
        "storage_version": str(number),
        "size_bytes": 100,
        "digest": f"{number:064x}",
        "schema": SCHEMA,
        "reason": "It answers nothing." if state == State.REJECTED else "",
    }
    return ModelVersion.objects.create(
        model=services.register_model(name), number=number, state=state, **(given | values)
    )


def three_versions() -> RegisteredModel:
    """Return the model `m`, whose version 1 is active, with ready versions 2 and 3."""
    services.activate(version(number=1), by="x")
    version(number=2)
    version(number=3)
    return services.get_model("m")


def check(directory: Path, key: str = "m/model.joblib") -> ModelVersion:
    """Discover what lies there and return the newest version of the model, checked."""
    for path in directory.rglob("*"):
        if path.is_file() and ".versions" not in path.parts:
            os.utime(path, (1_600_000_000, 1_600_000_000))
    services.discover()
    version = ModelVersion.objects.filter(storage_key=key).latest("number")
    return services.check_version(version, holder="test")


def ready_version(
    estimator: Any, directory: Path, name: str = "m", *, sample: dict[str, Any] | None = None, **values: Any
):
    """Return a version of `estimator` whose artifact is in the storage, as a check that passed leaves it."""
    found = services.publish(name, save(estimator, directory / f"{name}.joblib"), by="ann")
    content = (directory / f"{name}.joblib").read_bytes()
    given = {
        "state": State.READY,
        "digest": hashlib.sha256(content).hexdigest(),
        "schema": infer_schema(estimator).to_json(),
        "sample": sample,
    }
    ModelVersion.objects.filter(pk=found.pk).update(**(given | values))
    found.refresh_from_db()
    return found
