"""The other pages of a model: card, drift, quality, shadow, prediction log and its settings."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET

from models_registry import services
from models_registry.admin import capture, card, shadow, text_history
from models_registry.admin.base import RecordAdmin, require
from models_registry.admin.drift import drift_context
from models_registry.admin.prediction_log import log_context
from models_registry.admin.quality import quality_context
from models_registry.models import RegisteredModel
from models_registry.permissions import ACTIVATE, CHANGE, LOG
from models_registry.services.captures import known_columns

PAGE = "models_registry_registeredmodel_{}".format


class MonitoringPages(RecordAdmin):
    """The part of the models' admin for monitoring."""

    def monitoring_urls(self) -> list[URLPattern]:
        """Return the URLs of these pages."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/drift/", view(require_GET(self.drift_view)), name=PAGE("drift")),
            path("<int:pk>/quality/", view(require_GET(self.quality_view)), name=PAGE("quality")),
            path("<int:pk>/log/", view(require_GET(self.log_view)), name=PAGE("log")),
            path("<int:pk>/capture/", view(self.capture_view), name=PAGE("capture")),
            path("<int:pk>/card/", view(self.card_view), name=PAGE("card")),
            path("<int:pk>/card/history/", view(self.card_history_view), name=PAGE("card_history")),
            path("<int:pk>/shadow/", view(require_GET(self.shadow_view)), name=PAGE("shadow")),
            path("<int:pk>/shadow/live/", view(require_GET(self.shadow_live_view)), name=PAGE("shadow_live")),
            path("<int:pk>/shadow/start/", view(self.start_shadow_view), name=PAGE("start_shadow")),
            path("<int:pk>/shadow/end/", view(self.end_shadow_view), name=PAGE("end_shadow")),
        ]

    def drift_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how far the served values differ from the reference."""
        model = self._model(request, pk)
        return self._page(request, model, "drift", title="Drift", **drift_context(request, model))

    def quality_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the quality of the logged predictions."""
        model = self._model(request, pk)
        return self._page(request, model, "quality", title="Quality", **quality_context(request, model))

    def log_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the newest logged requests."""
        model = self._model(request, pk)
        require(request, LOG)
        return self._page(request, model, "prediction_log", title="Prediction log", **log_context(request, model))

    def capture_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the prediction log's settings; a valid POST changes them."""
        model = self._model(request, pk)
        require(request, CHANGE)
        form = capture.capture_form(model, request.POST if request.method == "POST" else None)
        if form.is_valid() and capture.save_capture(form, model, by=request.user.get_username()):
            messages.success(request, f"The settings of {model.name}'s prediction log are saved.")
            return redirect(f"admin:{PAGE('capture')}", pk)
        columns = known_columns(model)
        context = {"title": "Prediction log settings", "form": form, "columns": columns[: capture.COLUMNS_LISTED]}
        return self._page(request, model, "capture", **context, columns_total=len(columns))

    def card_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form of the model card; a valid POST changes the card."""
        model = self._model(request, pk)
        require(request, CHANGE)
        form = card.CardForm(request.POST if request.method == "POST" else None, initial={"card": model.card})
        if form.is_valid():
            card.save_card(request, model, form.cleaned_data["card"])
            return redirect(f"admin:{PAGE('change')}", pk)
        return self._page(request, model, "edit_card", title="Model card", form=form)

    def card_history_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the revisions of the card; a POST restores one of them."""
        model = self._model(request, pk)
        revisions = services.card_revisions
        if request.method == "POST":
            require(request, CHANGE)
            store = partial(services.set_card, model, by=request.user.get_username())
            text_history.restore_text(request, revisions, model, store, "The card is")
            return redirect(f"admin:{PAGE('card_history')}", pk)
        return self._page(
            request,
            model,
            "text_history",
            title="Card history",
            heading=f"Card of {model.name}: history",
            back_url=reverse(f"admin:{PAGE('change')}", args=[pk]),
            back_name=model.name,
            is_markdown=True,
            **text_history.history_context(request, revisions, model),
        )

    # The shadow

    def shadow_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how often the shadow agrees with the active version."""
        model = self._model(request, pk)
        return self._page(request, model, "shadow", title="Shadow", **shadow.shadow_context(model))

    def shadow_live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return the fragment of that page that changes over time."""
        model = self._model(request, pk)
        context = self.page_context(request, model=model, **shadow.shadow_context(model))
        return self.fragment(request, "models_registry/admin/shadow_live.html", context)

    def start_shadow_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then start a shadow with the version in the query."""
        model = self._model(request, pk)
        require(request, ACTIVATE)
        chosen = shadow.StartForm(model, request.GET)
        if not chosen.is_valid():
            context = {**shadow.shadow_context(model), "start_form": chosen}
            return self._page(request, model, "shadow", title="Shadow", **context)
        percent = chosen.cleaned_data["percent"]
        version = model.versions.get(number=chosen.cleaned_data["version"])
        version.model = model
        context = shadow.start_context(request, version, percent)
        if context["may_go_on"] and context["form"].is_valid():
            shadow.start(request, version, percent, context["form"].cleaned_data)
            return redirect(f"admin:{PAGE('shadow')}", pk)
        return self._page(request, model, "start_shadow", title="Start a shadow", **context)

    def end_shadow_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm, then end the shadow."""
        model = self._model(request, pk)
        require(request, ACTIVATE)
        form = shadow.ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            shadow.end(request, model, form.cleaned_data["reason"])
            return redirect(f"admin:{PAGE('shadow')}", pk)
        context = {"form": form, "shadow": shadow.shadow_context(model)["shadow"]}
        return self._page(request, model, "end_shadow", title="End the shadow", **context)

    def _model(self, request: HttpRequest, pk: int) -> RegisteredModel:
        self.require_view(request)
        return get_object_or_404(RegisteredModel.objects.select_related("active_version"), pk=pk)

    def _page(self, request: HttpRequest, model: RegisteredModel, template: str, **values: Any) -> HttpResponse:
        context = self.page_context(request, original=model, model=model, **values)
        return TemplateResponse(request, f"models_registry/admin/{template}.html", context)
