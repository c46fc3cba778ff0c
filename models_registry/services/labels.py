"""Aliases and tags of models and versions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from django.db import transaction

from models_registry.artifacts.features import describe_value
from models_registry.errors import RequestError, UnknownVersion
from models_registry.inference.routing import ALIAS_PATTERN
from models_registry.models import ModelVersion, RegisteredModel, State
from models_registry.services.catalogue import get_version
from models_registry.services.desired_state import record_change

log = structlog.get_logger(__name__)

MAX_ALIASES = 50
MAX_TAGS = 50
MAX_TAG_LENGTH = 200


def set_aliases(model: RegisteredModel, aliases: Mapping[str, Any], *, by: str) -> None:
    """Set aliases to version numbers; null removes an alias, others are unchanged.

    Raises RequestError for an invalid name, UnknownVersion for a missing version.
    """
    for name, number in aliases.items():
        if not re.fullmatch(ALIAS_PATTERN, name):
            raise RequestError(
                f"{name[:80]!r} is not an alias; expected 1 to 50 letters, digits, dashes and underscores, the first a "
                "letter, e.g. 'champion'."
            )
        if number is not None and type(number) is not int:
            raise RequestError(f"The alias {name!r} must name a version's number, found {describe_value(number)}.")
    with transaction.atomic():
        # Concurrent changes must not overwrite each other, and a version with an alias must not be deleted meanwhile.
        row = RegisteredModel.objects.select_for_update().get(pk=model.pk)
        for number in aliases.values():
            if number is not None:
                _require_kept(model, number)
        row.aliases = {name: number for name, number in {**row.aliases, **aliases}.items() if number is not None}
        if len(row.aliases) > MAX_ALIASES:
            raise RequestError(f"{model.name} would have {len(row.aliases)} aliases; at most {MAX_ALIASES} are kept.")
        row.save(update_fields=["aliases"])
        record_change(model.pk)
    model.aliases = row.aliases
    transaction.on_commit(lambda: log.info("aliases_changed", model=model.name, aliases=row.aliases, by=by))


def _require_kept(model: RegisteredModel, number: int) -> None:
    if get_version(model, number).state == State.DELETED:
        raise UnknownVersion(f"{model.name} {number} is deleted, so no alias can name it. Name another version.")


def set_aliases_of(version: ModelVersion, names: Collection[str], *, by: str) -> bool:
    """Make `names` the aliases of `version`; return False if nothing changes.

    An alias of another version moves to this one. Errors as in `set_aliases`.
    """
    with transaction.atomic():
        row = RegisteredModel.objects.select_for_update().get(pk=version.model_id)
        before = aliases_of(row, version)
        changes: dict[str, int | None] = {name: version.number for name in names if name not in before}
        changes |= {name: None for name in before if name not in names}
        if changes:
            set_aliases(row, changes, by=by)
    return bool(changes)


def aliases_of(model: RegisteredModel, version: ModelVersion) -> list[str]:
    """Return the aliases of `version`, sorted."""
    return sorted(name for name, number in model.aliases.items() if number == version.number)


def set_tags(model: RegisteredModel, tags: Any, *, by: str) -> None:
    """Set the tags of `model`: a list of texts, or an object with texts as values. Raises RequestError for others."""
    texts = [*tags, *tags.values()] if isinstance(tags, dict) else tags
    if not isinstance(texts, list) or not all(type(text) is str and len(text) <= MAX_TAG_LENGTH for text in texts):
        raise RequestError(
            f"Tags are a list of texts, or an object of texts by name, of at most {MAX_TAG_LENGTH} characters each; "
            f"found {describe_value(tags)}."
        )
    if len(tags) > MAX_TAGS:
        raise RequestError(f"{len(tags)} tags are too many; at most {MAX_TAGS} are kept.")
    kept = tags if isinstance(tags, dict) else list(dict.fromkeys(texts))
    RegisteredModel.objects.filter(pk=model.pk).update(tags=kept)
    model.tags = kept
    transaction.on_commit(lambda: log.info("tags_changed", model=model.name, tags=kept, by=by))
