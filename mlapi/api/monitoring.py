"""The addresses of the registry's API that tell how a model in service does."""

from __future__ import annotations

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mlapi.api import monitoring_forms as forms
from mlapi.api.base import VIEW, RegistryView, asked
from mlapi.api.views import PROBLEMS
from models_registry import services
from models_registry.monitoring.usage_report import WINDOWS, report_content, usage_report


class UsageView(RegistryView):
    """`/api/models/{name}/usage`."""

    needs = {"GET": VIEW}

    @extend_schema(
        operation_id="get_usage",
        tags=["registry"],
        parameters=[forms.WindowQuery],
        responses={200: forms.Usage, **PROBLEMS},
    )
    def get(self, request: Request, name: str) -> Response:
        """Return requests, errors, latency and predictions by version; each replica adds to it once a minute."""
        window = WINDOWS[asked(request, forms.WindowQuery, of_query=True)["window"]]
        model = services.get_model(name)
        return Response(report_content(usage_report(model, window, datetime.now(UTC))))
