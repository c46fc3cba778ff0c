"""What is wrong with the setup is said before it can hurt."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks

from models_registry.checks import OWN


@pytest.mark.parametrize("wrong", ["shop", "shop.", "shop.features.to hours", "shop.2.Cleaner"])
def test_only_an_exact_name_can_be_trusted(settings, wrong):
    settings.MODELS_TRUSTED_GLOBALS = frozenset({wrong, "shop.features.Cleaner"})
    found = [item.msg for item in run_checks(tags=[OWN]) if item.id == "models_registry.E004"]
    assert found == [f"MODELS_TRUSTED_GLOBALS holds {wrong!r}; expected an exact name like package.module.Name."]


def test_exact_names_are_no_error(settings):
    settings.MODELS_TRUSTED_GLOBALS = frozenset({"shop.features.Cleaner"})
    assert [item for item in run_checks(tags=[OWN]) if item.id == "models_registry.E004"] == []
