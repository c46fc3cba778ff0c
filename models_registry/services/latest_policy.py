"""The policy `latest`: activates each version that passes its validation."""

from __future__ import annotations

import structlog

from models_registry.artifacts.schema import TRANSFORMER
from models_registry.errors import ActivationConflict, ModelArchived, NotSplittable
from models_registry.models import Activation, ModelVersion, Policy, RegisteredModel, State
from models_registry.services.activation import activate
from models_registry.services.canaries import start_canary

log = structlog.get_logger(__name__)


def activate_latest(version: ModelVersion) -> None:
    """Activate a version that has just passed validation if the model's policy is `latest`.

    It does not activate a version that was active before, because a user has decided since. It does not activate a
    version that is older than the active one, or any version of a deactivated model.
    """
    if version.state != State.READY or version.override_reason:
        return
    while True:
        model = RegisteredModel.objects.select_related("active_version", "canary__version").get(pk=version.model_id)
        if model.policy != Policy.LATEST or model.archived_at is not None:
            return
        if model.activations.filter(version=version).exists() or model.canaries.filter(version=version).exists():
            return
        if model.active_version is None and model.generation:
            log.info(
                "not_activated", version=str(version), reason="the model was deactivated; a person must activate it"
            )
            return
        if model.active_version is not None and model.active_version.number > version.number:
            return
        if model.canary is not None and model.canary.version.number > version.number:
            return
        if model.active_version is not None and _answers_otherwise(version, model.active_version):
            log.info(
                "not_activated", version=str(version), reason="a transformer and a model do not replace each other"
            )
            return
        version.model = model
        try:
            _serve_latest(version)
        except (ActivationConflict, ModelArchived):
            continue  # another version passed at the same time, or the model was archived: check again
        except NotSplittable as error:
            log.info("not_activated", version=str(version), reason=str(error))
        return


def _answers_otherwise(version: ModelVersion, active: ModelVersion) -> bool:
    """Return whether one version transforms rows and the other one predicts: a transformer may be a part of a model."""
    kinds = {(item.schema or {}).get("kind") for item in (version, active)}
    return len(kinds) == 2 and TRANSFORMER in kinds


def _serve_latest(version: ModelVersion) -> None:
    """Activate a version, or start its canary if the model is set to use canaries."""
    model, by, reason = version.model, "policy latest", "It passed validation."
    if model.latest_percent >= 100 or model.active_version is None:
        activate(version, by=by, reason=reason, kind=Activation.Kind.POLICY)
    else:
        start_canary(
            version, percent=model.latest_percent, bake_minutes=model.latest_bake_minutes, by=by, reason=reason
        )
