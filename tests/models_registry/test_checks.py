"""What is wrong with the setup is said before it can hurt."""

from __future__ import annotations

import re

import pytest
from django.core.checks import run_checks

from models_registry.checks import OWN
from models_registry.defaults import default_settings
from tests.support.databases import ROOT


@pytest.mark.parametrize("wrong", ["shop", "shop.", "shop.features.to hours", "shop.2.Cleaner"])
def test_only_an_exact_name_can_be_trusted(settings, wrong):
    settings.MODELS_TRUSTED_GLOBALS = frozenset({wrong, "shop.features.Cleaner"})
    found = [item.msg for item in run_checks(tags=[OWN]) if item.id == "models_registry.E004"]
    assert found == [f"MODELS_TRUSTED_GLOBALS holds {wrong!r}; expected an exact name like package.module.Name."]


def test_exact_names_are_no_error(settings):
    settings.MODELS_TRUSTED_GLOBALS = frozenset({"shop.features.Cleaner"})
    assert [item for item in run_checks(tags=[OWN]) if item.id == "models_registry.E004"] == []


@pytest.mark.parametrize(
    ("loading", "memory_mb", "pinned", "warned"),
    [("eager", 0, (), False), ("eager", 100, (), True), ("eager", 0, ("a",), True), ("lazy", 100, ("a",), False)],
)
def test_a_setting_of_lazy_loading_without_effect_is_named(settings, loading, memory_mb, pinned, warned):
    settings.MODELS_LOADING, settings.MODELS_MEMORY_MB, settings.MODELS_PINNED = loading, memory_mb, pinned
    assert any(item.id == "models_registry.W003" for item in run_checks(tags=[OWN])) == warned


@pytest.mark.parametrize(
    ("storage", "queue", "refused"),
    [
        ("s3://b/models", "https://sqs.us-east-1.amazonaws.com/1/q", False),
        ("file:///models", "", False),
        ("file:///models", "https://sqs.us-east-1.amazonaws.com/1/q", True),
        ("s3://b/models", "arn:aws:sqs:us-east-1:1:q", True),
    ],
)
def test_queue_that_cannot_be_about_the_storage_is_named(settings, storage, queue, refused):
    settings.MODELS_STORAGE, settings.MODELS_QUEUE_URL = storage, queue
    assert any(item.id == "models_registry.E006" for item in run_checks(tags=[OWN])) == refused


def test_every_setting_that_the_app_reads_has_a_default():
    source = "\n".join(path.read_text() for path in (ROOT / "models_registry").rglob("*.py"))
    assert set(re.findall(r"settings\.(MODELS_\w+)", source)) <= default_settings().keys()
