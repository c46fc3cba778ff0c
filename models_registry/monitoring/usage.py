"""Usage windows: the requests of each replica by version and minute.

A worker already adds up its requests for `/metrics`. Once a minute it writes the increase of these sums. So a
prediction has no extra cost, and the windows agree with the metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from models_registry.models import ModelVersion, UsageWindow
from models_registry.monitoring.buckets import SECONDS, VALUES, quantile
from models_registry.monitoring.value_counts import ValueCounts, combined_counts

MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
# Labels of a version above this number are counted together, like in the metrics.
MAX_LABELS = 50
OTHER_LABEL = "(other)"

VersionKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of one version, in one or more minutes.

    `errors` counts failures of the model, by kind. `refused` counts requests that failed for another reason: the
    client's input, a limit, an overload. `latency` has one count for each of `buckets.SECONDS` and one above the
    last bound; so has `values` for `buckets.VALUES`. Both are empty without observations. `features` counts a sample of
    the served values by column, None without counts.
    """

    requests: int = 0
    refused: int = 0
    rows: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    latency: Sequence[float] = ()
    latency_seconds: float = 0.0
    labels: Mapping[str, int] = field(default_factory=dict)
    values: Sequence[float] = ()
    features: ValueCounts | None = None

    def __add__(self, other: Usage) -> Usage:
        return self._combined(other, 1)

    def __sub__(self, earlier: Usage) -> Usage:
        return self._combined(earlier, -1)

    def _combined(self, other: Usage, sign: int) -> Usage:
        return Usage(
            requests=self.requests + sign * other.requests,
            refused=self.refused + sign * other.refused,
            rows=self.rows + sign * other.rows,
            errors=_combined_counts(self.errors, other.errors, sign),
            latency=_combined_buckets(self.latency, other.latency, sign),
            latency_seconds=self.latency_seconds + sign * other.latency_seconds,
            labels=_combined_counts(self.labels, other.labels, sign),
            values=_combined_buckets(self.values, other.values, sign),
            features=combined_counts(self.features, other.features, sign),
        )

    @property
    def error_count(self) -> int:
        """Number of requests on which the model failed."""
        return sum(self.errors.values())

    @property
    def attempts(self) -> int:
        """Number of requests that reached the model: answered or failed, but not refused."""
        return self.requests - self.refused

    @property
    def error_rate(self) -> float | None:
        """Share of the attempts on which the model failed, 0 to 1; None without attempts."""
        return self.error_count / self.attempts if self.attempts else None

    def latency_quantile(self, share: float) -> float | None:
        """Return a quantile (0 to 1) of the answered requests' seconds; None without answered requests."""
        return quantile(self.latency, share, SECONDS) if self.latency else None

    def label_shares(self) -> dict[str, float]:
        """Return each label's share of the predictions, 0 to 1, largest first."""
        total = sum(self.labels.values())
        ordered = sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))
        return {label: count / total for label, count in ordered} if total else {}


def _combined_counts(counts: Mapping[str, int], others: Mapping[str, int], sign: int) -> dict[str, int]:
    found = {name: counts.get(name, 0) + sign * others.get(name, 0) for name in {**counts, **others}}
    return {name: count for name, count in found.items() if count}


def _combined_buckets(counts: Sequence[float], others: Sequence[float], sign: int) -> list[float]:
    if not counts or not others:
        return [sign * count for count in others] if others else list(counts)
    return [count + sign * other for count, other in zip(counts, others, strict=True)]


def total_usage(parts: Iterable[Usage]) -> Usage:
    """Return the sum of `parts`."""
    return sum(parts, Usage())


# Writing


def write_usage(replica: str, minute: datetime, usage: Mapping[VersionKey, Usage]) -> int:
    """Store the usage of `replica` in the minute that starts at `minute`; return the number of rows.

    A repeated write of the same minute changes nothing, so a write with an unknown outcome may be repeated. Versions
    that the registry does not know are omitted.
    """
    if not usage:
        return 0
    wanted = Q()
    for name, number in usage:
        wanted |= Q(model__name=name, number=number)
    known = ModelVersion.objects.filter(wanted).values_list("model__name", "number", "pk")
    rows = [
        _window(pk, usage[name, number], replica=replica, starts_at=minute, seconds=MINUTE_SECONDS)
        for name, number, pk in known
    ]
    UsageWindow.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _window(version_id: int, usage: Usage, *, replica: str, starts_at: datetime, seconds: int) -> UsageWindow:
    return UsageWindow(
        version_id=version_id,
        replica=replica,
        starts_at=starts_at,
        seconds=seconds,
        requests=usage.requests,
        refused=usage.refused,
        rows=usage.rows,
        errors=dict(usage.errors),
        latency=list(usage.latency),
        latency_seconds=usage.latency_seconds,
        labels=bounded_labels(usage.labels),
        values=list(usage.values),
        features=usage.features.to_json() if usage.features is not None else {},
    )


def bounded_labels(labels: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of the MAX_LABELS most frequent labels, and of all others together."""
    ordered = sorted(labels.items(), key=lambda item: (item[0] == OTHER_LABEL, -item[1], item[0]))
    kept, others = dict(ordered[:MAX_LABELS]), ordered[MAX_LABELS:]
    if others:
        kept[OTHER_LABEL] = kept.get(OTHER_LABEL, 0) + sum(count for _, count in others)
    return kept


def write_hour(hour: datetime, rows: Iterable[UsageWindow]) -> None:
    """Replace the sums of the hour that starts at `hour` with the sums of these minutes."""
    by_version: dict[int, Usage] = {}
    for row in rows:
        counted = replace(usage_of(row), features=ValueCounts.from_json(row.features))
        by_version[row.version_id] = by_version.get(row.version_id, Usage()) + counted
    windows = [_window(pk, usage, replica="", starts_at=hour, seconds=HOUR_SECONDS) for pk, usage in by_version.items()]
    with transaction.atomic():
        UsageWindow.objects.hours().filter(starts_at=hour).delete()
        UsageWindow.objects.bulk_create(windows)


# Reading


def usage_of(row: UsageWindow) -> Usage:
    """Return a stored window as a value, without the counts of features."""
    return replace(traffic_of(row), labels=row.labels, values=_fitting(row.values, VALUES))


def traffic_of(row: UsageWindow) -> Usage:
    """Return a stored window as a value, without the predictions."""
    return Usage(
        requests=row.requests,
        refused=row.refused,
        rows=row.rows,
        errors=row.errors,
        latency=_fitting(row.latency, SECONDS),
        latency_seconds=row.latency_seconds,
    )


def _fitting(counts: list[Any], bounds: Sequence[float]) -> list[Any]:
    """Return counts over these bounds; empty if an older release wrote them over other bounds."""
    return counts if len(counts) == len(bounds) + 1 else []


def usage_since(version: ModelVersion, since: datetime, until: datetime | None = None) -> Usage:
    """Return the usage of `version` on all replicas in the whole minutes from `since` on.

    With `until`, only minutes that started before it. A minute is available about a second after its end. Minutes are
    kept for 14 days.
    """
    rows = UsageWindow.objects.minutes().filter(version=version, starts_at__gte=since).defer("features")
    if until is not None:
        rows = rows.filter(starts_at__lt=until)
    return total_usage(map(usage_of, rows))
