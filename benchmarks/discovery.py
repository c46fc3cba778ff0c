"""What a look into a large storage costs: `python -m benchmarks.discovery 100000`.

It prints JSON: the seconds of a pass that finds nothing new, and the memory that it takes beyond what was there. The
listing is generated as S3 gives it, page by page, without a network. Run in the environment of a migrated, empty
registry.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tracemalloc
from collections.abc import Iterator

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlapi.settings")

import django

django.setup()

from models_registry import services  # noqa: E402 - after Django's settings
from models_registry.models import ModelVersion, RegisteredModel, State  # noqa: E402
from models_registry.storage import StoredVersion, oldest_first  # noqa: E402

VERSIONS_OF_A_MODEL = 100
BATCH = 10_000


class Listing:
    """A storage with `count` stored versions, VERSIONS_OF_A_MODEL of each model."""

    def __init__(self, count: int) -> None:
        self.count = count

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        """Give the versions one by one."""
        for number in range(self.count):
            model, version = divmod(number, VERSIONS_OF_A_MODEL)
            yield StoredVersion(f"m{model:06}/a.joblib", f"{number:032}", 1, float(version))

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        """Return all versions."""
        return oldest_first(self.iter_versions(prefix))


def record(listing: Listing) -> None:
    """Record all versions in the registry."""
    names = {item.key.partition("/")[0] for item in listing.iter_versions()}
    RegisteredModel.objects.bulk_create([RegisteredModel(name=name) for name in sorted(names)], batch_size=BATCH)
    ids = dict(RegisteredModel.objects.values_list("name", "pk"))
    batch = []
    for number, item in enumerate(listing.iter_versions(), 1):
        batch.append(
            ModelVersion(
                model_id=ids[item.key.partition("/")[0]],
                number=number % VERSIONS_OF_A_MODEL + 1,
                format="joblib",
                storage_key=item.key,
                storage_version=item.version_id,
                size_bytes=1,
                state=State.FOUND,
            )
        )
        if len(batch) == BATCH or number == listing.count:
            ModelVersion.objects.bulk_create(batch, batch_size=BATCH)
            batch = []


def measure(count: int) -> dict[str, float]:
    """Return what a pass over `count` recorded versions costs."""
    listing = Listing(count)
    record(listing)
    began = time.process_time()
    result = services.discover(listing)  # type: ignore[arg-type]  # nothing of it is read
    seconds = time.process_time() - began
    if result.found or result.missing or result.ignored:
        raise RuntimeError(f"{len(result.found)} found, {len(result.missing)} missing, {result.ignored[:3]}")
    tracemalloc.start()
    services.discover(listing)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    return {"processor time of a pass, s": seconds, "memory of a pass, MB": peak / 1e6}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))), flush=True)
