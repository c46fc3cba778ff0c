"""Fixtures that several modules share."""

from __future__ import annotations

import pytest
from django.db import connection

from models_registry.artifacts.cache import ArtifactCache
from tests.agent.reconciling import (
    GatedPreparation,
    HangingStorage,
    new_reconciler,
)


@pytest.fixture
def storage(storage_directory) -> HangingStorage:
    return HangingStorage(location=storage_directory)


@pytest.fixture
def preparation(tmp_path) -> GatedPreparation:
    return GatedPreparation(
        cache=ArtifactCache(tmp_path / "replica", max_bytes=10_000_000),
        deadline_seconds=20,
        compiled_directory=tmp_path / "compiled",
        accelerate=False,
    )


@pytest.fixture
def reconciler(storage, preparation, tmp_path):
    made = new_reconciler(storage, preparation, tmp_path)
    yield made
    made.stop()
    connection.close()
