"""The types that every protocol handler takes and returns: bytes, without a framework."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models_registry.artifacts.suggestions import closest, shown
from models_registry.inference.capture import CapturedCall
from models_registry.inference.mirroring import MirroredCall
from models_registry.inference.runtime import LoadedModel, Runtime, ServingSnapshot

JSON = "application/json"
NOT_LOADED = "not_loaded"
MAX_NAME_CHARACTERS = 200
# `details` are for programs, and list more names than the message does.
MAX_SERVED_LISTED = 64


@dataclass(slots=True)
class CallStats:
    """Data about a request, for the log line, the metrics, the prediction log and the shadow."""

    model: str = ""
    version: int | None = None
    rows: int = 0
    # Rows in the model's call, which may also have rows of other requests.
    call_rows: int = 0
    waiting_seconds: float = 0.0
    model_seconds: float = 0.0
    kind: str = ""
    predictions: Any = None
    # How the model failed: exception, not_finite, out_of_memory. Sibling workers count a lost worker.
    error: str = ""
    # The call for the prediction log; None for most requests.
    captured: CapturedCall | None = None
    # The rows to be copied to a shadow; None for most requests.
    mirrored: MirroredCall | None = None


# Not frozen: creating a frozen instance takes four times as long.
@dataclass(slots=True)
class Call:
    """One request: its decompressed body, and values from the URL and the headers."""

    body: bytes
    headers: Mapping[str, str]
    request_id: str
    started: float
    model: str | None = None
    version: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    query: str = ""
    # The routing key: it keeps a client on one version while traffic is split.
    routing_key: str = ""
    stats: CallStats = field(default_factory=CallStats)


@dataclass(slots=True)
class Reply:
    """One response: status, body and headers, with the error code and the stats for the log."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    stats: CallStats = field(default_factory=CallStats)
    code: str = ""


class Handler(Protocol):
    """Answers a call; raises HttpError for a mistake of the client.

    It may also let the registry's InputError pass, and the errors in STATUS_OF of `mlapi.http.errors`, which gives them
    their status and code. Any other exception becomes a 500 and is logged as `unforeseen_error`.
    """

    def __call__(self, call: Call, runtime: Runtime) -> Reply:
        """Return the reply."""


class PredictionHandler(Protocol):
    """Answers a call to a model; the handler awaits the model. It raises the same errors as `Handler`."""

    def __call__(self, call: Call, runtime: Runtime) -> Coroutine[Any, Any, Reply]:
        """Return the reply."""


class HttpError(Exception):
    """An error for the client: a status, a stable code, a sentence, and details for programs.

    A new code needs a place in the table of errors in docs/http.md; a test compares the two. Without an entry for
    its status, gRPC answers INTERNAL (`CODES` in `mlapi.grpc.server`) and MLflow BAD_REQUEST (`ERROR_CODES` in
    `mlapi.protocols.mlflow`).
    """

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
        self.headers: list[tuple[str, str]] = []
        # Data about the request if the model failed.
        self.stats: CallStats | None = None

    def with_header(self, name: str, value: str) -> HttpError:
        """Add one header, e.g. Retry-After, and return this error."""
        self.headers.append((name, value))
        return self

    def of_model(self, kind: str, stats: CallStats) -> HttpError:
        """Mark this error as a failure of the model and return it; `kind` says how the model failed."""
        stats.error = kind
        self.stats = stats
        return self


def find_model(snapshot: ServingSnapshot, name: str | None, version: int | None = None) -> LoadedModel:
    """Return the loaded model that a call names; HttpError 404 if it is unknown, 503 if it is not loaded here."""
    if name is None:
        name = _default_model(snapshot)
    loaded = snapshot.models.get(name)
    if loaded is None:
        raise _not_loaded(snapshot, name, version)
    if version is None or version == loaded.number:
        return loaded
    versions = snapshot.versions_of(name)
    if version not in versions:
        raise HttpError(
            404,
            "version_not_loaded",
            f"Version {version} of {name!r} is not loaded here. {_list_loaded(sorted(versions))}",
            model=name,
            version=version,
            loaded=sorted(versions),
        )
    return versions[version]


def _default_model(snapshot: ServingSnapshot) -> str:
    """Return the name of the default model; HttpError 503 if there is none, or if it is not active."""
    name = snapshot.default
    if name is None:
        raise HttpError(
            503,
            "no_model",
            "No model is active yet. Activate one in the admin, or with 'python3 manage.py activate_model'.",
        ).with_header("Retry-After", "5")
    if name not in snapshot.desired and snapshot.has_read_desired_state:
        raise HttpError(
            503,
            "no_model",
            f"The default model, {name!r}, is not served. {_list_served(snapshot.served_names())} "
            "Activate a version of it in the admin, or name another model in MODELS_DEFAULT.",
        ).with_header("Retry-After", "5")
    return name


def _not_loaded(snapshot: ServingSnapshot, name: str, version: int | None) -> HttpError:
    """Return the error for a model that is not loaded here: it loads, it failed to load, or it is unknown."""
    active = snapshot.desired.get(name)
    if name in snapshot.on_demand and version not in {None, active}:
        return HttpError(
            404,
            "version_not_loaded",
            f"Version {version} of {name!r} is not loaded here. Version {active} is loaded at its first request.",
            model=name,
            version=version,
            loaded=[],
        )
    if name in snapshot.desired or not snapshot.has_read_desired_state:
        awaited = "it is loaded at its next prediction" if snapshot.is_loadable(name) else "it is loading"
        reason = snapshot.problems.get(name, awaited)
        return HttpError(503, NOT_LOADED, f"The model {name!r} is not loaded here: {reason}.", model=name).with_header(
            "Retry-After", "2"
        )
    served = snapshot.served_names()
    return HttpError(
        404,
        "unknown_model",
        f"No model called {name[:MAX_NAME_CHARACTERS]!r} is served. {_hint(name, served)}",
        model=name[:MAX_NAME_CHARACTERS],
        served=served[:MAX_SERVED_LISTED],
    )


def require_ready(snapshot: ServingSnapshot, name: str | None, version: int | None = None) -> str:
    """Return the name of a model that can answer predictions: it is loaded, or loads at its first request.

    Clients that check readiness before they predict would otherwise never trigger the load. Errors as in `find_model`.
    """
    asked = name or snapshot.default or ""
    return asked if snapshot.is_loadable(asked, version) else find_model(snapshot, name, version).name


def choose_model(call: Call, snapshot: ServingSnapshot) -> LoadedModel:
    """Return the loaded model for a prediction: the requested version, else a version by the traffic split.

    The call's stats record the version. Errors as in `find_model`.
    """
    loaded = find_model(snapshot, call.model, call.version)
    if call.version is None and snapshot.splits:
        loaded = snapshot.route(loaded, call.routing_key)
    call.stats.model, call.stats.version = loaded.name, loaded.number
    return loaded


def _list_loaded(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"Version {numbers[0]} is loaded."
    return f"Versions {', '.join(map(str, numbers))} are loaded."


def _hint(name: str, served: Sequence[str]) -> str:
    """Return a hint: the served model with the most similar name, or all served models."""
    guess = closest(name, served)
    return _list_served(served) if guess is None else f"Did you mean {guess!r}?"


def _list_served(served: Sequence[str]) -> str:
    return f"Served models: {shown(served)}." if served else "No model is served yet."
