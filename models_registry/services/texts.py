"""The model card and the notes on versions, with their revisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from models_registry.errors import RequestError
from models_registry.models import ModelVersion, RegisteredModel, TextRevision

log = structlog.get_logger(__name__)

MAX_CARD_LENGTH = 50_000
MAX_NOTES_LENGTH = 5_000


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a card or of notes: its number, from 1, its author and its time."""

    number: int
    text: str
    changed_at: datetime
    changed_by: str


def set_card(model: RegisteredModel, card: str, *, by: str) -> bool:
    """Set the model card, in Markdown; return False if nothing changes.

    The earlier card is kept as a revision. Raises RequestError for a card that is too long.
    """
    card = _text("The model card", card, MAX_CARD_LENGTH)
    changed = _replace(model, "card", card, by)
    if changed:
        transaction.on_commit(lambda: log.info("card_changed", model=model.name, by=by))
    return changed


def set_notes(version: ModelVersion, notes: str, *, by: str) -> bool:
    """Set the notes on a version; return False if nothing changes.

    The earlier notes are kept as a revision. Raises RequestError for notes that are too long.
    """
    notes = _text("Notes", notes, MAX_NOTES_LENGTH)
    changed = _replace(version, "notes", notes, by)
    if changed:
        log.info("notes_changed", model=version.model.name, version=version.number, by=by)
    return changed


def card_revisions(model: RegisteredModel, *, before: int | None = None, limit: int | None = None) -> list[Revision]:
    """Return the revisions of the card, the current one first; with `before`, those with lower numbers."""
    return _revisions(model, "card", before, limit)


def notes_revisions(version: ModelVersion, *, before: int | None = None, limit: int | None = None) -> list[Revision]:
    """Return the revisions of the notes, the current one first; with `before`, those with lower numbers."""
    return _revisions(version, "notes", before, limit)


def _replace(row: RegisteredModel | ModelVersion, field: str, text: str, by: str) -> bool:
    """Store `text` and keep the earlier text; return False if nothing changes."""
    names = [field, f"{field}_changed_at", f"{field}_changed_by"]
    with transaction.atomic():
        # The lock orders concurrent changes: the later one keeps the text of the earlier one.
        current = type(row)._default_manager.select_for_update().only(*names, *_owner_fields(row)).get(pk=row.pk)
        changed = bool(getattr(current, field) != text)
        if changed:
            earlier = _present(current, field)
            if earlier is not None:
                _kept(current).create(
                    **_owner(current),
                    number=earlier.number,
                    text=earlier.text,
                    changed_at=earlier.changed_at,
                    changed_by=earlier.changed_by,
                )
            type(row)._default_manager.filter(pk=row.pk).update(
                **dict(zip(names, (text, timezone.now(), by), strict=True))
            )
    row.refresh_from_db(fields=names)
    return changed


def _revisions(
    row: RegisteredModel | ModelVersion, field: str, before: int | None, limit: int | None
) -> list[Revision]:
    present = _present(row, field)
    if present is None:
        return []
    kept = _kept(row) if before is None else _kept(row).filter(number__lt=before)
    found = [present] if before is None or present.number < before else []
    rows = kept if limit is None else kept[:limit]
    found += [Revision(row.number, row.text, row.changed_at, row.changed_by) for row in rows]
    return found[:limit]


def _present(row: RegisteredModel | ModelVersion, field: str) -> Revision | None:
    """Return the current text; None if there never was one."""
    changed_at = getattr(row, f"{field}_changed_at")
    if changed_at is None:
        return None
    last = _kept(row).values_list("number", flat=True).first() or 0
    return Revision(last + 1, getattr(row, field), changed_at, getattr(row, f"{field}_changed_by"))


def _kept(row: RegisteredModel | ModelVersion) -> QuerySet[TextRevision]:
    """Return the earlier texts of a card or of notes, newest first."""
    return TextRevision.objects.filter(**_owner(row))


def _owner(row: RegisteredModel | ModelVersion) -> dict[str, int | None]:
    if isinstance(row, ModelVersion):
        return {"model_id": row.model_id, "version_id": row.pk}
    return {"model_id": row.pk, "version_id": None}


def _owner_fields(row: RegisteredModel | ModelVersion) -> tuple[str, ...]:
    return ("model_id",) if isinstance(row, ModelVersion) else ()


def _text(label: str, text: str, longest: int) -> str:
    """Return `text` with only line feeds: a form sends carriage returns too, a program does not."""
    text = text.replace("\r\n", "\n").strip()
    if len(text) > longest:
        raise RequestError(f"{label} would have {len(text)} characters; at most {longest} are kept. Make it shorter.")
    return text
