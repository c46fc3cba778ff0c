"""The loaded models, in the terms of Triton's model repository extension."""

from __future__ import annotations

from typing import Any

from mlapi.protocols.base import Call, HttpError, Reply
from mlapi.protocols.json_bodies import read_object
from mlapi.protocols.openinference.replies import json_reply
from mlapi.protocols.openinference.requests import flag
from models_registry.inference.runtime import Runtime, ServingSnapshot


def index(call: Call, runtime: Runtime) -> Reply:
    """Return every model that should be served here, and its state; with `{"ready": true}` the ready ones."""
    body = read_object(call.body, example='{"ready": true}') if call.body.strip() else {}
    only_ready = flag(body, "ready", default=False)
    entries = _entries(runtime.snapshot)
    return json_reply([entry for entry in entries if entry["state"] == "READY" or not only_ready])


def _entries(snapshot: ServingSnapshot) -> list[dict[str, Any]]:
    """Return one entry for each loaded version, and one for each version that should be loaded but is not."""
    lines = [_entry(name, loaded.number, "READY", "") for name, loaded in snapshot.models.items()]
    lines += [_entry(loaded.name, loaded.number, "READY", "") for loaded in snapshot.others.values()]
    for name, number in snapshot.desired.items():
        loaded = snapshot.models.get(name)
        if loaded is None or loaded.number != number:
            lines.append(_entry(name, number, *_unserved(name, snapshot)))
    return sorted(lines, key=lambda line: (line["name"], line["state"] != "READY"))


def _unserved(name: str, snapshot: ServingSnapshot) -> tuple[str, str]:
    """Return the state of a version that is not loaded, and the reason."""
    if name in snapshot.problems:
        return "UNAVAILABLE", snapshot.problems[name]
    if snapshot.is_loadable(name):
        return "UNAVAILABLE", "it is loaded at its first request"
    return "LOADING", "it is loading"


def _entry(name: str, number: int, state: str, reason: str) -> dict[str, Any]:
    return {"name": name, "version": str(number), "state": state, "reason": reason}


def refuse_load(call: Call, runtime: Runtime) -> Reply:
    """Raise the error that explains activation: all workers must serve the same models."""
    raise HttpError(
        400,
        "not_here",
        f"Models are loaded by activation, for every worker at once. Activate {(call.model or '')[:200]!r} in the "
        "registry: in the admin, through /api, or with 'python3 manage.py activate_model'.",
    )
