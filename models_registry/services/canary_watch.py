"""Watches running canaries: a broken guardrail ends a canary, a completed bake time promotes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from models_registry.errors import RegistryError
from models_registry.models import Canary
from models_registry.monitoring.guardrails import Finding, judge
from models_registry.monitoring.usage import Usage, usage_since
from models_registry.services.canaries import open_traffic, promote, roll_back_canary

# The recorded users of automatic changes.
BY_GUARDRAILS = "guardrails"
BY_BAKE_TIME = "bake time"
# A minute's usage is written within seconds after its end: the last minute of a bake time arrives later.
WRITTEN_AFTER = timedelta(seconds=75)


@dataclass(frozen=True, slots=True)
class CanaryComparison:
    """Statistics of both versions since the split started, and the guardrails' results."""

    active: Usage
    candidate: Usage
    findings: tuple[Finding, ...] = ()

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The broken guardrails."""
        return tuple(finding for finding in self.findings if finding.is_broken)

    @property
    def waiting(self) -> tuple[Finding, ...]:
        """The guardrails without enough requests."""
        return tuple(finding for finding in self.findings if finding.state == "waiting")


@dataclass(frozen=True, slots=True)
class NotPromoted:
    """A canary whose bake time has passed and that could not be promoted, and the reason."""

    canary_id: int
    model: str
    reason: str


def compare(canary: Canary) -> CanaryComparison:
    """Return statistics of both versions since the split started; empty before."""
    if canary.traffic_at is None:
        return CanaryComparison(Usage(), Usage(), tuple(judge(canary.guardrails, active=Usage(), candidate=Usage())))
    since = canary.traffic_at.replace(second=0, microsecond=0)
    active = usage_since(canary.active_version, since, canary.ended_at)
    candidate = usage_since(canary.version, since, canary.ended_at)
    return CanaryComparison(active, candidate, tuple(judge(canary.guardrails, active=active, candidate=candidate)))


def watch_canaries(now: datetime | None = None) -> frozenset[NotPromoted]:
    """End or promote the canaries that are due; safe to repeat and to run concurrently.

    Return those that could not be promoted; the next run tries again.
    """
    open_traffic()
    answering = Canary.objects.filter(ended_at=None, traffic_at__isnull=False)
    canaries = answering.select_related("model", "version", "active_version")
    results = [_judge(canary, now or timezone.now()) for canary in canaries]
    return frozenset(result for result in results if result is not None)


def _judge(canary: Canary, now: datetime) -> NotPromoted | None:
    comparison = compare(canary)
    if comparison.broken:
        roll_back_canary(canary, by=BY_GUARDRAILS, reason=" ".join(item.sentence for item in comparison.broken))
        return None
    ends_at = canary.bake_ends_at
    if ends_at is None or now < ends_at + WRITTEN_AFTER or comparison.waiting:
        return None
    try:
        promote(canary.model, by=BY_BAKE_TIME, reason=_passed(canary, comparison))
    except RegistryError as error:
        # Another activation came first, or the version's object is missing.
        return NotPromoted(canary.pk, canary.model.name, str(error))
    return None


def _passed(canary: Canary, comparison: CanaryComparison) -> str:
    kept = f" {' '.join(item.sentence for item in comparison.findings)}" if comparison.findings else ""
    requests = f"{comparison.candidate.requests} requests"
    return f"No guardrail was broken in {canary.bake_minutes:g} minutes and {requests}.{kept}"
