"""`/api/models/{name}/card/history` and `…/notes/history`: the revisions of a card and of notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api.base import RegistryView, validated
from mlapi.api.paging import LINK_HEADER, RevisionsQuery, paged
from mlapi.api.views import PROBLEMS
from models_registry import services
from models_registry.permissions import VIEW
from models_registry.services.texts import Revision


class TextRevision(serializers.Serializer[Any]):
    """One revision of a card or of notes."""

    number = serializers.IntegerField(help_text="1 is the first text; the highest number is the current text.")
    text = serializers.CharField()
    changed_at = serializers.DateTimeField()
    changed_by = serializers.CharField()


class CardHistoryView(RegistryView):
    """`/api/models/{name}/card/history`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="list_card_revisions",
        tags=["registry"],
        parameters=[RevisionsQuery, LINK_HEADER],
        responses={200: TextRevision(many=True), **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return the revisions of the model card, the current one first."""
        return _page(request, services.card_revisions, services.get_model(name))


class NotesHistoryView(RegistryView):
    """`/api/models/{name}/versions/{number}/notes/history`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="list_notes_revisions",
        tags=["registry"],
        parameters=[RevisionsQuery, LINK_HEADER],
        responses={200: TextRevision(many=True), **PROBLEMS},
    )
    def get(self, request: Request, name: str, number: str) -> Response:
        """Return the revisions of the notes on a version, the current one first."""
        return _page(request, services.notes_revisions, services.get_version(services.get_model(name), number))


def _page(request: Request, revisions_of: Callable[..., list[Revision]], owner: Any) -> Response:
    wanted = validated(request, RevisionsQuery, of_query=True)
    limit = wanted["limit"]
    found = revisions_of(owner, before=wanted["after"], limit=limit and limit + 1)
    page = found[:limit]
    return paged(request, [asdict(row) for row in page], next_after=page[-1].number if len(found) > len(page) else None)
