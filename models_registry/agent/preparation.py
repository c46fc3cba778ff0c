"""Creates this machine's preparation of versions, and a worker's residency policy, from the settings."""

from __future__ import annotations

from django.conf import settings

from models_registry import conf
from models_registry.agent.loader import Preparation
from models_registry.agent.residency import Residency
from models_registry.inference.on_demand import OnDemand


def local_preparation() -> Preparation:
    """Return the preparation that all processes of this machine share: one cache, one set of compiled forms."""
    return Preparation(
        cache=conf.artifact_cache(),
        deadline_seconds=settings.MODELS_STORAGE_SECONDS,
        trusted=conf.trusted_globals(),
        allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
        accelerate=settings.MODELS_ACCELERATION,
        compiled_directory=conf.compiled_directory(),
        allowance_seconds=settings.MODELS_CHECK_SECONDS,
    )


def local_residency() -> Residency:
    """Return the policy that decides which models a worker keeps in memory."""
    if settings.MODELS_LOADING == "eager":
        return Residency()
    return Residency(
        OnDemand(wait_seconds=settings.MODELS_LOADING_SECONDS),
        pinned=frozenset(settings.MODELS_PINNED),
        max_bytes=settings.MODELS_MEMORY_MB * 1_000_000,
    )
