"""A request for a model that is loaded at its first request waits for the load."""

from __future__ import annotations

from mlapi.protocols.base import HttpError
from models_registry.inference.on_demand import OnDemand
from models_registry.inference.runtime import Runtime

RETRY_SECONDS = 5


async def require_loaded(runtime: Runtime, on_demand: OnDemand, name: str | None, version: int | None) -> None:
    """Have the model of a request loaded, and wait for that; HttpError 503 if it takes too long.

    A load that fails ends the wait: the request is answered with the reason.
    """
    snapshot = runtime.snapshot
    asked = name or snapshot.default
    if asked is None or asked not in snapshot.on_demand:
        return
    on_demand.note_use(asked)
    if snapshot.is_loadable(asked, version) and not await on_demand.wait(asked):
        raise HttpError(
            503,
            "not_loaded",
            f"The model {asked!r} is loading here, and was not ready after {on_demand.wait_seconds:g} s. Ask again.",
            model=asked,
        ).with_header("Retry-After", str(RETRY_SECONDS))
