"""The tables of the registry, by subject; import every name from here."""

from models_registry.models.api_key import ApiKey, ApiKeyQuerySet
from models_registry.models.batch import BatchJob, BatchState
from models_registry.models.model_limit import ModelLimit
from models_registry.models.monitoring import (
    DriftCheck,
    FeatureBins,
    ReferenceRows,
    Replay,
    UsageWindow,
    UsageWindowQuerySet,
)
from models_registry.models.registered_model import (
    NAME_PATTERN,
    CaptureSides,
    DesiredStateRevision,
    Policy,
    RegisteredModel,
)
from models_registry.models.replica import Lease, Replica, ReplicaModel, ReplicaQuerySet, ReplicaState
from models_registry.models.text_revision import TextRevision
from models_registry.models.traffic import Activation, Canary, Shadow, ShadowWindow
from models_registry.models.version import (
    POSTPONED_SECONDS,
    ModelVersion,
    ModelVersionQuerySet,
    State,
    interrupted_checks_began_before,
)
from models_registry.models.webhook import WebhookDelivery

__all__ = [
    "NAME_PATTERN",
    "POSTPONED_SECONDS",
    "Activation",
    "ApiKey",
    "ApiKeyQuerySet",
    "BatchJob",
    "BatchState",
    "Canary",
    "CaptureSides",
    "DesiredStateRevision",
    "DriftCheck",
    "FeatureBins",
    "Lease",
    "ModelLimit",
    "ModelVersion",
    "ModelVersionQuerySet",
    "Policy",
    "ReferenceRows",
    "RegisteredModel",
    "Replay",
    "Replica",
    "ReplicaModel",
    "ReplicaQuerySet",
    "ReplicaState",
    "Shadow",
    "ShadowWindow",
    "State",
    "TextRevision",
    "UsageWindow",
    "UsageWindowQuerySet",
    "WebhookDelivery",
    "interrupted_checks_began_before",
]
