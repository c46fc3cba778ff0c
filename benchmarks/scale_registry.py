"""Fills a registry with many small models that are checked, compiled, in the cache and active.

    python -m benchmarks.scale_registry active 1000
    python -m benchmarks.scale_registry uploaded 1000

One is checked as any other; the others differ from it in their bytes alone, so that its verdict and its compiled form
hold for them. Run in the environment of the registry.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django

django.setup()

import joblib  # noqa: E402 - needs Django's settings
from django.conf import settings  # noqa: E402
from sklearn.datasets import load_breast_cancer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from models_registry import conf, services  # noqa: E402
from models_registry.artifacts.cache import digest_of  # noqa: E402
from models_registry.artifacts.manifest import Sample  # noqa: E402
from models_registry.artifacts.schema import Schema  # noqa: E402
from models_registry.compilation import AccelerationRequest, cache  # noqa: E402
from models_registry.models import ModelVersion, RegisteredModel, State  # noqa: E402

COPIED = ("manifest", "inspection", "schema", "sample", "sample_is_own", "report", "checked_at", "metrics")
OLD = 1_600_000_000  # a file that is being written is left alone


def fill(count: int) -> None:
    """Leave `count` models, each with one active version, and a second version of the first."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    directory = Path(settings.MODELS_CACHE) / "made"
    directory.mkdir(parents=True, exist_ok=True)
    checked = _checked(model, directory, Sample(instances=tuple(inputs[:20].tolist())))
    storage = _storage()
    paths = [storage / f"m{number:05}" / "a.joblib" for number in range(1, count)] + [storage / "m00000" / "b.joblib"]
    for number, path in enumerate(paths):
        model.steps[-1][1].random_state = number + 1
        path.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump(model, path)
        os.utime(path, (OLD + number, OLD + number))
    services.discover()
    for version in ModelVersion.objects.filter(state=State.FOUND).select_related("model"):
        _take_over(version, checked, storage / version.storage_key)
    for registered in RegisteredModel.objects.filter(active_version=None):
        services.activate(services.get_version(registered, 1), by="benchmark")


def upload(count: int) -> None:
    """Leave `count` artifacts in the storage, of a tenth as many models; nothing is recorded or checked."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    sample = {"sample": {"instances": inputs[:20].tolist()}}
    for number in range(count):
        model.steps[-1][1].random_state = number + 1
        path = _storage() / f"m{number % max(1, count // 10):05}" / f"{number:06}.joblib"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(sample))
        joblib.dump(model, path)
        os.utime(path, (OLD + number, OLD + number))


def _storage() -> Path:
    return Path(settings.MODELS_STORAGE.removeprefix("file://"))


def _checked(model: object, directory: Path, sample: Sample) -> ModelVersion:
    path = directory / "model.joblib"
    joblib.dump(model, path)
    version = services.check_now(services.publish("m00000", path, by="benchmark", sample=sample), holder="benchmark")
    if version.state != State.READY:
        raise RuntimeError(version.reason)
    return version


def _take_over(version: ModelVersion, checked: ModelVersion, path: Path) -> None:
    """Give a version the verdict of the one that was checked, and lay its compiled form beside that one's."""
    digest = digest_of(path)
    values = {name: getattr(checked, name) for name in COPIED}
    ModelVersion.objects.filter(pk=version.pk).update(state=State.READY, digest=digest, **values)
    shutil.copy(path, conf.artifact_cache().directory / f"{digest}.joblib")
    request = AccelerationRequest(
        artifact=path,
        format="joblib",
        digest=checked.digest,
        schema=Schema.from_json(checked.schema),
        instances=tuple(checked.sample["instances"]),
        trusted=tuple(sorted(conf.trusted_globals())),
        allow_any_pickle=settings.MODELS_ALLOW_ANY_PICKLE,
    )
    versions = cache.compiler_versions()
    source = conf.compiled_directory() / cache.key_of(request, versions)
    target = conf.compiled_directory() / cache.key_of(replace(request, digest=digest), versions)
    shutil.copytree(source, target, dirs_exist_ok=True)


if __name__ == "__main__":
    {"active": fill, "uploaded": upload}[sys.argv[1]](int(sys.argv[2]))
