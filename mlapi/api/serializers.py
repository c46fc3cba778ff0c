"""Serializers of the registry API."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mlapi.api.base import MAX_WAIT_SECONDS
from models_registry.artifacts.features import describe_value
from models_registry.artifacts.formats import listed_endings
from models_registry.artifacts.table_formats import FORMATS
from models_registry.inference.routing import ALIAS_PATTERN
from models_registry.models import CaptureSides, Policy
from models_registry.services.captures import MAX_COLUMN
from models_registry.services.labels import MAX_TAG_LENGTH, MAX_TAGS
from models_registry.services.texts import MAX_CARD_LENGTH, MAX_NOTES_LENGTH

MAX_NUMBER = 999_999_999
# DRF converts "0" to 0 and "yes" to true; in JSON, such a value is a client's mistake.
KINDS: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], tuple[type, ...], str], ...] = (
    (serializers.CharField, (str,), "a string"),
    (serializers.BooleanField, (bool,), "true or false"),
    (serializers.IntegerField, (int, float), "a whole number"),
    (serializers.FloatField, (int, float), "a number"),
)


class Strict(serializers.Serializer[Any]):
    """Refuses unknown fields, and JSON values of another type, so that a mistake does not become a default."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated data."""
        if hasattr(data, "keys"):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(sorted(self.fields))
                raise serializers.ValidationError({str(unknown[0])[:100]: f"Unknown field; known are {known}."})
        if type(data) is dict:
            for name, value in data.items():
                self._require_kind(name, value)
        return super().to_internal_value(data)

    def _require_kind(self, name: str, value: Any) -> None:
        for field, types, words in KINDS:
            if isinstance(self.fields[name], field) and value is not None and type(value) not in types:
                raise serializers.ValidationError({name: f"It must be {words}, found {describe_value(value)}."})


def _wait_field() -> serializers.IntegerField:
    return serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MAX_WAIT_SECONDS,
        help_text="How long to wait for the result before the response, in seconds.",
    )


class Wait(Strict):
    """Query parameters of a request that can wait for a result."""

    wait_seconds = _wait_field()


class DeactivationRequest(Strict):
    """A deactivation; also the common fields of every change of the active version."""

    reason = serializers.CharField(default="", allow_blank=True, max_length=2000, help_text="Stored in the history.")
    seen_generation = serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=0,
        max_value=2_147_483_647,
        help_text="The generation that the decision is based on; if the model has changed since, the response is 409.",
    )
    wait_seconds = _wait_field()


class RollbackRequest(DeactivationRequest):
    """A rollback."""

    override = serializers.BooleanField(
        default=False, help_text="Override the validation's advice; needs a reason and a separate permission."
    )


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER},
            {"type": "string", "pattern": f"^{ALIAS_PATTERN}$"},
        ]
    }
)
class VersionField(serializers.Field[Any, Any, Any, Any]):
    """A version's number, or one of the model's aliases."""

    def to_internal_value(self, data: Any) -> int | str:
        """Return the number or the alias."""
        # In JSON, 8.0 is a whole number too.
        if type(data) in (int, float) and 1 <= data <= MAX_NUMBER and data == int(data):
            return int(data)
        if type(data) is str and re.fullmatch(ALIAS_PATTERN, data):
            return data
        raise serializers.ValidationError(f"It must be a version's number or an alias, found {describe_value(data)}.")

    def to_representation(self, value: Any) -> Any:
        """Return the number or the alias."""
        return value


class ActivationRequest(RollbackRequest):
    """An activation."""

    version = VersionField(help_text="A version's number or alias.")


class PublishRequest(Strict):
    """A new version: an artifact and its metadata."""

    artifact = serializers.FileField(max_length=255, help_text=f"A file that ends in {listed_endings()}.")
    manifest = serializers.CharField(
        default="", allow_blank=True, help_text="JSON: description, metrics, inputs, sample, …; all optional."
    )
    sample = serializers.CharField(
        default="",
        allow_blank=True,
        help_text="Rows with their predictions, as CSV or JSON; replaces the manifest's sample.",
    )
    reference = serializers.FileField(
        required=False,
        max_length=255,
        help_text=f"Rows of the training data, the reference for drift: a file that ends in {', '.join(FORMATS)}.",
    )
    description = serializers.CharField(
        default="", allow_blank=True, max_length=5000, help_text="Replaces the manifest's description."
    )
    wait_seconds = _wait_field()


class TryRequest(serializers.Serializer[Any]):
    """Rows for a version, as in a prediction request: either `features` or `instances`."""

    features = serializers.JSONField(required=False)
    instances = serializers.ListField(child=serializers.JSONField(), required=False)
    probabilities = serializers.BooleanField(default=False)
    ignore_extra = serializers.BooleanField(default=False)


class Tried(serializers.Serializer[Any]):
    """A version's predictions. One row: `prediction` and `confidence`; many rows: the plural fields."""

    model = serializers.CharField()
    version = serializers.IntegerField()
    request_id = serializers.CharField()
    processing_time_ms = serializers.FloatField()


class VersionSummary(serializers.Serializer[Any]):
    """A version in a list."""

    number = serializers.IntegerField()
    state = serializers.CharField()
    format = serializers.CharField()
    digest = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)


class Reference(serializers.Serializer[Any]):
    """A file of training rows, pinned by its SHA-256."""

    file = serializers.CharField()
    rows = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    digest = serializers.CharField()


class Version(VersionSummary):
    """A version with all its details."""

    model = serializers.CharField()
    is_active = serializers.BooleanField()
    description = serializers.CharField()
    notes = serializers.CharField()
    notes_changed_at = serializers.DateTimeField(allow_null=True)
    notes_changed_by = serializers.CharField()
    metrics = serializers.DictField()
    signature = serializers.DictField(allow_null=True)
    size_bytes = serializers.IntegerField()
    found_at = serializers.DateTimeField()
    checked_at = serializers.DateTimeField(allow_null=True)
    published_by = serializers.CharField()
    override_reason = serializers.CharField(allow_null=True)
    samples = serializers.ListField(child=serializers.JSONField(), help_text="The first rows of its sample.")
    example = serializers.JSONField(allow_null=True, help_text="A valid row for the version.")
    reference = Reference(allow_null=True, help_text="The file of training rows that was published with it.")
    page = serializers.CharField(help_text="The path of the version's page in the admin.")


class ReplicaCount(serializers.Serializer[Any]):
    """The number of live replicas, and how many of them serve the active version."""

    live = serializers.IntegerField()
    serving = serializers.IntegerField()


class Model(serializers.Serializer[Any]):
    """A model with its versions."""

    name = serializers.CharField()
    active_version = serializers.IntegerField(allow_null=True)
    generation = serializers.IntegerField()
    policy = serializers.CharField()
    versions = VersionSummary(many=True)
    replicas = ReplicaCount()


# PostgreSQL cannot store NUL characters.
_COLUMN = {"type": "string", "maxLength": MAX_COLUMN, "pattern": r"^[^\u0000]*$"}


@extend_schema_field(
    {
        "oneOf": [
            _COLUMN,
            {
                "type": "object",
                "properties": {"column": _COLUMN, "hash": {"type": "boolean"}},
                "required": ["column", "hash"],
                "additionalProperties": False,
            },
        ]
    }
)
class HiddenColumnField(serializers.Field[Any, Any, Any, Any]):
    """A column that the prediction log omits or hashes."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the column in its stored form."""
        is_object = isinstance(data, dict) and set(data) == {"column", "hash"} and isinstance(data["hash"], bool)
        name = data["column"] if is_object else data
        if not isinstance(name, str) or len(name) > MAX_COLUMN or "\0" in name:
            raise serializers.ValidationError(
                f'Expected a column\'s name, or {{"column": "email", "hash": true}}; found {describe_value(data)}.'
            )
        return data

    def to_representation(self, value: Any) -> Any:
        """Return the column in its stored form."""
        return value


class CaptureSettings(serializers.Serializer[Any]):
    """The parts of a model's requests that the prediction log stores."""

    capture_percent = serializers.FloatField(required=False, min_value=0, max_value=100)
    capture = serializers.ChoiceField(choices=CaptureSides.choices, required=False)
    capture_exclude = serializers.ListField(
        child=HiddenColumnField(),
        required=False,
        help_text='Columns by name, or {"column": "email", "hash": true} for a hash in place of the value.',
    )


_TAG = {"type": "string", "maxLength": MAX_TAG_LENGTH}


@extend_schema_field(
    {
        "oneOf": [
            {"type": "array", "items": _TAG, "maxItems": MAX_TAGS},
            {"type": "object", "additionalProperties": _TAG, "propertyNames": _TAG, "maxProperties": MAX_TAGS},
        ]
    }
)
class TagsField(serializers.JSONField):
    """A list of texts, or an object with texts as values."""


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_NUMBER},
        "propertyNames": {"type": "string", "pattern": f"^{ALIAS_PATTERN}$"},
    }
)
class AliasesField(serializers.DictField):
    """Version numbers by alias; null removes an alias."""


class ModelWithLabels(Model, CaptureSettings):
    """A model with its versions, documentation and logging."""

    description = serializers.CharField()
    archived_at = serializers.DateTimeField(allow_null=True)
    tags = TagsField()
    aliases = serializers.DictField(child=serializers.IntegerField())
    card = serializers.CharField(help_text="The model card, in Markdown.")
    card_changed_at = serializers.DateTimeField(allow_null=True)
    card_changed_by = serializers.CharField()


class VersionChange(Strict):
    """The editable fields of a version; omitted fields are unchanged."""

    notes = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_NOTES_LENGTH, help_text="Plain text; empty removes them."
    )


class ModelChange(Strict, CaptureSettings):
    """The editable fields of a model; omitted fields are unchanged."""

    policy = serializers.ChoiceField(choices=Policy.choices, required=False)
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    card = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        max_length=MAX_CARD_LENGTH,
        help_text="The model card, in Markdown; empty removes it.",
    )
    tags = TagsField(required=False, help_text="A list of texts, or an object of texts by name.")
    aliases = AliasesField(
        child=serializers.IntegerField(allow_null=True, min_value=1, max_value=MAX_NUMBER),
        required=False,
        help_text="Versions by alias, e.g. champion; null removes an alias.",
    )


class ReplicaInRollout(serializers.Serializer[Any]):
    """The state of one replica for the active version."""

    replica = serializers.CharField()
    state = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    is_current = serializers.BooleanField()
    reason = serializers.CharField()


class TrafficShare(serializers.Serializer[Any]):
    """One version's part of the traffic."""

    version = serializers.IntegerField()
    percent = serializers.FloatField()


class Rollout(serializers.Serializer[Any]):
    """The state of the active version on all replicas."""

    model = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    generation = serializers.IntegerField()
    is_complete = serializers.BooleanField()
    live = serializers.IntegerField()
    serving = serializers.IntegerField()
    failed = serializers.IntegerField()
    replicas = ReplicaInRollout(many=True)
    canary = TrafficShare(required=False, help_text="The candidate, while the traffic is split.")


class Activated(Rollout):
    """The rollout after an activation, a rollback or a deactivation."""

    changed = serializers.BooleanField(help_text="False if nothing changed.")


class Synced(serializers.Serializer[Any]):
    """The result of a scan of the storage; versions as `name number`."""

    found = serializers.ListField(child=serializers.CharField())
    returned = serializers.ListField(child=serializers.CharField())
    missing = serializers.ListField(child=serializers.CharField())
    ignored = serializers.ListField(child=serializers.CharField())


class Problem(serializers.Serializer[Any]):
    """An error: a sentence and a stable code."""

    error = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
