"""How long the pages of a large registry take, as the server renders them: `python -m benchmarks.pages 1000`.

The registry has so many models, and one of them has so many versions. It prints JSON: the median milliseconds of
processor time, those of PostgreSQL included, and the number of queries of each page. Run in the environment of a
migrated, empty registry.
"""

from __future__ import annotations

import json
import os
import sys
import time
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django
import psutil

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - needs Django's settings
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from tests.support.many import fill, pages_of, stay_alive  # noqa: E402

ROUNDS = 7


def measure(count: int) -> dict[str, float]:
    """Fill the registry and return the figures of each page."""
    busy = fill(count, count)
    user = User.objects.create_superuser("benchmark", password="x")
    client = Client(headers={"Host": "localhost"})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    figures: dict[str, float] = {}
    for name, address in pages_of(busy).items():
        stay_alive()
        client.get(address)  # templates are compiled once a process
        spent = []
        for _ in range(ROUNDS):
            began = _processor_seconds()
            response = client.get(address)
            spent.append(_processor_seconds() - began)
        if response.status_code != 200:
            raise RuntimeError(f"{address}: {response.status_code}")
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        figures[f"{name}, ms"] = median(spent) * 1e3
        figures[f"{name}, queries"] = len(queries)
    return figures


def _processor_seconds() -> float:
    """Return what this process and its process of PostgreSQL, if it has one, have spent so far."""
    if connection.vendor != "postgresql":
        return time.process_time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        times = psutil.Process(cursor.fetchone()[0]).cpu_times()
    return time.process_time() + times.user + times.system


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
