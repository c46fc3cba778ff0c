"""Composition root of a serving worker. Importing it starts nothing: the replica starts with the server."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django
from django.conf import settings

django.setup(set_prefix=False)

from mlapi.http.application import Application  # noqa: E402 - needs Django's apps
from mlapi.http.django_host import DjangoHost  # noqa: E402
from mlapi.http.process import admission, pipeline  # noqa: E402
from mlapi.replica import Replica  # noqa: E402

replica = Replica()
application = Application(pipeline, DjangoHost(admission, threads=settings.WEB_THREADS), replica)
