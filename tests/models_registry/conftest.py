"""Fixtures that several modules share."""

from __future__ import annotations

import pytest

from models_registry import services
from models_registry.models import RegisteredModel
from tests.support.registry import version


@pytest.fixture
def digits() -> RegisteredModel:
    """Return a model with version 1 active, 2 ready and 3 rejected."""
    first = version("digits", 1, metrics={"accuracy": 0.9})
    version("digits", 2, metrics={"accuracy": 0.95})
    version("digits", 3, "rejected", reason="It names os.system.")
    services.activate(first, by="bob", reason="the first")
    return services.get_model("digits")
