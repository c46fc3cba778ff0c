"""Models and versions by the names and numbers that people use."""

from __future__ import annotations

import pytest

from models_registry import services
from models_registry.errors import UnknownModel, UnknownVersion
from models_registry.models import ModelVersion

pytestmark = pytest.mark.django_db


def test_unknown_model_is_guessed_or_others_are_counted():
    for number in range(20):
        services.register_model(f"model-{number:02}")
    with pytest.raises(UnknownModel, match="Did you mean 'model-07'"):
        services.get_model("modle-07")
    with pytest.raises(UnknownModel, match="'model-07' and 12 more"):
        services.get_model("nothing")


def test_unknown_version_names_the_newest_and_counts_others():
    model = services.register_model("m")
    ModelVersion.objects.bulk_create(
        ModelVersion(model=model, number=number, storage_key=f"m/{number}.joblib", format="joblib", size_bytes=1)
        for number in range(1, 14)
    )
    with pytest.raises(UnknownVersion, match=r"It has 4, 5, .*, 13 and 3 older ones\."):
        services.get_version(model, 99)
