"""Builds this process's admission control and request pipeline from the settings.

The pipeline's threads and Django's threads are separate, WEB_THREADS each: large bodies and the admin do not wait for
each other. Django starts a thread for each request, so `DjangoHost` limits them by a semaphore.
"""

from __future__ import annotations

from django.conf import settings

from mlapi.http.admission import AdmissionController
from mlapi.http.pipeline import RequestPipeline
from mlapi.replica import recorder, runtime

# One per connection: each connection waits with one request at a time.
MAX_QUEUED = 1_000
# Bodies of the maximum size that are read at the same time.
MAX_BODIES = 4

admission = AdmissionController(
    max_in_flight=settings.MLAPI_MAX_IN_FLIGHT,
    queue_timeout_seconds=settings.MLAPI_QUEUE_TIMEOUT_SECONDS,
    max_queued=MAX_QUEUED,
    max_body_bytes=int(MAX_BODIES * settings.MLAPI_MAX_BODY_MB * 1_000_000),
)
pipeline = RequestPipeline(runtime, recorder, admission, threads=settings.WEB_THREADS)
