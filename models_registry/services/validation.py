"""Checks a version before it may be activated: fetch, hash, inspect, judge, load test."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from models_registry import conf
from models_registry.artifacts import formats, pack
from models_registry.artifacts.cache import CachedArtifact
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest, Sample
from models_registry.artifacts.reference import ReferenceTable
from models_registry.artifacts.schema import Schema
from models_registry.errors import (
    ActivationConflict,
    ArtifactError,
    DiskUnavailable,
    NotSplittable,
    ObjectMissing,
    RequestError,
    StorageError,
)
from models_registry.models import Activation, ModelVersion, Policy, RegisteredModel, State
from models_registry.services import parts
from models_registry.services.activation import activate
from models_registry.services.canaries import start_canary
from models_registry.services.desired_state import record_change
from models_registry.services.mlflow_directories import directory_manifest, merged
from models_registry.services.references import examine_reference, pin_content, store_rows
from models_registry.services.stored_bytes import copier
from models_registry.services.webhooks import record_event

log = structlog.get_logger(__name__)

# Those of a version that webhooks tell.
TOLD_STATES = (State.READY, State.REJECTED)
# More than the workers of a machine, which all look for the next version to check.
CANDIDATES = 8


@dataclass(slots=True)
class Findings:
    """What the check of a version has learnt so far."""

    state: State = State.READY
    reason: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    reference: ReferenceTable | None = None

    def reject(self, reason: str) -> Findings:
        """Return these findings as a rejection."""
        self.state, self.reason = State.REJECTED, reason
        return self


def check_next(holder: str) -> ModelVersion | None:
    """Check the version that has waited longest; None where none waits.

    StorageError is raised where its bytes cannot be had, or cannot be kept here; the version then waits on, behind
    all others, and is not due for a while.
    """
    # Another process may take the first one at the same moment; then the next one is taken.
    for version in ModelVersion.objects.due_for_check().select_related("model")[:CANDIDATES]:
        if _claim(version, holder):
            return check_version(version)
    return None


def versions_to_check(first: list[ModelVersion]) -> list[ModelVersion]:
    """Return the versions that wait for a check, those in `first` before the others."""
    named = {version.pk for version in first}
    waiting = ModelVersion.objects.waiting_for_check().select_related("model").in_turn()
    return first + [version for version in waiting if version.pk not in named]


def check_version(version: ModelVersion, *, holder: str = "") -> ModelVersion:
    """Return `version` as ready or rejected, with its report.

    With a `holder` it is claimed first; somebody else's check at the same time raises RequestError.
    """
    if holder and not _claim(version, holder):
        raise RequestError(f"{version} is being checked by another process. Wait for its verdict.")
    try:
        with _as_disk_error(version):
            findings = _storable(_examine(version))
        _store(version, findings)
    except ObjectMissing as error:
        _store(version, Findings(State.MISSING, str(error)))
        return version
    except StorageError as error:
        _postpone(version, str(error))
        raise
    except (OperationalError, InterfaceError, InternalError):
        raise  # the database is away, or read-only: whoever comes next checks again
    except Exception as error:
        # Whatever an artifact may provoke ends as a verdict, not as a version that is checked for ever.
        log.exception("check_failed", model=version.model.name, version=version.number)
        first = (str(error).splitlines() or [type(error).__name__])[0][:300].replace("\0", "\ufffd").rstrip(". ")
        _store(
            version,
            Findings().reject(f"Its check failed: {first}. Mend the artifact or its manifest and publish again."),
        )
    _activate_latest(version)
    return version


def _postpone(version: ModelVersion, reason: str) -> None:
    """Leave the check to a later turn; the time of this one orders the turns."""
    version.state, version.reason, version.claimed_by, version.claimed_at = State.FOUND, reason, "", timezone.now()
    # Not one that somebody else has given a verdict meanwhile.
    ModelVersion.objects.filter(pk=version.pk, state__in=(State.FOUND, State.CHECKING)).update(
        state=version.state, reason=reason, claimed_by="", claimed_at=version.claimed_at
    )


@contextmanager
def _as_disk_error(version: ModelVersion) -> Iterator[None]:
    """Tell what this machine's disk refuses from what the artifact provokes."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # damaged compressed data: Python's own, not the kernel's
        where = f" ({error.filename})" if error.filename else ""
        raise DiskUnavailable(
            f"{version} cannot be checked on this machine: {error.strerror}{where}. See that there is space, and the "
            "right to write. It is checked again."
        ) from error


def recheck(version: ModelVersion, *, by: str) -> None:
    """Put a rejected version back in line for its check, e.g. after a name was added to the allow-list.

    Its digest stays pinned: other bytes are rejected again. RequestError is raised where it is not rejected.
    """
    updated = ModelVersion.objects.filter(pk=version.pk, state=State.REJECTED).update(
        state=State.FOUND,
        reason="",
        # What the last check saw is not to stand beside the next one's verdict.
        inspection=None,
        schema=None,
        sample=None,
        sample_is_own=False,
        reference=None,
        report=None,
        override_reason="",
        checked_at=None,
        # Steps that the manifest has got since then count.
        **parts.unpin(version),
    )
    version.refresh_from_db()
    if not updated:
        raise RequestError(
            f"{version} is not rejected (its state is {version.state}). Only a rejected version can be checked again."
        )
    log.info("recheck_asked", model=version.model.name, version=version.number, by=by)


def _storable(findings: Findings) -> Findings:
    """Return the findings, or a rejection where the artifact brought a character that PostgreSQL cannot store."""
    findings.reason = findings.reason.replace("\0", "\ufffd")
    if "\\u0000" not in json.dumps(findings.values):
        return findings
    return Findings(values={"digest": findings.values.get("digest", "")}).reject(
        "The artifact names a feature, a label or a version with the character NUL in it, which no database stores. "
        "Rename it and publish again."
    )


def _claim(version: ModelVersion, holder: str) -> bool:
    claimed = (
        ModelVersion.objects.waiting_for_check()
        .filter(pk=version.pk)
        .update(state=State.CHECKING, reason="", claimed_by=holder, claimed_at=timezone.now())
    )
    if claimed:
        RegisteredModel.objects.filter(pk=version.model_id).update(check_began_at=timezone.now())
    return bool(claimed)


def _examine(version: ModelVersion) -> Findings:
    findings = Findings()
    if version.size_bytes > settings.MODELS_MAX_ARTIFACT_MB * 1_000_000:
        return findings.reject(
            f"The artifact has {version.size_bytes / 1e6:.0f} MB; at most {settings.MODELS_MAX_ARTIFACT_MB} are "
            "taken (MODELS_MAX_ARTIFACT_MB)."
        )
    try:
        manifest = _read_manifest(version, findings)
        if manifest.steps is not None and not version.parts:
            _pin(version, manifest.steps, findings)
        artifact = fetch_artifact(version)
    except ArtifactError as error:
        return findings.reject(str(error))
    findings.values["digest"] = artifact.digest
    with artifact:
        return _verdict_on(version, artifact, manifest, findings)


def _pin(version: ModelVersion, steps: tuple[str, ...], findings: Findings) -> None:
    """Make the version consist of what its manifest's steps name, from here on."""
    pinned = parts.pin(version, steps)
    values = {"parts": pinned.to_json(), "format": pack.FORMAT, "size_bytes": pinned.size_bytes}
    findings.values.update(values)
    for name, value in values.items():
        setattr(version, name, value)
    # That of the artifact alone was compared; the pack's own is not known yet.
    version.digest = ""


def fetch_artifact(version: ModelVersion) -> CachedArtifact:
    """Return the artifact of `version`, compared with its digest where that is known.

    Raises StorageError or ArtifactError.
    """
    return conf.artifact_cache().fetch(
        copier(conf.storage(), version),
        suffix=f".{version.format}",
        digest=version.digest,
        size_bytes=version.size_bytes,
        deadline_seconds=settings.MODELS_STORAGE_SECONDS,
    )


def _read_manifest(version: ModelVersion, findings: Findings) -> Manifest:
    content = conf.storage().read_current(version.storage_key + MANIFEST_SUFFIX)
    own = Manifest.parse(content) if content is not None else Manifest()
    manifest = merged(directory_manifest(conf.storage(), version.storage_key), own)
    findings.values.update(
        manifest=manifest.to_json(), description=manifest.description, metrics=manifest.metrics or {}
    )
    return manifest


def _verdict_on(version: ModelVersion, artifact: CachedArtifact, manifest: Manifest, findings: Findings) -> Findings:
    try:
        _examine_artifact(version, artifact, manifest, findings)
    except ArtifactError as error:
        findings.reject(str(error))
    if findings.state == State.REJECTED and not artifact.path.exists():
        raise DiskUnavailable(f"{version} was removed from the cache while it was checked. It is checked again.")
    return findings


def _examine_artifact(
    version: ModelVersion, artifact: CachedArtifact, manifest: Manifest, findings: Findings
) -> Findings:
    """Inspect without running anything, judge, and only then run the load test."""
    # Imported here: a worker that only serves needs none of it.
    from models_registry.artifacts.inspection import inspect_in_sandbox
    from models_registry.artifacts.load_test import LoadTestLimits, LoadTestRequest, run_load_test
    from models_registry.artifacts.policy import explain_versions, judge, version_verdict

    warning = _check_signature(version, artifact)
    memory_bytes = settings.MODELS_CHECK_MEMORY_MB * 1_000_000
    inspection = inspect_in_sandbox(
        artifact.path, version.format, max_claimed_bytes=memory_bytes, seconds=settings.MODELS_CHECK_SECONDS
    )
    versions = version_verdict(inspection)
    findings.values["inspection"] = {
        **inspection.to_json(),
        "version_verdict": versions.sentence,
        "is_version_verified": versions.is_verified,
    }
    # Shown in the admin while the load test still runs.
    with transaction.atomic():
        ModelVersion.objects.filter(pk=version.pk).update(**_storable(findings).values)
    reasons = judge(
        inspection,
        trusted=conf.trusted_globals(),
        allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
        max_claimed_bytes=memory_bytes,
    )
    if reasons:
        return findings.reject(" ".join(reasons))
    report = run_load_test(
        LoadTestRequest(
            path=artifact.path,
            format=version.format,
            declared=manifest.inputs,
            sample=manifest.sample,
            trusted=conf.trusted_globals(),
            allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
        ),
        LoadTestLimits(
            memory_bytes=memory_bytes,
            cpu_seconds=settings.MODELS_CHECK_SECONDS,
            wall_seconds=settings.MODELS_CHECK_SECONDS,
        ),
    )
    findings.values["report"] = {**report.to_json(), **({"signature_warning": warning} if warning else {})}
    if not report.passed:
        reason = explain_versions(report.reason, inspection)
        return findings.reject(f"{reason}{_advise_steps(version)}" if formats.TRANSFORMS_ONLY in reason else reason)
    findings.values["schema"] = report.schema
    _keep_sample(manifest.sample, report.predictions, findings)
    _keep_reference(version, manifest.reference, artifact, findings)
    has_expected = manifest.sample is not None and manifest.sample.predictions is not None
    findings.values["override_reason"] = "" if versions.is_verified or has_expected else versions.sentence
    if versions.is_verified:
        findings.reason = versions.sentence
    _compile_ahead(version, artifact, findings)
    return findings


def _advise_steps(version: ModelVersion) -> str:
    """Say how to serve a transformer with the model that lies beside it; empty where there is none."""
    folder, _, own = version.storage_key.rpartition("/")
    keys = version.model.versions.filter(storage_key__startswith=f"{folder}/").exclude(storage_key=version.storage_key)
    others = [
        key.rpartition("/")[2]
        for key in keys.values_list("storage_key", flat=True)
        if key.count("/") == folder.count("/") + 1
    ]
    if not others:
        return ""
    model = min(others, key=lambda name: ("model" not in name.lower(), name))
    return (
        f" {model} lies beside it: to serve both as one, publish {model} again with {own} beside it and "
        f'"steps": ["{own}", "{model}"] in {model}{MANIFEST_SUFFIX}.'
    )


def _check_signature(version: ModelVersion, artifact: CachedArtifact) -> str:
    """Return a warning, empty where there is none; ArtifactError where the policy requires a valid signature."""
    if settings.MODELS_SIGNATURES == "off":
        return ""
    if not version.parts:
        return _signature_warning(version.storage_key, artifact.path)
    warnings = []
    keys = {part["name"]: part["key"] for part in version.parts["parts"]}
    with pack.unpacked(artifact.path) as content, TemporaryDirectory() as folder:
        for name, member in content.members.items():
            # A copy: the signature's own library follows no links.
            warnings.append(_signature_warning(keys[name], Path(shutil.copy(member, Path(folder) / name))))
    return " ".join(filter(None, warnings))


def _signature_warning(key: str, path: Path) -> str:
    from models_registry.artifacts import signing

    content = conf.storage().read_current(key + signing.SIGNATURE_SUFFIX)
    return signing.verify(path, content, policy=settings.MODELS_SIGNATURES, public_key=settings.MODELS_SIGNATURE_KEY)


def _keep_sample(sample: Sample | None, predictions: Any, findings: Findings) -> None:
    """Store the sample; without expected predictions those of this first check become the expected ones."""
    if sample is None or predictions is None:
        findings.values.update(sample=None, sample_is_own=False)
        return
    expected = sample.predictions if sample.predictions is not None else tuple(predictions)
    findings.values.update(
        sample=replace(sample, predictions=expected).to_json(), sample_is_own=sample.predictions is None
    )


def _keep_reference(version: ModelVersion, name: str | None, artifact: CachedArtifact, findings: Findings) -> None:
    """Pin and read the file of training rows that the manifest names."""
    if name is None:
        findings.values["reference"] = None
        return
    pinned, findings.reference = examine_reference(version, name, artifact, findings.values["schema"])
    findings.values["reference"] = pin_content(pinned)


def _compile_ahead(version: ModelVersion, artifact: CachedArtifact, findings: Findings) -> None:
    """Compile on this machine now, so that an activation need not wait for it; the verdict joins the report."""
    if not (settings.MODELS_ACCELERATION and version.model.acceleration):
        return
    # It brings onnxruntime, a tenth of a second that a command which compiles nothing need not wait.
    from models_registry.compilation import AccelerationRequest, accelerate

    sample = findings.values["sample"]
    verdict = accelerate(
        AccelerationRequest(
            artifact=artifact.path,
            format=version.format,
            digest=artifact.digest,
            schema=Schema.from_json(findings.values["schema"]),
            instances=tuple(sample["instances"]) if sample else (),
            trusted=tuple(sorted(conf.trusted_globals())),
            allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
        ),
        conf.compiled_directory(),
    )
    findings.values["report"]["acceleration"] = verdict.to_json()


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
        # A version that was missing may be active, or a candidate: replicas load it by its new schema.
        for model_id in RegisteredModel.objects.filter(
            Q(active_version=version.pk) | Q(canary__version=version.pk)
        ).values_list("pk", flat=True):
            record_change(model_id)
        ModelVersion.objects.filter(pk=version.pk).update(**values)
        if "reference" in findings.values:
            store_rows(version, findings.reference)
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


def _activate_latest(version: ModelVersion) -> None:
    """Activate a version that has just passed, where the model's policy says so.

    Never one that was active before (a person has decided since), nor an older one than serves, nor any of a model
    that was deactivated.
    """
    if version.state != State.READY or version.override_reason:
        return
    while True:
        model = RegisteredModel.objects.select_related("active_version", "canary__version").get(pk=version.model_id)
        if model.policy != Policy.LATEST:
            return
        if model.activations.filter(version=version).exists() or model.canaries.filter(version=version).exists():
            return
        if model.active_version is None and model.generation:
            log.info("not_activated", version=str(version), reason="the model was deactivated; activate it by hand")
            return
        if model.active_version is not None and model.active_version.number > version.number:
            return
        if model.canary is not None and model.canary.version.number > version.number:
            return
        version.model = model
        try:
            _serve_latest(version)
        except ActivationConflict:
            continue  # another version passed at the same moment; the higher number stays
        except NotSplittable as error:
            log.info("not_activated", version=str(version), reason=str(error))
        return


def _serve_latest(version: ModelVersion) -> None:
    """Activate a version, or begin its canary where the model's versions go through one."""
    model, by, reason = version.model, "policy latest", "It passed its checks."
    if model.latest_percent >= 100 or model.active_version is None:
        activate(version, by=by, reason=reason, kind=Activation.Kind.POLICY)
    else:
        start_canary(
            version, percent=model.latest_percent, bake_minutes=model.latest_bake_minutes, by=by, reason=reason
        )


def check_now(version: ModelVersion, *, holder: str, timeout_seconds: float | None = None) -> ModelVersion:
    """Return `version` with its verdict: checked here, or by the replica that came first."""
    deadline = time.monotonic() + (timeout_seconds or 2 * settings.MODELS_CHECK_SECONDS)
    while time.monotonic() < deadline:
        if _claim(version, holder):
            return check_version(version)
        version.refresh_from_db()
        if version.state not in {State.FOUND, State.CHECKING}:
            return version
        time.sleep(0.2)
    raise RequestError(f"{version} is still being checked by {version.claimed_by}. Look again in a minute.")
