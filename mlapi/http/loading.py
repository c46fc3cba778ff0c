"""Makes a request wait for its model if the model is loaded on demand."""

from __future__ import annotations

from mlapi.http.eager import ensure_task
from mlapi.protocols.base import NOT_LOADED, HttpError
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.runtime import Runtime

RETRY_SECONDS = 5


async def require_loaded(runtime: Runtime, on_demand: OnDemand, name: str | None, version: int | None) -> bool:
    """Wait until the request's model is loaded; return whether it is loaded on demand and its load did not fail.

    Models that are not loaded on demand return False at once. After a failed load, the response gives the reason.
    Raises HttpError 503 after a timeout.
    """
    snapshot = runtime.snapshot
    asked = name or snapshot.default
    if asked is None or asked not in snapshot.on_demand:
        return False
    on_demand.note_use(asked)
    if snapshot.is_loadable(asked, version):
        await ensure_task()
        if not await on_demand.wait(asked):
            raise HttpError(
                503,
                NOT_LOADED,
                f"The model {asked!r} is still loading after {on_demand.wait_seconds:g} s. Try again.",
                model=asked,
            ).with_header("Retry-After", str(RETRY_SECONDS))
    return asked not in runtime.snapshot.problems
