"""The admin of the registry: pages only read; each action calls one service."""

from models_registry.admin import finder, home
from models_registry.admin.access import TokenAdmin, UserAdmin
from models_registry.admin.activation import ActivationAdmin
from models_registry.admin.api_key import ApiKeyAdmin
from models_registry.admin.batch import BatchJobAdmin
from models_registry.admin.model_version import ModelVersionAdmin
from models_registry.admin.registered_model import RegisteredModelAdmin
from models_registry.admin.replica import ReplicaAdmin
from models_registry.admin.webhook import WebhookDeliveryAdmin

__all__ = [
    "ActivationAdmin",
    "ApiKeyAdmin",
    "BatchJobAdmin",
    "ModelVersionAdmin",
    "RegisteredModelAdmin",
    "ReplicaAdmin",
    "TokenAdmin",
    "UserAdmin",
    "WebhookDeliveryAdmin",
    "finder",
    "home",
]
