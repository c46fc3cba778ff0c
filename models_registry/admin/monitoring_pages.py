"""The pages of a model that show how it does: drift, quality, the prediction log."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET

from models_registry.admin.base import RecordAdmin, require
from models_registry.admin.drift import drift_context
from models_registry.admin.prediction_log import log_context
from models_registry.admin.quality import quality_context
from models_registry.models import RegisteredModel
from models_registry.permissions import LOG


class MonitoringPages(RecordAdmin):
    """The part of the models' admin that shows what the requests were like."""

    def monitoring_urls(self) -> list[URLPattern]:
        """Return the addresses of these pages."""
        name = "models_registry_registeredmodel_{}".format
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/drift/", view(require_GET(self.drift_view)), name=name("drift")),
            path("<int:pk>/quality/", view(require_GET(self.quality_view)), name=name("quality")),
            path("<int:pk>/log/", view(require_GET(self.log_view)), name=name("log")),
        ]

    def drift_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how far the served values are from the reference."""
        model = self._model(request, pk)
        return self._page(request, model, "drift", title="Drift", **drift_context(request, model))

    def quality_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how right the logged predictions were."""
        model = self._model(request, pk)
        return self._page(request, model, "quality", title="Quality", **quality_context(request, model))

    def log_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the newest logged requests."""
        model = self._model(request, pk)
        require(request, LOG)
        return self._page(request, model, "prediction_log", title="Prediction log", **log_context(request, model))

    def _model(self, request: HttpRequest, pk: int) -> RegisteredModel:
        self.require_view(request)
        return get_object_or_404(RegisteredModel.objects.select_related("active_version"), pk=pk)

    def _page(self, request: HttpRequest, model: RegisteredModel, template: str, **values: Any) -> HttpResponse:
        context = self.page_context(request, original=model, model=model, **values)
        return TemplateResponse(request, f"models_registry/admin/{template}.html", context)
