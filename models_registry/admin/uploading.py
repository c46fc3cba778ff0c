"""The page that uploads an artifact from the browser, through the registry's API."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from models_registry.admin.base import PLACEHOLDER, upload_address
from models_registry.artifacts.formats import FORMATS, listed_endings
from models_registry.artifacts.formats.other_endings import DEFAULT, NEXT_STEPS
from models_registry.artifacts.table_formats import FORMATS as TABLE_FORMATS
from models_registry.artifacts.table_formats import MAX_TABLE_BYTES
from models_registry.models import NAME_PATTERN, RegisteredModel
from models_registry.permissions import PUBLISH, visible


def upload_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the page."""
    return {
        "upload_address": upload_address(),
        "placeholder": PLACEHOLDER,
        "model_name": request.GET.get("model", "")[:100],
        "names": visible(request.user, PUBLISH, RegisteredModel.objects.all()).values_list("name", flat=True),
        "name_pattern": NAME_PATTERN,
        "endings": listed_endings(),
        "accepted": ",".join(FORMATS),
        "next_steps": json.dumps({**NEXT_STEPS, "": DEFAULT}),
        "tables": ",".join(TABLE_FORMATS),
        "max_table_mb": MAX_TABLE_BYTES // 1_000_000,
        "max_mb": settings.MODELS_MAX_ARTIFACT_MB,
    }
