"""Serializers of batch scoring."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mlapi.api.serializers import Strict


class BatchRequest(Strict):
    """Batch scoring: the version, the input and the output."""

    version = serializers.IntegerField(required=False, min_value=1, help_text="By default, the active version.")
    input = serializers.CharField(max_length=1000, help_text="A file, or a folder of files: a path or s3://bucket/key.")
    output = serializers.CharField(
        max_length=1000, help_text="A file if the path has an extension; else a folder of parts."
    )
    format = serializers.ChoiceField(
        ["parquet", "csv", "jsonl"], required=False, help_text="Format of a folder's parts."
    )
    rows_per_part = serializers.IntegerField(required=False, min_value=1, max_value=100_000_000)
    probabilities = serializers.BooleanField(required=False)
    keep = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="The input's columns to keep."
    )
    skip_invalid = serializers.BooleanField(
        required=False, help_text="Continue after rows that the schema refuses; the output has the reason of each."
    )


class Batch(serializers.Serializer[Any]):
    """A batch scoring job and its progress."""

    id = serializers.IntegerField()
    model = serializers.CharField()
    version = serializers.IntegerField()
    digest = serializers.CharField()
    input = serializers.CharField()
    output = serializers.CharField()
    options = serializers.DictField()
    state = serializers.ChoiceField(["queued", "running", "done", "failed", "cancelled"])
    reason = serializers.CharField(allow_null=True)
    rows = serializers.IntegerField()
    total_rows = serializers.IntegerField(allow_null=True)
    invalid_rows = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
