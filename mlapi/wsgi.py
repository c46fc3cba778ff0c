"""Composition root of a serving worker: Django, the prediction lane, and the replica's threads."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

django_application = get_wsgi_application()

from mlapi.lane import PredictionLane  # noqa: E402 - needs Django's apps
from mlapi.replica import Replica, gate  # noqa: E402

replica = Replica()
replica.start()
application = PredictionLane(
    django_application,
    gate,
    is_open=settings.MLAPI_LANE,
    places=settings.MLAPI_MAX_WAITING,
    patience_seconds=settings.MLAPI_MAX_WAIT_SECONDS,
)
