"""Serializers of `traffic` and `shadow`: the state of canaries and shadows."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mlapi.api.serializers import MAX_NUMBER, RollbackRequest, Strict, TrafficShare, VersionField
from models_registry.services.shadows import DEFAULT_PERCENT


def _interval_field() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.FloatField(allow_null=True), allow_null=True, required=False, help_text="Lower and upper end."
    )


class TrafficRequest(RollbackRequest):
    """A canary."""

    candidate = serializers.IntegerField(min_value=1, max_value=MAX_NUMBER, help_text="The candidate version.")
    percent = serializers.FloatField(min_value=0, max_value=100, help_text="The candidate's share of the requests.")
    bake_minutes = serializers.FloatField(
        default=None,
        allow_null=True,
        help_text="After this time without a broken guardrail, the candidate becomes active.",
    )
    guardrails = serializers.DictField(
        child=serializers.FloatField(),
        default=None,
        allow_null=True,
        help_text="Limits: error_rate, p99_ratio (to the active version's), label_shift (of any label's share).",
    )


class TrafficEndRequest(Strict):
    """Ends a canary or a shadow."""

    reason = serializers.CharField(default="", allow_blank=True, max_length=2000, help_text="Stored in the history.")


class ShadowRequest(RollbackRequest):
    """A shadow."""

    wait_seconds = None  # type: ignore[assignment]  # None removes an inherited field in DRF
    version = VersionField(help_text="The version that gets copies: its number or alias.")
    percent = serializers.FloatField(
        default=DEFAULT_PERCENT, min_value=0, max_value=100, help_text="The share of the requests that are copied."
    )


class VersionTraffic(TrafficShare):
    """Statistics of one version since the canary started; intervals have a confidence level of 99 %."""

    requests = serializers.IntegerField(
        required=False, help_text="This field and the following ones: only during a canary."
    )
    rows = serializers.IntegerField(required=False)
    errors = serializers.IntegerField(  # type: ignore[assignment]  # DRF removes declared fields from the class
        required=False, help_text="Requests on which the model failed."
    )
    error_rate = serializers.FloatField(required=False, allow_null=True)
    error_rate_interval = _interval_field()
    p50_milliseconds = serializers.FloatField(required=False, allow_null=True)
    p99_milliseconds = serializers.FloatField(required=False, allow_null=True)
    p99_interval = _interval_field()
    label_shares = serializers.DictField(child=serializers.FloatField(), required=False)


class GuardrailFinding(serializers.Serializer[Any]):
    """A guardrail's result; broken if its whole interval is above the limit."""

    guardrail = serializers.CharField()
    limit = serializers.FloatField()
    value = serializers.FloatField(allow_null=True)
    interval = _interval_field()
    state = serializers.CharField(help_text="kept, broken, or waiting for more requests.")
    observed = serializers.IntegerField()
    needed = serializers.IntegerField()
    sentence = serializers.CharField()


class CandidateShare(VersionTraffic):
    """The candidate's share and state."""

    state = serializers.CharField(help_text="loading, or serving once it gets its share.")
    loaded = serializers.IntegerField(help_text="Live replicas that have loaded it.")
    live = serializers.IntegerField()
    reasons = serializers.ListField(child=serializers.CharField(), help_text="Why replicas could not load it.")
    started_at = serializers.DateTimeField()
    started_by = serializers.CharField()
    reason = serializers.CharField()
    traffic_at = serializers.DateTimeField(allow_null=True)
    bake_minutes = serializers.FloatField(allow_null=True)
    bake_ends_at = serializers.DateTimeField(allow_null=True)


class EndedCanary(serializers.Serializer[Any]):
    """The canary that ended last."""

    version = serializers.IntegerField()
    percent = serializers.FloatField()
    outcome = serializers.CharField(help_text="promoted, rolled_back, ended or superseded.")
    reason = serializers.CharField()
    ended_by = serializers.CharField()
    ended_at = serializers.DateTimeField()


class Traffic(serializers.Serializer[Any]):
    """How a model's requests are split."""

    model = serializers.CharField()
    generation = serializers.IntegerField()
    active = VersionTraffic(allow_null=True)
    candidate = CandidateShare(allow_null=True)
    guardrails = serializers.DictField(child=serializers.FloatField())
    findings = GuardrailFinding(many=True)
    last = EndedCanary(allow_null=True)
    changed = serializers.BooleanField(required=False, help_text="False if nothing changed.")


class EndedShadow(serializers.Serializer[Any]):
    """The shadow that ended last."""

    version = serializers.IntegerField()
    percent = serializers.FloatField()
    reason = serializers.CharField()
    ended_by = serializers.CharField()
    ended_at = serializers.DateTimeField()


class ShadowLatency(serializers.Serializer[Any]):
    """Latency of the shadow's single-row predictions in the last hour."""

    p50_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class Shadow(serializers.Serializer[Any]):
    """How often a shadow agrees with the active version; without a shadow, `version` is null."""

    model = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    active_version = serializers.IntegerField(allow_null=True)
    percent = serializers.FloatField()
    rows = serializers.IntegerField(required=False, help_text="Rows that both versions predicted.")
    agreed = serializers.IntegerField(required=False, help_text="Equal labels, or values within 1 %.")
    differed = serializers.IntegerField(required=False)
    errors = serializers.IntegerField(  # type: ignore[assignment]  # DRF removes declared fields from the class
        required=False, help_text="Rows for which the shadow gave no prediction."
    )
    dropped = serializers.IntegerField(required=False, help_text="Rows that were not sent to the shadow.")
    agreement = serializers.FloatField(required=False, allow_null=True, help_text="Share of the rows, 0 to 1.")
    agreement_interval = _interval_field()
    latency = ShadowLatency(required=False)
    problem = serializers.CharField(required=False, allow_null=True, help_text="Why the shadow gave no predictions.")
    started_at = serializers.DateTimeField(required=False)
    started_by = serializers.CharField(required=False)
    reason = serializers.CharField(required=False)
    last = EndedShadow(allow_null=True)
    changed = serializers.BooleanField(required=False, help_text="False if nothing changed.")
