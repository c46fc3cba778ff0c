"""Imports models from an MLflow registry: the version of an alias becomes a version here, once, and is validated."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import requests
import structlog
from django.conf import settings

from models_registry import conf
from models_registry.artifacts.manifest import MANIFEST_SUFFIX, Manifest
from models_registry.artifacts.mlflow_model import (
    FILE_NAME,
    MAX_BYTES,
    MAX_EXAMPLE_BYTES,
    MlflowModel,
    parse_mlmodel,
)
from models_registry.errors import ArtifactError, RegistryError, RequestError, StorageUnavailable
from models_registry.models import ModelVersion
from models_registry.services.catalogue import check_name
from models_registry.services.discovery import discover
from models_registry.services.publishing import require_publishable

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = (5, 30)
_CHUNK_BYTES = 1 << 20
_MAX_ANSWER_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class MlflowSource:
    """An alias of a registered model on a tracking server; `address` may include a user and a password."""

    address: str
    model: str
    alias: str

    @property
    def shown(self) -> str:
        """The source for people and logs, without a password."""
        parts = urlsplit(self.address)
        place = parts.netloc.rpartition("@")[2]
        return f"{urlunsplit((parts.scheme, place, parts.path, '', ''))}#{self.model}@{self.alias}"


def parse_source(text: str) -> MlflowSource:
    """Return the source in `<tracking uri>#<model>@<alias>`; RequestError for another form."""
    address, _, rest = text.partition("#")
    model, _, alias = rest.rpartition("@")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not model or not alias:
        raise RequestError(
            f"MODELS_MLFLOW_URI holds {text!r}; expected <tracking uri>#<model>@<alias>, such as "
            "http://mlflow:5000#churn@champion."
        )
    return MlflowSource(address.rstrip("/"), unquote(model), unquote(alias))


def follow_mlflow(*, by: str = "") -> list[str]:
    """Store the version of each alias in MODELS_MLFLOW_URI if it is new; return a sentence for each failure.

    A failing source does not stop the others.
    """
    failures = []
    for text in settings.MODELS_MLFLOW_URI:
        try:
            source = parse_source(text)
            _follow(source, by=by or f"MLflow {source.shown}")
        except RegistryError as error:
            failures.append(str(error))
    return failures


def _follow(source: MlflowSource, *, by: str) -> None:
    check_name(source.model)
    # Discovery ignores archived models: each pass would store the same version again.
    require_publishable(source.model)
    server = Server(source)
    version = server.aliased_version()
    folder = _folder_of(source, version)
    if ModelVersion.objects.filter(model__name=source.model, storage_key__startswith=f"{folder}/").exists():
        return
    log.info("mlflow_alias_moved", source=source.shown, version=str(version.get("version")))
    _store(server, version, folder)
    discover(only=source.model, by=by)


def _folder_of(source: MlflowSource, version: dict[str, Any]) -> str:
    """Return the directory for one version of one server: a recreated registry starts again at number one."""
    number = str(version.get("version", ""))
    told = [
        urlsplit(source.shown).netloc,
        source.model,
        number,
        version.get("source"),
        version.get("creation_timestamp"),
    ]
    mark = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]
    number = number if number.isdigit() else "x"
    return f"{source.model}/mlflow-{number}-{mark}"


def _store(server: Server, version: dict[str, Any], folder: str) -> None:
    """Copy the model's directory into the storage, the model's file last: an earlier listing finds it incomplete."""
    storage, root = conf.storage(), server.artifact_root(version)
    mlmodel = server.read(f"{root}/{FILE_NAME}", MAX_BYTES)
    manifest = _manifest(server, version)
    try:
        model: MlflowModel | None = parse_mlmodel(mlmodel)
    except ArtifactError:
        # Stored even if invalid, so that the version's validation reports the problem once.
        model = None
    if model is not None:
        if model.example_file:
            example = server.read(f"{root}/{model.example_file}", MAX_EXAMPLE_BYTES)
            storage.put(f"{folder}/{model.example_file}", io.BytesIO(example))
        content = json.dumps(manifest.to_json(), indent=2).encode()
        storage.put(f"{folder}/{model.file}{MANIFEST_SUFFIX}", io.BytesIO(content))
    storage.put(f"{folder}/{FILE_NAME}", io.BytesIO(mlmodel))
    if model is not None:
        with tempfile.TemporaryFile() as file:
            server.copy(f"{root}/{model.file}", file, settings.MODELS_MAX_ARTIFACT_MB * 1_000_000)
            file.seek(0)
            storage.put(f"{folder}/{model.file}", file)


def _manifest(server: Server, version: dict[str, Any]) -> Manifest:
    run_id = version.get("run_id")
    run_id = run_id if isinstance(run_id, str) else ""
    description = version.get("description")
    return Manifest(
        description=description if isinstance(description, str) else "",
        metrics=server.metrics(run_id) if run_id else None,
        run_id=run_id,
    )


class Server:
    """A client of MLflow's tracking server, for its REST API."""

    def __init__(self, source: MlflowSource) -> None:
        """Prepare the HTTP client; no request is sent yet."""
        self._source = source
        self._session = requests.Session()
        # Only the operator's server may be contacted: proxy settings, netrc and redirects are ignored.
        self._session.trust_env = False

    def aliased_version(self) -> dict[str, Any]:
        """Return the model version of the alias."""
        answer = self._get_json("registered-models/alias", name=self._source.model, alias=self._source.alias)
        version = answer.get("model_version")
        if not isinstance(version, dict) or not version.get("version"):
            raise StorageUnavailable(f"{self._source.shown}: MLflow answers no model version. It is retried.")
        return version

    def artifact_root(self, version: dict[str, Any]) -> str:
        """Return the path of a version's artifacts on the server's artifact proxy."""
        answer = self._get_json(
            "model-versions/get-download-uri", name=self._source.model, version=str(version["version"])
        )
        uri = str(answer.get("artifact_uri", ""))
        parts = urlsplit(uri)
        host = urlsplit(self._source.address).netloc.rpartition("@")[2]
        path = PurePosixPath(unquote(parts.path).lstrip("/"))
        if parts.scheme != "mlflow-artifacts" or parts.netloc not in {"", host} or ".." in path.parts:
            raise StorageUnavailable(
                f"{self._source.shown}: the artifacts are at {uri[:200]!r}; expected mlflow-artifacts:/…, which the "
                "tracking server hands out itself. Start it with --serve-artifacts (its default)."
            )
        return str(path)

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the finite metrics of a run."""
        run = self._get_json("runs/get", run_id=run_id).get("run")
        found = run.get("data", {}).get("metrics", []) if isinstance(run, dict) else []
        return {
            str(metric["key"]): metric["value"]
            for metric in found
            if isinstance(metric, dict) and isinstance(metric.get("value"), int | float) and "key" in metric
        }

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the bytes of a small artifact."""
        content = io.BytesIO()
        self.copy(path, content, max_bytes)
        return content.getvalue()

    def copy(self, path: str, target: IO[bytes], max_bytes: int) -> None:
        """Write an artifact to `target`; StorageUnavailable above `max_bytes`."""
        address = f"{self._source.address}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        try:
            with self._session.get(address, stream=True, timeout=_TIMEOUT_SECONDS, allow_redirects=False) as answer:
                self._require_success(answer, path)
                self._copy_chunks(answer.iter_content(_CHUNK_BYTES), target, path, max_bytes)
        except requests.RequestException as error:
            raise self._unreached(error) from error

    def _copy_chunks(self, chunks: Iterable[bytes], target: IO[bytes], path: str, max_bytes: int) -> None:
        written = 0
        for chunk in chunks:
            written += len(chunk)
            if written > max_bytes:
                raise StorageUnavailable(
                    f"{self._source.shown}: {path} has more than {max_bytes} bytes, the limit. Log a smaller one."
                )
            target.write(chunk)

    def _get_json(self, method: str, **parameters: str) -> dict[str, Any]:
        try:
            with self._session.get(
                f"{self._source.address}/api/2.0/mlflow/{method}",
                params=parameters,
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                self._require_success(answer, method)
                content = io.BytesIO()
                self._copy_chunks(answer.iter_content(_CHUNK_BYTES), content, method, _MAX_ANSWER_BYTES)
            value = json.loads(content.getvalue())
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise self._unreached(error) from error
        return value if isinstance(value, dict) else {}

    def _require_success(self, answer: requests.Response, what: str) -> None:
        if answer.status_code == requests.codes.ok:
            return
        said = answer.raw.read(2_000, decode_content=True).decode("utf-8", "replace")
        raise StorageUnavailable(
            f"{self._source.shown}: MLflow answers {answer.status_code} to {what} ({said[:200]}). It is retried."
        )

    def _unreached(self, error: Exception) -> StorageUnavailable:
        return StorageUnavailable(
            f"{self._source.shown}: MLflow cannot be read ({type(error).__name__}). It is retried."
        )
