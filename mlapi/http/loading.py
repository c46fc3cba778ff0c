"""A request for a model that is loaded at its first request waits for the load."""

from __future__ import annotations

from mlapi.protocols.base import NOT_LOADED, HttpError
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.runtime import Runtime

RETRY_SECONDS = 5


async def require_loaded(runtime: Runtime, on_demand: OnDemand, name: str | None, version: int | None) -> bool:
    """Have the model of a request loaded, and wait for that; return whether it is one that is loaded on demand.

    HttpError 503 is raised if it takes too long. A load that fails ends the wait, and False is returned: the request is
    answered with the reason.
    """
    snapshot = runtime.snapshot
    asked = name or snapshot.default
    if asked is None or asked not in snapshot.on_demand:
        return False
    on_demand.note_use(asked)
    if snapshot.is_loadable(asked, version) and not await on_demand.wait(asked):
        raise HttpError(
            503,
            NOT_LOADED,
            f"The model {asked!r} is loading here, and was not ready after {on_demand.wait_seconds:g} s. Ask again.",
            model=asked,
        ).with_header("Retry-After", str(RETRY_SECONDS))
    return asked not in runtime.snapshot.problems
