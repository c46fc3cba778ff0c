"""What a look into the storage costs, however much is stored."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from threading import Thread

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_registry import services
from models_registry.errors import StorageUnavailable
from models_registry.models import Lease, ModelVersion, RegisteredModel, State
from models_registry.services import stored_folders
from models_registry.storage import StoredVersion, oldest_first

pytestmark = pytest.mark.django_db


class Listing:
    """A storage whose listing is given."""

    def __init__(self, models: int, versions: int) -> None:
        self.stored = [
            StoredVersion(f"m{model}/a.joblib", f"v{number}", 1, float(number))
            for number in range(versions)
            for model in range(models)
        ]

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        found = [item for item in self.stored if item.key.startswith(prefix)]
        return iter(sorted(found, key=lambda item: (item.key, item.modified_at)))

    def list_versions(self, prefix: str = "") -> list[StoredVersion]:
        return oldest_first(self.iter_versions(prefix))


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


def test_models_are_registered_in_the_order_of_writing():
    """The first one registered is the default model."""
    listing = Listing(0, 0)
    listing.stored = [
        StoredVersion(f"{name}/a.joblib", "v", 1, at) for name, at in (("b", 3.0), ("a", 2.0), ("c", 1.0))
    ]
    services.discover(listing)
    assert list(RegisteredModel.objects.order_by("pk").values_list("name", flat=True)) == ["c", "a", "b"]


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_changed_models_that_are_not_kept_are_listed_again(kept, monkeypatch):
    monkeypatch.setattr(stored_folders, "MAX_KEPT", kept)
    result = services.discover(Listing(3, 2))
    assert sorted(str(version) for version in result.found) == [f"m{n} {v}" for n in range(3) for v in (1, 2)]


def test_names_that_end_in_signs_are_models_too():
    names = ["a", "a-b", "a.b", "a0"]
    listing = Listing(0, 0)
    listing.stored = [StoredVersion(f"{name}/a.joblib", "v", 1, 1.0) for name in names]
    assert len(services.discover(listing).found) == 4
    again = services.discover(listing)
    assert (again.found, again.missing) == ([], [])


def test_listing_out_of_order_marks_nothing_as_missing():
    listing = Listing(3, 1)
    record(listing)
    listing.iter_versions = lambda prefix="": iter(listing.stored[::-1])
    with pytest.raises(StorageUnavailable, match="order of keys"):
        services.discover(listing)
    assert not ModelVersion.objects.filter(state=State.MISSING).exists()


def test_ignored_files_are_counted_beyond_a_number(monkeypatch):
    monkeypatch.setattr(stored_folders, "MAX_IGNORED", 2)
    listing = Listing(0, 0)
    listing.stored = [StoredVersion(f"m/{number}.txt", "v", 1, 1.0) for number in range(5)]
    ignored = services.discover(listing).ignored
    assert len(ignored) == 3
    assert ignored[-1] == "3 more stored versions are ignored, too."


def peak_of(listing: Listing) -> int:
    tracemalloc.start()
    try:
        services.discover(listing)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_a_pass_does_not_grow_with_models(monkeypatch):
    monkeypatch.setattr(stored_folders, "ROWS", 20)
    peaks = []
    for count in (20, 200):
        ModelVersion.objects.all().delete()
        RegisteredModel.objects.all().delete()
        listing = Listing(count, 20)
        record(listing)
        services.discover(listing)
        listing.stored.sort(key=lambda item: (item.key, item.modified_at))
        listing.iter_versions = lambda prefix="", stored=listing.stored: iter(stored)
        # Twice: Python's table of interned strings may grow in one of them.
        peaks.append(min(peak_of(listing) for _ in range(2)))
    assert peaks[1] < 3 * peaks[0]


def test_version_deleted_during_a_listing_stays_deleted():
    listing = Listing(3, 1)
    record(listing)
    *_, last = listing.stored
    listing.stored.remove(last)
    version = ModelVersion.objects.get(storage_key=last.key)

    class Deleting:
        def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
            first, *others = listing.iter_versions(prefix)
            yield first
            ModelVersion.objects.filter(pk=version.pk).update(state=State.DELETED, reason="Deleted.")
            yield from others

    assert services.discover(Deleting()).missing == []
    version.refresh_from_db()
    assert (version.state, version.reason) == (State.DELETED, "Deleted.")


@pytest.mark.parametrize("key", ["a/\udcff.joblib", "\udcff/a.joblib", "\udcff.joblib", "a/\udcff.txt"])
def test_name_that_is_not_utf8_stops_no_other_file(key):
    listing = Listing(1, 1)
    listing.stored.insert(0, StoredVersion(key, "v", 1, 0.0))
    result = services.discover(listing)
    assert [str(version) for version in result.found] == ["m0 1"]
    assert result.ignored == [f"{key.replace(chr(0xDCFF), '?')}: the name is not valid UTF-8; rename the file."]


def write_elsewhere() -> None:
    """Write to the database over another connection."""

    def write() -> None:
        Lease.objects.create(name="other", expires_at=timezone.now())
        connection.close()

    thread = Thread(target=write)
    thread.start()
    thread.join()


class Unreadable(Listing):
    """A storage whose listing, or else whose only manifest, cannot be read, while others write to the database."""

    def __init__(self, *, fails_in_listing: bool) -> None:
        super().__init__(5, 4)
        self.fails_in_listing = fails_in_listing

    def iter_versions(self, prefix: str = "") -> Iterator[StoredVersion]:
        first, *others = super().iter_versions(prefix)
        yield first
        if self.fails_in_listing:
            self.read_current("")
        yield StoredVersion("m0/b.joblib", "v0", 1, 0.0)
        yield StoredVersion("m0/b.joblib.manifest.json", "v0", 1, 0.0)
        yield from others

    def location_of(self, key: str) -> str:
        return key

    def read_current(self, key: str) -> bytes:
        write_elsewhere()
        raise StorageUnavailable("The storage is away.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fails_in_listing", [True, False])
def test_failed_listing_leaves_the_database_writable(fails_in_listing, monkeypatch):
    """SQLite refuses a write to a connection with an unfinished query, once others have written."""
    monkeypatch.setattr(stored_folders, "ROWS", 2)
    storage = Unreadable(fails_in_listing=fails_in_listing)
    record(storage)
    services.claim_lease("discovery", holder="me", seconds=900)
    with pytest.raises(StorageUnavailable):
        try:
            services.discover(storage)
        finally:
            services.finish_lease("discovery", holder="me", next_in_seconds=0)
    assert services.claim_lease("discovery", holder="other", seconds=900)
