"""Replays each model of a running service, over its sample or its prediction log: does the image answer as before?

The newest ready version runs beside the active one. Where it is the active one, its answers are compared with the
recorded predictions.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any

from cloudformation.smoke_test import Target

WAIT_SECONDS = 8  # below the target's time for an answer
DEADLINE_SECONDS = 600.0
# Nothing is recorded yet that a replay could be compared with.
NOTHING_TO_COMPARE = "invalid_request"

Say = Callable[[str], object]


def problems(target: Target, *, tolerate: float, say: Say) -> list[str]:
    """Return a sentence for each model that changes more than `tolerate` percent, or whose replay fails."""
    found = []
    try:
        for model in _answered(target, "/api/models"):
            found += _of_model(target, model, tolerate=tolerate, say=say)
    except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
        found.append(f"{target.url} does not answer as a registry: {error}")
    return found


def _of_model(target: Target, model: dict[str, Any], *, tolerate: float, say: Say) -> list[str]:
    name, ready = model["name"], [item["number"] for item in model["versions"] if item["state"] == "ready"]
    if model["active_version"] is None or not ready:
        say(f"{name}: not in service; not replayed.")
        return []
    status, replay = target.call(f"/api/models/{name}/replays", {"version": max(ready)})
    if status == 400 and replay.get("code") == NOTHING_TO_COMPARE:
        say(f"{name}: not replayed. {replay['error']}")
        return []
    if status != 201:
        raise ValueError(f"/api/models/{name}/replays answered {status}: {replay.get('error', '')}")
    replay = _ended(target, name, replay)
    if replay["state"] != "done":
        return [f"{name} {max(ready)}: the replay is {replay['state']}. {replay['reason'] or ''}".rstrip()]
    said = (
        f"{name} {max(ready)}: {replay['changed']} of {replay['rows']} rows change ({replay['changed_percent']:g} %)."
    )
    say(said)
    return [f"{said} At most {tolerate:g} % are tolerated."] if replay["changed_percent"] > tolerate else []


def _ended(target: Target, name: str, replay: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while replay["state"] in {"waiting", "running"} and time.monotonic() < deadline:
        replay = _answered(target, f"/api/models/{name}/replays/{replay['id']}?wait_seconds={WAIT_SECONDS}")
    return replay


def _answered(target: Target, path: str) -> Any:
    status, content = target.call(path)
    if status != 200:
        raise ValueError(f"{path} answered {status}: {content.get('error', '')}")
    return content
