"""Pagination of the registry API's lists: query parameters, and the header `Link` to the next page (RFC 8288)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api.serializers import MAX_NUMBER, Strict
from mlapi.catalogue import MAX_LIMIT

Row = TypeVar("Row", bound=Model)

LINK_HEADER = OpenApiParameter(
    "Link", str, OpenApiParameter.HEADER, response=[200], description='The next page, as `</api/…>; rel="next"`.'
)


def _limit_field() -> serializers.IntegerField:
    return serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=1,
        max_value=MAX_LIMIT,
        help_text="Page size; by default all. The header Link names the next page.",
    )


def _after_field(noun: str) -> serializers.IntegerField:
    return serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=1,
        max_value=MAX_NUMBER,
        help_text=f"Only {noun} with a lower number: they follow in the list.",
    )


class VersionsQuery(Strict):
    """Query parameters for a list of versions, newest first."""

    limit = _limit_field()
    after = _after_field("versions")


class RevisionsQuery(Strict):
    """Query parameters for the revisions of a card or of notes, newest first."""

    limit = _limit_field()
    after = _after_field("texts")


class ModelsQuery(Strict):
    """Query parameters for a list of models, by name."""

    limit = _limit_field()
    after = serializers.CharField(default="", allow_blank=True, help_text="Only models that follow this name.")
    archived = serializers.BooleanField(default=False, help_text="The archived models instead of those in use.")


def page_of(rows: QuerySet[Row], limit: int | None) -> tuple[list[Row], bool]:
    """Return the first `limit` rows (all rows without a limit), and whether more follow."""
    if limit is None:
        return list(rows), False
    found = list(rows[: limit + 1])
    return found[:limit], len(found) > limit


def paged(request: Request, content: Sequence[Any], *, next_after: object) -> Response:
    """Return a page; the next page starts after `next_after`, or does not exist if it is None."""
    response = Response(content)
    if next_after is not None:
        query = urlencode({**request.query_params.dict(), "after": str(next_after)})
        response["Link"] = f'<{request.path}?{query}>; rel="next"'
    return response
