"""The registry's settings in a project that sets none of them."""

from __future__ import annotations

import re
from pathlib import Path

import models_registry
from models_registry.defaults import default_settings

PACKAGE = Path(models_registry.__file__).parent


def settings_read() -> set[str]:
    sources = (file.read_text() for file in PACKAGE.rglob("*.py"))
    return {name for source in sources for name in re.findall(r"\bsettings\.(MODELS_[A-Z_]+)", source)}


def test_each_setting_that_the_app_reads_has_a_default():
    assert settings_read() == set(default_settings())
