"""The policy `latest`: a version that passes its validation is activated at once."""

from __future__ import annotations

import structlog

from models_registry.artifacts.schema import TRANSFORMER
from models_registry.errors import ActivationConflict, ModelArchived, NotSplittable
from models_registry.models import Activation, ModelVersion, Policy, RegisteredModel, State
from models_registry.services.activation import activate
from models_registry.services.canaries import start_canary

log = structlog.get_logger(__name__)


def activate_latest(version: ModelVersion) -> None:
    """Activate a version that has just passed, where the model's policy says so.

    Never one that was active before (a person has decided since), nor an older one than serves, nor any of a model
    that was deactivated.
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
            continue  # another version passed at the same moment, or the model was archived: look again
        except NotSplittable as error:
            log.info("not_activated", version=str(version), reason=str(error))
        return


def _answers_otherwise(version: ModelVersion, active: ModelVersion) -> bool:
    """Return whether one version transforms rows and the other predicts: one may be a part of the other's chain."""
    kinds = {(item.schema or {}).get("kind") for item in (version, active)}
    return len(kinds) == 2 and TRANSFORMER in kinds


def _serve_latest(version: ModelVersion) -> None:
    """Activate a version, or begin its canary where the model's versions go through one."""
    model, by, reason = version.model, "policy latest", "It passed validation."
    if model.latest_percent >= 100 or model.active_version is None:
        activate(version, by=by, reason=reason, kind=Activation.Kind.POLICY)
    else:
        start_canary(
            version, percent=model.latest_percent, bake_minutes=model.latest_bake_minutes, by=by, reason=reason
        )
