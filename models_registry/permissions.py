"""Permissions of the registry, and for which models a user has them; all checks go through this module.

A limit on a group applies to the group's permissions. A limit on a user applies to all of the user's permissions.
Without a limit, a permission applies to every model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from models_registry.models import ModelLimit

VIEW = "models_registry.view_registeredmodel"
VIEW_VERSIONS = "models_registry.view_modelversion"
CHANGE = "models_registry.change_registeredmodel"
PUBLISH = "models_registry.publish_modelversion"
LOG = "models_registry.view_predictionlog"
ACTIVATE = "models_registry.activate_modelversion"
DOWNLOAD = "models_registry.download_modelversion"
TRY = "models_registry.try_modelversion"
SCORE = "models_registry.start_batchjob"
OVERRIDE = "models_registry.override_check"
MANAGE_KEYS = "models_registry.manage_apikey"

Row = TypeVar("Row", bound=Model)
Patterns = frozenset[str]


@dataclass(frozen=True, slots=True)
class Scope:
    """The models of a permission: those whose name matches one pattern of each set; without sets, all."""

    sets: tuple[Patterns, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether it applies to every model, including future ones."""
        return not self.sets

    @property
    def is_nothing(self) -> bool:
        """Whether it applies to no model."""
        return any(not patterns for patterns in self.sets)

    def holds(self, name: str) -> bool:
        """Return whether it applies to the model called `name`."""
        return all(re.fullmatch(_regex(patterns), name) for patterns in self.sets)

    def condition(self, path: str) -> Q:
        """Return this scope as a condition on rows whose model's name is at `path`."""
        found = Q()
        for patterns in self.sets:
            found &= Q(**{f"{path}__regex": f"^{_regex(patterns)}$"}) if patterns else Q(pk__in=[])
        return found

    def __str__(self) -> str:
        return " and ".join(", ".join(sorted(patterns)) or "no model" for patterns in self.sets) or "every model"


EVERYTHING, NOTHING = Scope(), Scope((frozenset(),))


def scope_of(user: Any, right: str) -> Scope:
    """Return the models for which `user` has a permission."""
    if not user.has_perm(right):
        return NOTHING
    limits = _limits_of(user)
    if user.is_superuser or not limits:
        return EVERYTHING
    by_group = [] if right in user.get_user_permissions() else limits.groups_of(right)
    sets = [] if limits.own is None else [limits.own]
    if by_group and all(group in limits.by_group for group in by_group):
        sets.append(frozenset().union(*(limits.by_group[group] for group in by_group)))
    return Scope(tuple(sets))


def may(user: Any, right: str, name: str | None = None) -> bool:
    """Return whether `user` has a permission for the model called `name`; without a name, for any model."""
    scope = scope_of(user, right)
    return not scope.is_nothing if name is None else scope.holds(name)


def may_everywhere(user: Any, right: str) -> bool:
    """Return whether `user` has a permission for every model, which actions on the whole service need."""
    return scope_of(user, right).is_everything


def is_limited(user: Any) -> bool:
    """Return whether a permission of `user` may be limited to some models."""
    return bool(user.is_authenticated and not user.is_superuser and _limits_of(user))


def visible(user: Any, right: str, rows: QuerySet[Row], path: str = "name") -> QuerySet[Row]:
    """Return those of `rows` whose model `user` has a permission for; the model's name is at `path`."""
    scope = scope_of(user, right)
    return rows.none() if scope.is_nothing else rows.filter(scope.condition(path))


@dataclass(frozen=True, slots=True)
class _Limits:
    """The limits of one user and of the user's groups, and the permissions of each group."""

    user: Any
    own: Patterns | None
    by_group: dict[int, Patterns]
    _groups: dict[str, list[int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.own is not None or bool(self.by_group)

    def groups_of(self, right: str) -> list[int]:
        """Return the user's groups that have a permission."""
        if not self._groups:
            given = self.user.groups.order_by().values_list(
                "pk", "permissions__content_type__app_label", "permissions__codename"
            )
            for group, label, codename in given:
                self._groups.setdefault(f"{label}.{codename}", []).append(group)
        return self._groups.get(right, [])


def _limits_of(user: Any) -> _Limits:
    """Return the limits of `user`, read once per request, like Django's permissions."""
    known: _Limits | None = getattr(user, "_model_limits", None)
    if known is not None:
        return known
    own: set[str] = set()
    by_group: dict[int, set[str]] = defaultdict(set)
    if user.pk is not None:
        rows = ModelLimit.objects.filter(Q(user=user.pk) | Q(group__user=user.pk))
        for group, pattern in rows.order_by().values_list("group", "pattern"):
            (own if group is None else by_group[group]).add(pattern)
    limits = _Limits(
        user, frozenset(own) if own else None, {group: frozenset(found) for group, found in by_group.items()}
    )
    user._model_limits = limits
    return limits


def _regex(patterns: Patterns) -> str:
    """Return patterns as one regular expression that works in Python, SQLite and PostgreSQL."""
    return f"({'|'.join('.*'.join(map(re.escape, pattern.split('*'))) for pattern in sorted(patterns))})"
