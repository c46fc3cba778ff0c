"""Composition root of a serving worker. Importing this module starts nothing; the replica starts with the server.

The import builds objects, also in `mlapi.replica` and `mlapi.http.process`, which Django's views use too. It starts no
loop and opens no connection: thread pools start threads on demand, and `Replica.start` starts the loops. gunicorn
imports this module after the fork, so each worker has its own objects.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django
from django.conf import settings

django.setup(set_prefix=False)

from mlapi.http.application import Application, GrpcServer  # noqa: E402 - needs Django's apps
from mlapi.http.django_host import DjangoHost  # noqa: E402
from mlapi.http.process import admission, pipeline  # noqa: E402
from mlapi.replica import Replica  # noqa: E402
from models_registry.checks import require_sound_settings  # noqa: E402


def grpc_server() -> GrpcServer | None:
    """Return the gRPC server on GRPC_PORT; None without a port, and then grpcio is not imported."""
    if not settings.GRPC_PORT:
        return None
    from mlapi.grpc.server import InferenceServer

    return InferenceServer(pipeline, port=settings.GRPC_PORT, host=settings.MLAPI_BIND or "[::]")


require_sound_settings()
replica = Replica()
application = Application(pipeline, DjangoHost(admission, threads=settings.WEB_THREADS), replica, grpc_server())
