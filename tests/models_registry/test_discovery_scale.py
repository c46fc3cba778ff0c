"""What a look into the storage costs, however much is stored."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry import services
from models_registry.models import ModelVersion, RegisteredModel, State
from models_registry.storage import StoredVersion

pytestmark = pytest.mark.django_db


class Listing:
    """A storage whose listing is given."""

    def __init__(self, models: int, versions: int) -> None:
        self.stored = [
            StoredVersion(f"m{model}/a.joblib", f"v{number}", 1, float(number))
            for number in range(versions)
            for model in range(models)
        ]

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        return [item for item in self.stored if item.key.startswith(prefix)]


def record(listing: Listing) -> None:
    names = {item.key.partition("/")[0] for item in listing.stored}
    models = {name: RegisteredModel.objects.create(name=name) for name in names}
    ModelVersion.objects.bulk_create(
        ModelVersion(
            model=models[item.key.partition("/")[0]],
            number=int(item.version_id[1:]) + 1,
            format="joblib",
            storage_key=item.key,
            storage_version=item.version_id,
            size_bytes=1,
            state=State.FOUND,
        )
        for item in listing.stored
    )


@pytest.mark.parametrize(("models", "versions"), [(2, 2), (50, 1), (1, 50), (20, 20)])
def test_look_at_an_unchanged_storage_is_one_query(models, versions):
    listing = Listing(models, versions)
    record(listing)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        result = services.discover(listing)
    assert len(queries) == 1
    assert (result.found, result.missing) == ([], [])


def test_new_version_costs_the_same_among_many_models():
    costs = []
    for count in (2, 40):
        ModelVersion.objects.all().delete()
        RegisteredModel.objects.all().delete()
        listing = Listing(count, 3)
        record(listing)
        listing.stored.append(StoredVersion("m1/a.joblib", "new", 1, 99.0))
        with CaptureQueriesContext(connection) as queries:
            (found,) = services.discover(listing).found
        assert (found.model.name, found.number) == ("m1", 4)
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_what_is_gone_is_missing_and_returns():
    listing = Listing(3, 2)
    record(listing)
    gone = listing.stored.pop(0)
    (missing,) = services.discover(listing).missing
    assert (missing.storage_key, missing.storage_version) == (gone.key, gone.version_id)
    assert services.discover(listing).missing == []
    listing.stored.insert(0, gone)
    (returned,) = services.discover(listing).returned
    returned.refresh_from_db()
    assert returned.state == State.FOUND
