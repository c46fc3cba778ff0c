"""Bulk actions on selected rows: confirmed first, then applied or refused row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from models_registry import services
from models_registry.admin.base import RecordAdmin
from models_registry.errors import RegistryError
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.permissions import ACTIVATE, PUBLISH, may

# The confirmation sends two fields for each row, and Django accepts 1,000 in total.
MAX_ROWS = 400


@dataclass(frozen=True, slots=True)
class BulkAct:
    """The action on each row; `obstacle` returns why a row is refused, or an empty text."""

    action: str
    button: str
    consequence: str
    done: str
    obstacle: Callable[[HttpRequest, Any], str]
    act: Callable[[HttpRequest, Any], None]


def carry_out(admin: RecordAdmin, request: HttpRequest, rows: QuerySet[Any], act: BulkAct) -> HttpResponse | None:
    """Show the action and the refused rows; after the confirmation, apply it to every row that still allows it."""
    chosen = list(rows[: MAX_ROWS + 1])
    if len(chosen) > MAX_ROWS:
        messages.error(request, f"More than {MAX_ROWS} rows are selected. Select fewer.")
        return None
    found = [(row, act.obstacle(request, row)) for row in chosen]
    if "confirmed" not in request.POST:
        context = admin.page_context(
            request,
            act=act,
            title=act.button,
            allowed=[row for row, obstacle in found if not obstacle],
            refused=[obstacle for _, obstacle in found if obstacle],
            checkbox=ACTION_CHECKBOX_NAME,
        )
        return TemplateResponse(request, "models_registry/admin/bulk.html", context)
    finished = [row for row, obstacle in found if _is_done(request, row, obstacle, act)]
    if finished:
        messages.success(request, f"{act.done}: {', '.join(map(str, finished))}.")
    return None


def _is_done(request: HttpRequest, row: Any, obstacle: str, act: BulkAct) -> bool:
    if not obstacle:
        try:
            act.act(request, row)
        except RegistryError as error:
            obstacle = str(error)
    if obstacle:
        messages.error(request, obstacle)
    return not obstacle


def _why_not_deleted(request: HttpRequest, version: ModelVersion) -> str:
    if not may(request.user, PUBLISH, version.model.name):
        return f"{version}: you may not publish or delete versions of {version.model.name}."
    return services.deletion_obstacle(version)


def _why_not_archived(request: HttpRequest, model: RegisteredModel) -> str:
    if not may(request.user, ACTIVATE, model.name):
        return f"{model.name}: you may not activate or archive it."
    return f"{model.name} is archived already." if model.archived_at else ""


def _archive(request: HttpRequest, model: RegisteredModel) -> None:
    seen = request.POST.get(f"seen_{model.pk}", "")
    services.archive(
        model,
        by=request.user.get_username(),
        seen_generation=int(seen) if seen.isdecimal() and len(seen) < 10 else None,
    )


DELETE_REJECTED = BulkAct(
    action="delete_rejected",
    button="Delete",
    consequence="The registry deletes their reports, samples and manifests, and lists do not show them. Their numbers, "
    "digests and reasons stay, and so do their files in the storage.",
    done="Deleted",
    obstacle=_why_not_deleted,
    act=lambda request, version: services.delete_version(version, by=request.user.get_username()),
)
ARCHIVE = BulkAct(
    action="archive",
    button="Archive",
    consequence="No version of these models is served after that, so their requests are refused, and lists do not show "
    "them. Their versions and their history stay. The page of each model has a button to restore it.",
    done="Archived",
    obstacle=_why_not_archived,
    act=_archive,
)
