"""Predicts with versions that are not active, in a sandbox, so that no worker loads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from models_registry import conf
from models_registry.artifacts.asking import Question, ask_in_sandbox
from models_registry.artifacts.sandbox import SandboxLimits
from models_registry.artifacts.schema import Schema
from models_registry.errors import Busy, RequestError
from models_registry.models import ModelVersion, State
from models_registry.services.examination import fetch_artifact

# Each trial runs a process with a model, in addition to the workers.
_trials = threading.BoundedSemaphore(2)


def ask_version(version: ModelVersion, instances: Sequence[Any], *, is_single: bool = False) -> dict[str, Any]:
    """Return the predictions of a ready version for `instances`, in the form of a prediction's response.

    Raises RequestError for a version that is not ready, Busy while two other trials run, and InputError for invalid
    rows. Raises ArtifactError and StorageError if the version cannot be loaded.
    """
    if version.state != State.READY or version.schema is None:
        raise RequestError(f"{version} is {version.state}. Only a version that passed its validation can be tried.")
    limits = SandboxLimits(
        memory_bytes=settings.MODELS_CHECK_MEMORY_MB * 1_000_000,
        cpu_seconds=settings.MODELS_CHECK_SECONDS,
        wall_seconds=settings.MODELS_CHECK_SECONDS,
    )
    with _turn(), fetch_artifact(version) as artifact:
        question = Question(
            path=artifact.path,
            format=version.format,
            schema=Schema.from_json(version.schema),
            instances=instances,
            is_single=is_single,
            trusted=conf.trusted_globals(),
            allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
        )
        return ask_in_sandbox(question, limits)


@contextmanager
def _turn() -> Iterator[None]:
    if not _trials.acquire(blocking=False):
        raise Busy("Other versions are being tried. Repeat the request in two seconds.")
    try:
        yield
    finally:
        _trials.release()
