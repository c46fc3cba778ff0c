"""The results of Ctrl+K: pages, models by name, and versions as `name/3` or `name/alias`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.dataclasses import SearchResult

from models_registry.admin.base import may_upload
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.permissions import VIEW, VIEW_VERSIONS, visible

MODELS_FOUND = 20
VERSIONS_FOUND = 10
# churn/3, churn 3, churn:v3, churn@champion
_VERSION = re.compile(r"(?P<name>[^\s/:@]+)[\s/:@]+(?:v(?:ersion\s*)?(?=\d))?(?P<version>[^\s/:@]+)", re.IGNORECASE)


def find(request: HttpRequest, text: str) -> list[SearchResult]:
    """Return the results for `text` that the user may view: versions, then models, then pages."""
    wanted = " ".join(text.split())[:200]
    if not wanted:
        return []
    # Models are more likely than pages; an explicit version is certain.
    return [*_versions(request, wanted), *_models(request, wanted), *_pages(request, wanted)]


def _pages(request: HttpRequest, wanted: str) -> Iterator[SearchResult]:
    pages = [
        (str(item["title"]), str(item["link"]), str(item.get("icon") or "article"))
        for group in admin.site.get_sidebar_list(request)  # type: ignore[attr-defined]
        for item in group["items"]
    ]
    if may_upload(request):
        pages.append(("Upload a model", reverse("admin:models_registry_modelversion_upload"), "upload"))
    for title, link, icon in pages:
        if wanted.casefold() in title.casefold():
            yield SearchResult(title=title, description="page", link=link, icon=icon)


def _models(request: HttpRequest, wanted: str) -> Iterator[SearchResult]:
    for model in named_like(visible(request.user, VIEW, RegisteredModel.objects.all()), wanted)[:MODELS_FOUND]:
        yield SearchResult(
            title=model.name,
            description="model",
            link=reverse("admin:models_registry_registeredmodel_change", args=[model.pk]),
            icon="deployed_code",
        )


def _versions(request: HttpRequest, wanted: str) -> Iterator[SearchResult]:
    parts = _VERSION.fullmatch(wanted)
    if parts is None:
        return
    name, version = parts["name"], parts["version"]
    models = list(named_like(visible(request.user, VIEW_VERSIONS, RegisteredModel.objects.all()), name)[:MODELS_FOUND])
    numbers = {model.pk: _number(model, version) for model in models}
    asked = Q()
    for pk, number in numbers.items():
        if number is not None:
            asked |= Q(model=pk, number=number)
    if not asked:
        return
    found = {row.model_id: row for row in ModelVersion.objects.filter(asked).only("model_id", "number", "state")}
    for model in [model for model in models if model.pk in found][:VERSIONS_FOUND]:
        row = found[model.pk]
        is_active = model.active_version_id == row.pk
        yield SearchResult(
            title=f"{model.name} {row.number}",
            description=f"version, {'active' if is_active else row.state}",
            link=reverse("admin:models_registry_modelversion_change", args=[row.pk]),
            icon="layers",
        )


def _number(model: RegisteredModel, version: str) -> int | None:
    """Return the number in a text: a number itself, or an alias of the model."""
    if version.isascii() and version.isdigit():
        return int(version) if len(version) < 10 else None
    number: int | None = model.aliases.get(version)
    return number


def named_like(models: QuerySet[RegisteredModel], wanted: str) -> QuerySet[RegisteredModel]:
    """Return the models whose name contains `wanted`: an equal name first, then those that start with it."""
    rank = Case(
        When(name__iexact=wanted, then=Value(0)),
        When(name__istartswith=wanted, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return models.filter(name__icontains=wanted).order_by(rank, "name").only("name", "aliases", "active_version")


def search(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Respond to a search of Unfold's command palette.

    Unfold's own view caches results for five minutes: new models would be missing, and revoked permissions would still
    apply.
    """
    context = {"results": find(request, request.GET.get("s", ""))}
    response = TemplateResponse(request, "models_registry/admin/found.html", context, headers={"HX-Trigger": "search"})
    response["Cache-Control"] = "no-store"
    return response


admin.site.search = search  # type: ignore[attr-defined]
