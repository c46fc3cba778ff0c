"""Defaults of the registry's settings."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings


def default_settings() -> dict[str, Any]:
    """Return each setting of the app with its default; data is stored below the project's BASE_DIR."""
    data = Path(getattr(settings, "BASE_DIR", tempfile.gettempdir())).resolve() / "var"
    return {
        "MODELS_STORAGE": (data / "models").as_uri(),
        "MODELS_STORAGE_SECONDS": 60.0,
        "MODELS_DISCOVERY_SECONDS": 10.0,
        "MODELS_QUEUE_URL": "",
        "MODELS_CACHE": data / "cache",
        "MODELS_CACHE_MB": 5000,
        "MODELS_POLICY": "manual",
        "MODELS_POLL_SECONDS": 2.0,
        "MODELS_LOADING": "eager",
        "MODELS_LOADING_SECONDS": 30.0,
        "MODELS_MEMORY_MB": 0,
        "MODELS_PINNED": [],
        "MODELS_CHECK_SECONDS": 120.0,
        "MODELS_CHECK_MEMORY_MB": 4096,
        "MODELS_MAX_ARTIFACT_MB": 4096,
        "MODELS_TRUSTED_GLOBALS": [],
        "MODELS_ALLOW_ANY_PICKLE": False,
        "MODELS_SIGNATURES": "off",
        "MODELS_SIGNATURE_KEY": "",
        "MODELS_ACCELERATION": True,
        "MODELS_FOUR_EYES": False,
        "MODELS_LOG_STORAGE": (data / "predictions").as_uri(),
        "MODELS_BATCH_LOCATIONS": [],
        "MODELS_MLFLOW_URI": [],
        "MODELS_WEBHOOK_URLS": [],
        "MODELS_WEBHOOK_SECRETS": [],
        "MODELS_WEBHOOK_PRIVATE_HOSTS": [],
    }


def apply_defaults() -> None:
    """Add the settings that the project does not set."""
    for name, value in default_settings().items():
        if not hasattr(settings, name):
            setattr(settings, name, value)
