"""Queries that each worker repeats every second or two: Django compiles each of them once per process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet

# Stands for the moment of a call while a query is compiled; no row has it.
_ANY_MOMENT = datetime(1000, 1, 1, tzinfo=UTC)


class PreparedQuery:
    """A query whose compilation takes several times longer than its execution.

    Only values that need no conversion may be selected: numbers and texts.
    """

    def __init__(self, build: Callable[[datetime], QuerySet[Any, Any]]) -> None:
        """`build` returns the query for a moment with which it compares times; other parameters never change."""
        self._build = build
        self._compiled: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def first(self, moment: datetime = _ANY_MOMENT) -> tuple[Any, ...] | None:
        """Return the first row; None without one. Raises DatabaseError."""
        sql, params = self._compiled.get(connection.vendor) or self._compile()
        placeholder, value = (connection.ops.adapt_datetimefield_value(one) for one in (_ANY_MOMENT, moment))
        with connection.cursor() as cursor:
            cursor.execute(sql, [value if param == placeholder else param for param in params])
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row

    def exists(self, moment: datetime = _ANY_MOMENT) -> bool:
        """Return whether there is a row. Raises DatabaseError."""
        return self.first(moment) is not None

    def _compile(self) -> tuple[str, tuple[Any, ...]]:
        query = self._build(_ANY_MOMENT).order_by()[:1].query
        compiled: tuple[str, tuple[Any, ...]] = query.get_compiler(connection=connection).as_sql()
        self._compiled[connection.vendor] = compiled
        return compiled
