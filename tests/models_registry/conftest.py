"""Fixtures that several modules share."""

from __future__ import annotations

import uuid

import pytest

from models_registry import services
from models_registry.models import RegisteredModel
from models_registry.storage import VersionedStorage, open_storage
from tests.support.registry import version


@pytest.fixture
def digits() -> RegisteredModel:
    """Return a model with version 1 active, 2 ready and 3 rejected."""
    first = version("digits", 1, metrics={"accuracy": 0.9})
    version("digits", 2, metrics={"accuracy": 0.95})
    version("digits", 3, "rejected", reason="It names os.system.")
    services.activate(first, by="bob", reason="the first")
    return services.get_model("digits")


@pytest.fixture(params=["file", "s3"])
def storage(request, tmp_path) -> VersionedStorage:
    if request.param == "file":
        (tmp_path / "models").mkdir()
        return open_storage((tmp_path / "models").as_uri())
    bucket = request.getfixturevalue("s3").bucket(f"models-{uuid.uuid4().hex[:8]}")
    return open_storage(f"s3://{bucket}/some/prefix")
