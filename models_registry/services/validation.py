"""Validates a version before it may be activated: claims it, examines it, and stores the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import InterfaceError, InternalError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from models_registry.errors import DiskUnavailable, ObjectMissing, RequestError, StorageError
from models_registry.models import FeatureBins, ModelVersion, RegisteredModel, State, interrupted_checks_began_before
from models_registry.services import parts
from models_registry.services.desired_state import record_change
from models_registry.services.examination import Findings, examine, storable
from models_registry.services.feature_bins import try_to_store_bins
from models_registry.services.latest_policy import activate_latest
from models_registry.services.prepared import PreparedQuery
from models_registry.services.references import store_rows
from models_registry.services.webhooks import record_event

log = structlog.get_logger(__name__)

# States of a version that have a webhook event.
TOLD_STATES = (State.READY, State.REJECTED)
# Versions that a worker tries to claim in turn, because all workers of a machine look for the next one.
CANDIDATES = 8


def has_version_to_check() -> bool:
    """Return whether a version is due. Every replica polls this, so the query has no joins: they take long to plan."""
    return _WAITING.exists(interrupted_checks_began_before())


_WAITING = PreparedQuery(
    lambda moment: ModelVersion.objects.waiting_for_check(interrupted_before=moment).values_list("pk")
)


def check_next(holder: str) -> ModelVersion | None:
    """Validate the version at the head of the queue; return None if the queue is empty.

    Raises StorageError if its bytes cannot be read, or cannot be stored on this machine. The version then goes to the
    end of the queue and is not due for POSTPONED_SECONDS.
    """
    if not has_version_to_check():
        return None
    # Another process may claim the first one at the same time; then the next one is claimed.
    for version in ModelVersion.objects.due_for_check().select_related("model")[:CANDIDATES]:
        if _claim(version, holder):
            return check_version(version)
    return None


def versions_to_check(first: list[ModelVersion]) -> list[ModelVersion]:
    """Return the queued versions, those in `first` before the others."""
    named = {version.pk for version in first}
    waiting = ModelVersion.objects.waiting_for_check().select_related("model").in_turn()
    return first + [version for version in waiting if version.pk not in named]


def check_version(version: ModelVersion, *, holder: str = "") -> ModelVersion:
    """Validate `version`, and return it with its verdict: ready, rejected or missing.

    With a `holder` it is claimed first. Raises RequestError if another process validates it now. Raises StorageError if
    its bytes cannot be read, or cannot be stored on this machine.
    """
    if holder and not _claim(version, holder):
        raise RequestError(f"{version} is being checked by another process. Wait for its verdict.")
    try:
        with _as_disk_error(version):
            findings = storable(examine(version))
        _store(version, findings)
    except ObjectMissing as error:
        _store(version, Findings(State.MISSING, str(error)))
        return version
    except StorageError as error:
        _postpone(version, str(error))
        raise
    except (OperationalError, InterfaceError, InternalError):
        raise  # the database is unavailable, or read-only: the next replica validates again
    except Exception as error:
        # Any exception due to an artifact becomes a verdict; otherwise the validation would repeat forever.
        log.exception("check_failed", model=version.model.name, version=version.number)
        first = (str(error).splitlines() or [type(error).__name__])[0][:300].replace("\0", "\ufffd").rstrip(". ")
        _store(
            version,
            Findings().reject(
                f"Its validation failed: {first}. Correct the artifact or its manifest and publish again."
            ),
        )
    activate_latest(version)
    return version


def _postpone(version: ModelVersion, reason: str) -> None:
    """Put the version back into the queue, ordered by the time of this attempt."""
    version.state, version.reason, version.claimed_by, version.claimed_at = State.FOUND, reason, "", timezone.now()
    # Another process may have stored a verdict meanwhile; its verdict stays.
    ModelVersion.objects.filter(pk=version.pk, state__in=(State.FOUND, State.CHECKING)).update(
        state=version.state, reason=reason, claimed_by="", claimed_at=version.claimed_at
    )


@contextmanager
def _as_disk_error(version: ModelVersion) -> Iterator[None]:
    """Raise DiskUnavailable for errors of this machine's disk, so that they do not reject the artifact."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # damaged compressed data: raised by Python, not by the kernel
        where = f" ({error.filename})" if error.filename else ""
        raise DiskUnavailable(
            f"{version} cannot be validated on this machine: {error.strerror}{where}. Make sure that there is "
            "space and permission to write. The validation is retried."
        ) from error


def recheck(version: ModelVersion, *, by: str) -> None:
    """Queue a rejected version for another validation, e.g. after a name was added to the allow-list.

    Its digest stays fixed: other bytes are rejected again. Raises RequestError if it is not rejected.
    """
    updated = ModelVersion.objects.filter(pk=version.pk, state=State.REJECTED).update(
        state=State.FOUND,
        reason="",
        # Findings of the last validation must not remain with the next verdict.
        inspection=None,
        schema=None,
        sample=None,
        sample_is_own=False,
        reference=None,
        report=None,
        override_reason="",
        checked_at=None,
        # Steps that were added to the manifest since then count.
        **parts.unpin(version),
    )
    version.refresh_from_db()
    if not updated:
        raise RequestError(
            f"{version} is not rejected (its state is {version.state}). Only a rejected version can be checked again."
        )
    # They belong to the earlier schema.
    FeatureBins.objects.filter(version=version).delete()
    log.info("recheck_asked", model=version.model.name, version=version.number, by=by)


def _claim(version: ModelVersion, holder: str) -> bool:
    claimed = (
        ModelVersion.objects.waiting_for_check()
        .filter(pk=version.pk)
        .update(state=State.CHECKING, reason="", claimed_by=holder, claimed_at=timezone.now())
    )
    if claimed:
        version.claimed_by = holder
        RegisteredModel.objects.filter(pk=version.model_id).update(check_began_at=timezone.now())
    return bool(claimed)


def _store(version: ModelVersion, findings: Findings) -> None:
    values = {
        **findings.values,
        "state": findings.state,
        "reason": findings.reason,
        "checked_at": timezone.now(),
        "claimed_by": "",
        "claimed_at": None,
    }
    with transaction.atomic():
        # A version that was missing may be active, or a candidate: replicas then load it with its new schema.
        for model_id in RegisteredModel.objects.filter(
            Q(active_version=version.pk) | Q(canary__version=version.pk)
        ).values_list("pk", flat=True):
            record_change(model_id)
        # A validation that lost its claim must not restore a deleted version or its data.
        if not ModelVersion.objects.kept().filter(pk=version.pk).update(**values):
            version.refresh_from_db()
            return
        if "reference" in findings.values:
            store_rows(version, findings.reference)
        if findings.state == State.READY:
            try_to_store_bins(ModelVersion.objects.select_related("model", "reference_rows").get(pk=version.pk))
        if findings.state in TOLD_STATES:
            record_event(
                f"version.{findings.state.value}",
                {
                    "model": version.model.name,
                    "version": version.number,
                    "reason": findings.reason,
                    "digest": findings.values.get("digest", version.digest),
                },
            )
    for name, value in values.items():
        setattr(version, name, value)
    log.info(
        "checked", model=version.model.name, version=version.number, state=str(findings.state), reason=findings.reason
    )


def check_now(version: ModelVersion, *, holder: str) -> ModelVersion:
    """Return `version` with its verdict, from this process or from the replica that claimed it first.

    This process takes over a validation that counts as interrupted, so the wait ends.
    """
    while True:
        if _claim(version, holder):
            return check_version(version)
        version.refresh_from_db()
        if version.state not in {State.FOUND, State.CHECKING}:
            return version
        time.sleep(0.2)
