"""Pages of the registry API's lists: a list stays a list, and the header `Link` names the next page (RFC 8288)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

Row = TypeVar("Row", bound=Model)

LINK_HEADER = OpenApiParameter(
    "Link", str, OpenApiParameter.HEADER, response=[200], description='The next page, as `</api/…>; rel="next"`.'
)


def page_of(rows: QuerySet[Row], limit: int | None) -> tuple[list[Row], bool]:
    """Return the first `limit` rows, all of them without one, and whether more follow."""
    if limit is None:
        return list(rows), False
    found = list(rows[: limit + 1])
    return found[:limit], len(found) > limit


def paged(request: Request, content: Sequence[Any], *, next_after: object) -> Response:
    """Return a page; the next one begins after `next_after`, or does not exist if that is None."""
    response = Response(content)
    if next_after is not None:
        query = urlencode({**request.query_params.dict(), "after": str(next_after)})
        response["Link"] = f'<{request.path}?{query}>; rel="next"'
    return response
