"""The bins of a version's features: derived from its reference, else from the first served rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import structlog
from django.db import connection, transaction

from models_registry.artifacts.schema import Schema
from models_registry.models import FeatureBins, ModelVersion, RegisteredModel
from models_registry.monitoring.drift import MIN_ROWS
from models_registry.monitoring.feature_bins import MAX_FEATURES, VersionBins, as_column, bins_of, countable_features
from models_registry.services.references import Reference, feature_value, reference_of

log = structlog.get_logger(__name__)

# Without another reference, this many of the first rows that one worker served are the reference.
FIRST_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class StoredBins:
    """The bins of a version with their id, and their origin: `rows` of `source`."""

    pk: int
    source: str
    rows: int
    bins: VersionBins


def store_bins(version: ModelVersion) -> None:
    """Store the bins of a version's reference; if there is no large enough reference, existing bins stay.

    Changed bins get a new id, so that counts in old bins are not compared with them.
    """
    reference = reference_of(version)
    bins = _reference_bins(version, reference)
    if bins is None:
        return
    found = FeatureBins.objects.filter(version=version).first()
    if found is not None and VersionBins.from_json(found.columns) == bins:
        return
    source = FeatureBins.Source.FILE if version.reference else FeatureBins.Source.SAMPLE
    with transaction.atomic():
        if found is not None:
            found.delete()
        FeatureBins.objects.get_or_create(
            version=version, defaults={"source": source, "rows": len(reference.instances), "columns": bins.to_json()}
        )


def try_to_store_bins(version: ModelVersion) -> None:
    """Run `store_bins` in a savepoint; an error is logged and has no other effect.

    Raises DatabaseError if the connection is lost.
    """
    try:
        with transaction.atomic():
            store_bins(version)
    except Exception:
        # Without a connection, the surrounding transaction is lost too.
        if not connection.is_usable():
            raise
        log.exception("bins_not_stored", model=version.model.name, version=version.number)


def read_bin_ids(version_ids: Iterable[int]) -> dict[int, int]:
    """Return the ids of these versions' bins by version id, with one query."""
    return dict(FeatureBins.objects.filter(version__in=list(version_ids)).values_list("version_id", "pk"))


def read_bins(version_ids: Iterable[int]) -> dict[int, StoredBins]:
    """Return the bins of these versions by version id, with one query."""
    records = FeatureBins.objects.filter(version__in=list(version_ids))
    return {record.version_id: _stored(record) for record in records}


def prepare_bins(version_ids: Iterable[int]) -> dict[int, StoredBins]:
    """Return the bins of these versions; versions without bins get them from their reference.

    A version whose bins cannot be created is logged and omitted.
    """
    wanted = set(version_ids)
    found = read_bins(wanted)
    lacking = list(ModelVersion.objects.filter(pk__in=wanted - found.keys()).select_related("model", "reference_rows"))
    for version in lacking:
        try_to_store_bins(version)
    return found | read_bins(version.pk for version in lacking)


def keep_first_rows(version_id: int, bins: VersionBins, rows: int) -> StoredBins | None:
    """Store `bins` of the first `rows` served rows, unless the version has bins; return its bins.

    The first of several workers decides. None if the version no longer exists.
    """
    version = ModelVersion.objects.filter(pk=version_id).select_related("model").first()
    if version is None:
        return None
    # Columns that the prediction log hides are hidden here too: bins contain category names.
    hidden = hidden_columns(version.model)
    bins = VersionBins(tuple(column for column in bins.columns if column.position is None or column.name not in hidden))
    record, is_new = FeatureBins.objects.get_or_create(
        version=version,
        defaults={"source": FeatureBins.Source.SERVED, "rows": rows, "columns": bins.to_json()},
    )
    if is_new:
        log.info("first_rows_kept", model=version.model.name, version=version.number, rows=rows)
    return _stored(record)


def hidden_columns(model: RegisteredModel) -> set[str]:
    """Return the columns that the prediction log of `model` omits or hashes."""
    return {item if isinstance(item, str) else item["column"] for item in model.capture_exclude}


def drop_hidden_bins(model: RegisteredModel) -> None:
    """Delete bins from served rows that include a newly hidden column; they are created again without it."""
    hidden = hidden_columns(model)
    for record in FeatureBins.objects.filter(version__model=model, source=FeatureBins.Source.SERVED):
        if any(column.name in hidden for column in VersionBins.from_json(record.columns).columns):
            record.delete()


def _reference_bins(version: ModelVersion, reference: Reference) -> VersionBins | None:
    """Return the bins of a reference; None if it has too few rows, or the model's features are not counted."""
    if not version.schema or len(reference.instances) < MIN_ROWS:
        return None
    schema = Schema.from_json(version.schema)
    if not countable_features(schema):
        return None
    names = schema.names[:MAX_FEATURES]
    columns = [
        as_column([feature_value(row, index, name) for row in reference.instances]) for index, name in enumerate(names)
    ]
    has_predictions = len(reference.predictions) == len(reference.instances)
    return bins_of(schema, np.column_stack(columns), as_column(reference.predictions) if has_predictions else None)


def _stored(record: FeatureBins) -> StoredBins:
    return StoredBins(record.pk, record.source, record.rows, VersionBins.from_json(record.columns))
