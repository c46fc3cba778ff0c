"""A rejected version can be deleted; its number, its digest and the reasons stay."""

from __future__ import annotations

import os
from functools import partial

import pytest
from django.core.management import call_command
from django.urls import reverse

from models_registry import services
from models_registry.errors import NotActivatable, NotDeletable, UnknownVersion
from models_registry.models import FeatureBins, ModelVersion, ReferenceRows, State
from models_registry.services.desired_state import read_changes, read_revision
from tests.support.estimators import constant, save
from tests.support.registry import version

pytestmark = [pytest.mark.django_db, pytest.mark.database]
LIST = "/admin/models_registry/modelversion/"


@pytest.fixture
def rejected(storage_directory) -> ModelVersion:
    """Return a version of `churn` that its check rejected, beside a ready one."""
    version("churn", 1)
    (storage_directory / "churn").mkdir()
    artifact = storage_directory / "churn/model.joblib"
    artifact.write_text("<html>not found</html>")
    os.utime(artifact, (1_600_000_000, 1_600_000_000))  # discovery waits for a file that may still be written
    services.discover(by="ann")
    found = ModelVersion.objects.get(number=2)
    services.check_version(found)
    found.refresh_from_db()
    assert found.state == State.REJECTED
    return found


def test_reason_number_and_digest_stay(rejected):
    before, digest = rejected.reason, rejected.digest
    ReferenceRows.objects.create(version=rejected, instances=[[1.0]])
    FeatureBins.objects.create(version=rejected, source="sample", rows=300, columns=[])
    services.delete_version(rejected, by="bea")
    assert not ReferenceRows.objects.exists()
    assert not FeatureBins.objects.exists()
    assert rejected.state == State.DELETED
    assert rejected.reason.startswith("Deleted by bea on ")
    assert rejected.reason.endswith(f"It was rejected: {before}")
    assert (rejected.digest, rejected.inspection, rejected.report, rejected.manifest) == (digest, None, None, {})


def test_file_is_not_found_again_nor_its_number_reused(rejected, storage_directory):
    services.delete_version(rejected, by="bea")
    assert services.discover().found == []
    save(constant(1), storage_directory / "churn/other.joblib")
    assert [str(item) for item in services.discover().found] == ["churn 3"]


def test_its_file_may_go(rejected, storage_directory):
    services.delete_version(rejected, by="bea")
    (storage_directory / "churn/model.joblib").unlink()
    assert services.discover().missing == []
    rejected.refresh_from_db()
    assert rejected.state == State.DELETED


@pytest.mark.parametrize("state", [State.READY, State.FOUND, State.CHECKING, State.MISSING, State.DELETED])
def test_only_a_rejected_version_is_deleted(state, storage_directory):
    one = version("churn", 1)
    ModelVersion.objects.filter(pk=one.pk).update(state=state)
    with pytest.raises(NotDeletable, match=f"churn 1 is {state}. Only a rejected version"):
        services.delete_version(one, by="bea")


def test_active_version_is_kept_despite_a_later_rejection(storage_directory):
    one = version("churn", 1)
    services.activate(one, by="ann")
    ModelVersion.objects.filter(pk=one.pk).update(state=State.REJECTED, reason="x")
    with pytest.raises(NotDeletable, match="churn 1 is active"):
        services.delete_version(one, by="bea")


@pytest.mark.parametrize(
    ("start", "end", "name"),
    [
        (partial(services.start_canary, percent=10), services.end_canary, "canary"),
        (services.start_shadow, services.end_shadow, "shadow"),
    ],
    ids=["canary", "shadow"],
)
def test_running_canary_or_shadow_is_kept_until_it_ends(storage_directory, start, end, name):
    services.activate(version("churn", 1), by="ann")
    two = version("churn", 2)
    two.model.refresh_from_db()
    start(two, by="ann")
    ModelVersion.objects.filter(pk=two.pk).update(state=State.REJECTED, reason="x")
    with pytest.raises(NotDeletable, match=f"churn 2 is a running {name}. End the {name} first"):
        services.delete_version(two, by="bea")
    end(two.model, by="ann")
    services.delete_version(two, by="bea")
    assert two.state == State.DELETED


def test_a_deleted_version_is_not_activated(rejected):
    services.delete_version(rejected, by="bea")
    with pytest.raises(NotActivatable, match="Deleted by bea .* Publish a corrected version"):
        services.activate(rejected, by="ann", override=True, reason="all the same")


def test_a_check_that_lost_its_claim_brings_nothing_back(rejected):
    late = ModelVersion.objects.get(pk=rejected.pk)
    services.delete_version(rejected, by="bea")
    assert services.check_version(late).state == State.DELETED
    rejected.refresh_from_db()
    assert (rejected.state, rejected.report, rejected.inspection) == (State.DELETED, None, None)


def test_no_alias_names_a_deleted_version(rejected):
    services.delete_version(rejected, by="bea")
    with pytest.raises(UnknownVersion, match="churn 2 is deleted"):
        services.set_aliases(rejected.model, {"champion": 2}, by="bea")


def test_the_aliases_of_a_deleted_version_are_removed(rejected):
    services.set_aliases(rejected.model, {"next": 2, "newest": 2, "champion": 1}, by="bea")
    since = read_revision()
    services.delete_version(rejected, by="bea")
    assert services.get_model("churn").aliases == {"champion": 1}
    assert read_changes(since).models["churn"].aliases == {"champion": 1}


def test_a_refused_deletion_keeps_the_aliases(rejected):
    services.set_aliases(rejected.model, {"champion": 1}, by="bea")
    with pytest.raises(NotDeletable):
        services.delete_version(rejected.model.versions.get(number=1), by="bea")
    assert services.get_model("churn").aliases == {"champion": 1}


def test_lists_leave_it_out_unless_asked(rejected, admin_client, capsys):
    services.delete_version(rejected, by="bea")
    link = reverse("admin:models_registry_modelversion_change", args=[rejected.pk])
    page = reverse("admin:models_registry_registeredmodel_change", args=[rejected.model_id])
    shown = [link in admin_client.get(address).content.decode() for address in (LIST, page, f"{LIST}?state=deleted")]
    assert shown == [False, False, True]
    assert "Deleted by bea" in admin_client.get(link).content.decode()
    assert [item["number"] for item in admin_client.get("/api/models/churn").json()["versions"]] == [1]


def test_the_api_deletes_and_refuses(rejected, admin_client):
    refused = admin_client.delete("/api/models/churn/versions/1")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_deletable")
    assert admin_client.delete("/api/models/churn/versions/2").json()["state"] == "deleted"
    assert admin_client.get("/api/models/churn/versions/2").json()["state"] == "deleted"


def test_the_admin_asks_before_it_deletes(rejected, admin_client):
    address = reverse("admin:models_registry_modelversion_delete_rejected", args=[rejected.pk])
    asked = admin_client.get(address).content.decode()
    assert "Delete churn 2?" in asked
    assert "churn/model.joblib" in asked
    assert "churn 2 is deleted" in admin_client.post(address, follow=True).content.decode()
    assert "is deleted. Only a rejected version can be deleted" in admin_client.get(address).content.decode()


def test_the_command_says_where_the_file_stays(rejected, capsys):
    call_command("delete_version", "churn", "2")
    assert capsys.readouterr().out.strip().endswith("churn/model.joblib.")
