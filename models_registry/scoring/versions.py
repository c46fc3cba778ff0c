"""A validated version, loaded in this process by its digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models_registry import conf, services
from models_registry.agent.preparation import local_preparation
from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema
from models_registry.errors import ScoringRefused
from models_registry.inference.batching import run_blocking
from models_registry.inference.runtime import Predictor
from models_registry.models import ModelVersion, State
from models_registry.services.desired_state import desired_version_of, details_of


@dataclass(frozen=True, slots=True)
class OpenedVersion:
    """A version that predicts in this process."""

    model: str
    number: int
    digest: str
    schema: Schema
    predictor: Predictor

    def predict(self, rows: Any, count: int) -> Prediction:
        """Return the predictions for `count` rows in the form of `schema`."""
        return run_blocking(self.predictor.predict(rows, count))


def find_version(text: str) -> ModelVersion:
    """Return the version in `NAME:VERSION`, or the active one of `NAME`.

    Raises RegistryError: UnknownModel, UnknownVersion, or ScoringRefused if the version is not ready.
    """
    name, separator, number = text.partition(":")
    model = services.get_model(name)
    if separator:
        if not number.isdecimal():
            raise ScoringRefused(f"{text}: expected NAME or NAME:VERSION, such as {name}:3.")
        version = services.get_version(model, int(number))
    elif model.active_version is None:
        raise ScoringRefused(f"{name} has no active version. Name one: {name}:1.")
    else:
        version = model.active_version
    if version.state != State.READY:
        raise ScoringRefused(f"{version} is {version.state}. Only a version that is ready may score: {version.reason}")
    return version


def open_version(version: ModelVersion) -> OpenedVersion:
    """Load a version like a replica: by its digest, with the same loader, and a check of its sample.

    Raises StorageError or ArtifactError.
    """
    desired = desired_version_of(version)
    preparation = local_preparation()
    storage = conf.storage()
    with services.explained_by_storage(storage):
        artifact = preparation.fetch(desired, services.copier(storage, version))
    loaded = preparation.prepare(desired, details_of(version), artifact)
    return OpenedVersion(loaded.name, loaded.number, loaded.digest, loaded.schema, loaded.predictor)
