"""The steps of a validation: bytes, inspection, trust policy, load test."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from models_registry import conf
from models_registry.artifacts import pack
from models_registry.artifacts.cache import CachedArtifact
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest, Sample
from models_registry.artifacts.reference import ReferenceTable
from models_registry.artifacts.schema import TRANSFORMER, Schema
from models_registry.artifacts.typical_values import typical_of_rows
from models_registry.errors import ArtifactError, DiskUnavailable, InputError
from models_registry.models import ModelVersion, State
from models_registry.services import parts
from models_registry.services.mlflow_directories import directory_manifest, merged
from models_registry.services.references import examine_reference, pin_content
from models_registry.services.shared_storage import explained_by_storage
from models_registry.services.stored_bytes import copier


@dataclass(slots=True)
class Findings:
    """The findings of a validation so far."""

    state: State = State.READY
    reason: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    reference: ReferenceTable | None = None

    def reject(self, reason: str) -> Findings:
        """Return these findings as a rejection."""
        self.state, self.reason = State.REJECTED, reason
        return self


def storable(findings: Findings) -> Findings:
    """Return the findings; a rejection if the artifact contains a character that PostgreSQL cannot store."""
    findings.reason = findings.reason.replace("\0", "\ufffd")
    if "\\u0000" not in json.dumps(findings.values):
        return findings
    return Findings(values={"digest": findings.values.get("digest", "")}).reject(
        "The artifact names a feature, a label or a version with the character NUL in it, which no database stores. "
        "Rename it and publish again."
    )


def examine(version: ModelVersion) -> Findings:
    """Return the findings: a rejection with its reason, or the schema, the sample and the report.

    Raises StorageError if its bytes cannot be read, or cannot be stored on this machine.
    """
    findings = Findings()
    if version.size_bytes > settings.MODELS_MAX_ARTIFACT_MB * 1_000_000:
        return findings.reject(
            f"The artifact has {version.size_bytes / 1e6:.0f} MB; at most {settings.MODELS_MAX_ARTIFACT_MB} MB "
            "are accepted. Publish a smaller model, or raise MODELS_MAX_ARTIFACT_MB."
        )
    try:
        manifest = _read_manifest(version, findings)
        if manifest.steps is not None and not version.parts:
            _pin(version, manifest.steps, findings)
        _begin_step(version)
        artifact = fetch_artifact(version)
    except ArtifactError as error:
        return findings.reject(str(error))
    findings.values["digest"] = artifact.digest
    with artifact:
        return _verdict_on(version, artifact, manifest, findings)


def _begin_step(version: ModelVersion) -> None:
    """Renew the claim: a validation may take longer in all than a claim lasts, but no step does.

    Another process may have claimed the version since: its claim stays as it is.
    """
    own = ModelVersion.objects.filter(pk=version.pk, state=State.CHECKING, claimed_by=version.claimed_by)
    own.update(claimed_at=timezone.now())


def _pin(version: ModelVersion, steps: tuple[str, ...], findings: Findings) -> None:
    """Pin the files that the manifest's steps name: the version now consists of them."""
    pinned = parts.pin(version, steps)
    values = {"parts": pinned.to_json(), "format": pack.FORMAT, "size_bytes": pinned.size_bytes}
    findings.values.update(values)
    for name, value in values.items():
        setattr(version, name, value)
    # The artifact's digest was compared; the pack's digest is not known yet.
    version.digest = ""


def fetch_artifact(version: ModelVersion) -> CachedArtifact:
    """Return the artifact of `version`, after a check of its digest if that is known.

    Raises StorageError or ArtifactError.
    """
    storage = conf.storage()
    with explained_by_storage(storage):
        return conf.artifact_cache().fetch(
            copier(storage, version),
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
        raise DiskUnavailable(f"{version} was removed from the cache while it was checked. It is validated again.")
    return findings


def _examine_artifact(
    version: ModelVersion, artifact: CachedArtifact, manifest: Manifest, findings: Findings
) -> Findings:
    """Inspect without execution, apply the policy, and only then run the load test."""
    # Imported here: a worker that only serves does not need it.
    from models_registry.artifacts.inspection import inspect_in_sandbox
    from models_registry.artifacts.load_test import LoadTestLimits, LoadTestRequest, run_load_test
    from models_registry.artifacts.policy import explain_versions, judge, version_verdict

    warning = _check_signature(version, artifact)
    memory_bytes = settings.MODELS_CHECK_MEMORY_MB * 1_000_000
    _begin_step(version)
    inspection = inspect_in_sandbox(
        artifact.path, version.format, max_claimed_bytes=memory_bytes, seconds=settings.MODELS_CHECK_SECONDS
    )
    versions = version_verdict(inspection)
    findings.values["inspection"] = {
        **inspection.to_json(),
        "version_verdict": versions.sentence,
        "is_version_verified": versions.is_verified,
    }
    # Shown in the admin during the load test.
    with transaction.atomic():
        ModelVersion.objects.kept().filter(pk=version.pk).update(**storable(findings).values)
    reasons = judge(
        inspection,
        trusted=conf.trusted_globals(),
        allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
        max_claimed_bytes=memory_bytes,
    )
    if reasons:
        return findings.reject(" ".join(reasons))
    _begin_step(version)
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
        return findings.reject(explain_versions(report, inspection))
    if (report.schema or {}).get("kind") == TRANSFORMER and (advice := _advise_steps(version)):
        return findings.reject(f"It transforms rows and answers no predictions.{advice}")
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
    """Return the advice to serve a transformer with a model in its directory; empty without one."""
    folder, _, own = version.storage_key.rpartition("/")
    keys = version.model.versions.filter(storage_key__startswith=f"{folder}/").exclude(storage_key=version.storage_key)
    # Two versions of one transformer may be in one directory.
    keys = keys.exclude(schema__kind=TRANSFORMER)
    others = [
        key.rpartition("/")[2]
        for key in keys.values_list("storage_key", flat=True)
        if key.count("/") == folder.count("/") + 1
    ]
    if not others:
        return ""
    model = min(others, key=lambda name: ("model" not in name.lower(), name))
    return (
        f" {model} is in the same folder. To serve both as one version, publish {model} again with {own} and "
        f'"steps": ["{own}", "{model}"] in {model}{MANIFEST_SUFFIX}.'
    )


def _check_signature(version: ModelVersion, artifact: CachedArtifact) -> str:
    """Return a warning, empty without one; ArtifactError if the policy requires a valid signature."""
    if settings.MODELS_SIGNATURES == "off":
        return ""
    if not version.parts:
        return _signature_warning(version.storage_key, artifact.path)
    warnings = []
    keys = {part["name"]: part["key"] for part in version.parts["parts"]}
    with pack.unpacked(artifact.path) as content, TemporaryDirectory() as folder:
        for name, member in content.members.items():
            # A copy, because the signing library follows no links.
            warnings.append(_signature_warning(keys[name], Path(shutil.copy(member, Path(folder) / name))))
    return " ".join(filter(None, warnings))


def _signature_warning(key: str, path: Path) -> str:
    from models_registry.artifacts import signing

    content = conf.storage().read_current(key + signing.SIGNATURE_SUFFIX)
    return signing.verify(path, content, policy=settings.MODELS_SIGNATURES, public_key=settings.MODELS_SIGNATURE_KEY)


def _keep_sample(sample: Sample | None, predictions: Any, findings: Findings) -> None:
    """Store the sample; without expected predictions, this first validation's predictions become the expected ones."""
    if sample is None or predictions is None:
        findings.values.update(sample=None, sample_is_own=False)
        return
    expected = sample.predictions if sample.predictions is not None else tuple(predictions)
    findings.values.update(
        sample=replace(sample, predictions=expected).to_json(), sample_is_own=sample.predictions is None
    )


def _keep_reference(version: ModelVersion, name: str | None, artifact: CachedArtifact, findings: Findings) -> None:
    """Read the manifest's file of training rows and record its digest."""
    if name is None:
        findings.values["reference"] = None
        return
    _begin_step(version)
    pinned, findings.reference = examine_reference(version, name, artifact, findings.values["schema"])
    findings.values["reference"] = pin_content(pinned)
    if findings.values["sample"] is None:
        _take_example(findings, findings.reference)


def _take_example(findings: Findings, table: ReferenceTable) -> None:
    """Take the example of a version without a sample from its reference: no whole row, only middle values.

    An example that the schema refuses is not taken; the one of the load test stays.
    """
    schema = Schema.from_json(findings.values["schema"])
    example = typical_of_rows(schema, table.instances, findings.values["report"]["example"])
    with suppress(InputError):
        schema.parse([example])
        findings.values["report"]["example"] = example


def _compile_ahead(version: ModelVersion, artifact: CachedArtifact, findings: Findings) -> None:
    """Compile on this machine now, so that an activation need not wait; the verdict becomes part of the report."""
    if not (settings.MODELS_ACCELERATION and version.model.acceleration):
        return
    # The import of onnxruntime takes a tenth of a second, which commands without compilation need not wait for.
    from models_registry.compilation import AccelerationRequest, accelerate

    sample = findings.values["sample"]
    _begin_step(version)
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
