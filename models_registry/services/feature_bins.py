"""The bins of a version's features: fixed from its reference, else from the first rows that were served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import structlog
from django.db import connection, transaction

from models_registry.artifacts.schema import Schema
from models_registry.models import FeatureBins as BinsRecord
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.monitoring.drift import MIN_ROWS
from models_registry.monitoring.feature_bins import MAX_FEATURES, FeatureBins, as_column, bins_of, countable_features
from models_registry.services.references import Reference, feature_value, reference_of

log = structlog.get_logger(__name__)

# If a version has no other reference, it is this number of rows that one worker served first.
FIRST_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class StoredBins:
    """The bins of a version with their id, and where they come from: `rows` of `source`."""

    pk: int
    source: str
    rows: int
    bins: FeatureBins


def fix_bins(version: ModelVersion) -> None:
    """Keep the bins of a version's reference; if it has none that is large enough, leave those that it has.

    Bins that change get a new id: counts in the old ones are not compared with them.
    """
    reference = reference_of(version)
    bins = _reference_bins(version, reference)
    if bins is None:
        return
    found = BinsRecord.objects.filter(version=version).first()
    if found is not None and FeatureBins.from_json(found.columns) == bins:
        return
    source = BinsRecord.Source.FILE if version.reference else BinsRecord.Source.SAMPLE
    with transaction.atomic():
        if found is not None:
            found.delete()
        BinsRecord.objects.get_or_create(
            version=version, defaults={"source": source, "rows": len(reference.instances), "columns": bins.to_json()}
        )


def try_to_fix_bins(version: ModelVersion) -> None:
    """Do as `fix_bins` in a savepoint. An error is logged, so that it decides nothing else.

    Raises DatabaseError if the connection is lost.
    """
    try:
        with transaction.atomic():
            fix_bins(version)
    except Exception:
        # Without a connection, the surrounding transaction is lost too.
        if not connection.is_usable():
            raise
        log.exception("bins_not_fixed", model=version.model.name, version=version.number)


def read_bin_ids(version_ids: Iterable[int]) -> dict[int, int]:
    """Return the ids of the bins of these versions by version id: one query."""
    return dict(BinsRecord.objects.filter(version__in=list(version_ids)).values_list("version_id", "pk"))


def read_bins(version_ids: Iterable[int]) -> dict[int, StoredBins]:
    """Return the bins of these versions by version id: one query."""
    records = BinsRecord.objects.filter(version__in=list(version_ids))
    return {record.version_id: _stored(record) for record in records}


def prepare_bins(version_ids: Iterable[int]) -> dict[int, StoredBins]:
    """Return the bins of these versions; those that have none get them from their reference.

    A version whose bins cannot be fixed is logged and left out.
    """
    wanted = set(version_ids)
    found = read_bins(wanted)
    lacking = list(ModelVersion.objects.filter(pk__in=wanted - found.keys()).select_related("model", "reference_rows"))
    for version in lacking:
        try_to_fix_bins(version)
    return found | read_bins(version.pk for version in lacking)


def keep_first_rows(version_id: int, bins: FeatureBins, rows: int) -> StoredBins | None:
    """Keep `bins` of the first `rows` that were served, unless the version has bins; return those that it has.

    Of several workers, the first one to ask decides. None if the version is gone.
    """
    version = ModelVersion.objects.filter(pk=version_id).select_related("model").first()
    if version is None:
        return None
    # What the prediction log keeps back is kept back here: categories have names.
    hidden = hidden_columns(version.model)
    bins = FeatureBins(tuple(column for column in bins.columns if column.position is None or column.name not in hidden))
    record, is_new = BinsRecord.objects.get_or_create(
        version=version,
        defaults={"source": BinsRecord.Source.SERVED, "rows": rows, "columns": bins.to_json()},
    )
    if is_new:
        log.info("first_rows_kept", model=version.model.name, version=version.number, rows=rows)
    return _stored(record)


def hidden_columns(model: RegisteredModel) -> set[str]:
    """Return the columns that the prediction log of `model` leaves out or keeps as a hash."""
    return {item if isinstance(item, str) else item["column"] for item in model.capture_exclude}


def drop_hidden_bins(model: RegisteredModel) -> None:
    """Delete bins of the first served rows that have a column which is hidden now; they are fixed anew without it."""
    hidden = hidden_columns(model)
    for record in BinsRecord.objects.filter(version__model=model, source=BinsRecord.Source.SERVED):
        if any(column.name in hidden for column in FeatureBins.from_json(record.columns).columns):
            record.delete()


def _reference_bins(version: ModelVersion, reference: Reference) -> FeatureBins | None:
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


def _stored(record: BinsRecord) -> StoredBins:
    return StoredBins(record.pk, record.source, record.rows, FeatureBins.from_json(record.columns))
