"""Decides whether a model needs attention: fine, watch or act, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_registry.monitoring.usage import Usage

FINE, WATCH, ACT = "fine", "watch", "act"
# Below this number of requests, an error rate is not reliable.
MIN_ATTEMPTS = 20
WATCH_ERROR_RATE = 0.01
ACT_ERROR_RATE = 0.05
WATCH_REFUSED_RATE = 0.2
# The factor by which p99 must have increased.
WATCH_SLOWER = 2.0
MIN_LATENCIES = 100
# Number of columns in a reason.
MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class ModelState:
    """A state and its reason; `reason` is a sentence."""

    state: str
    reason: str


def model_state(
    *,
    active: int | None,
    live: int,
    failed: int,
    serving: int,
    recent: Usage,
    before: Usage,
    drifted: Sequence[str] = (),
    has_service: bool = True,
) -> ModelState:
    """Return the state of a model.

    `active` is the active version. Of the `live` replicas, `serving` serve it and `failed` could not load it. `recent`
    is the usage of the last hour or two, `before` that of the day before. `drifted` names the drifted columns of the
    active version. Without a service (`has_service`) no replica is expected.
    """
    if active is None:
        return ModelState(FINE, "No version is active.")
    if not live and not has_service:
        return ModelState(FINE, "No service here: the project's own code loads the active version.")
    return (
        _of_replicas(active, live, failed)
        or _of_errors(recent)
        or _of_rollout(active, live, serving)
        or _of_refusals(recent)
        or _of_latency(recent, before)
        or _of_drift(drifted)
        or ModelState(FINE, "No requests in the last hours." if not recent.requests else "Errors and latency are low.")
    )


def _of_replicas(active: int, live: int, failed: int) -> ModelState | None:
    if not live:
        return ModelState(ACT, "No replica is live. Start the service.")
    if failed:
        return ModelState(ACT, f"{failed} of {live} replicas could not load version {active}.")
    return None


def _of_rollout(active: int, live: int, serving: int) -> ModelState | None:
    if serving == live:
        return None
    return ModelState(WATCH, f"{serving} of {live} replicas serve version {active}.")


def _of_errors(recent: Usage) -> ModelState | None:
    rate = recent.error_rate or 0.0
    if recent.attempts < MIN_ATTEMPTS or rate < WATCH_ERROR_RATE:
        return None
    reason = f"{recent.error_count} of {recent.attempts} requests failed in the last hours ({rate:.1%})."
    return ModelState(ACT if rate >= ACT_ERROR_RATE else WATCH, reason)


def _of_refusals(recent: Usage) -> ModelState | None:
    if recent.requests < MIN_ATTEMPTS or recent.refused / recent.requests < WATCH_REFUSED_RATE:
        return None
    return ModelState(WATCH, f"{recent.refused} of {recent.requests} requests were refused in the last hours.")


def _of_latency(recent: Usage, before: Usage) -> ModelState | None:
    now, then = recent.latency_quantile(0.99), before.latency_quantile(0.99)
    if now is None or then is None or min(sum(recent.latency), sum(before.latency)) < MIN_LATENCIES:
        return None
    if now < WATCH_SLOWER * then:
        return None
    return ModelState(WATCH, f"p99 is {now * 1000:.3g} ms, {now / then:.1f} times what it was the day before.")


def _of_drift(drifted: Sequence[str]) -> ModelState | None:
    if not drifted:
        return None
    more = f" and {len(drifted) - MAX_NAMED} more" if len(drifted) > MAX_NAMED else ""
    return ModelState(WATCH, f"Drift from the reference: {', '.join(drifted[:MAX_NAMED])}{more}.")
