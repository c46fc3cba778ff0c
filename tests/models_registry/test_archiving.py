"""An archived model is out of use, with its versions and its history kept."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.urls import reverse

from models_registry import services
from models_registry.errors import ActivationConflict, ModelArchived
from models_registry.models import ModelVersion, RegisteredModel
from models_registry.services.desired_state import read_changes, read_desired_state, read_revision
from tests.support.estimators import constant, save
from tests.support.registry import version

pytestmark = [pytest.mark.django_db, pytest.mark.database]
LIST = "/admin/models_registry/registeredmodel/"


@pytest.fixture
def churn(storage_directory) -> RegisteredModel:
    """Return a model with an active version and a canary beside it."""
    first, second = version("churn", 1), version("churn", 2)
    services.activate(first, by="ann")
    second.model.refresh_from_db()
    services.start_canary(second, percent=10, by="ann")
    return services.get_model("churn")


def test_archiving_ends_what_serves_and_keeps_history(churn):
    since = read_revision()
    assert services.archive(churn, by="bea", reason="replaced by churn2")
    done = churn.activations.first()
    assert (done.kind, done.reason, done.activated_by) == ("deactivation", "Archived: replaced by churn2", "bea")
    assert (churn.active_version, churn.canary, churn.archived_by) == (None, None, "bea")
    assert (churn.versions.count(), churn.activations.count()) == (2, 2)
    assert read_changes(since).models["churn"].active is None


def test_nothing_of_an_archived_model_is_activated_or_published(churn, tmp_path):
    services.archive(churn, by="bea")
    artifact = save(constant(1), tmp_path / "model.joblib")
    for act in (
        lambda: services.activate(churn.versions.get(number=1), by="ann"),
        lambda: services.roll_back(churn, by="ann"),
        lambda: services.publish("churn", artifact, by="ann"),
    ):
        with pytest.raises(ModelArchived, match="archived by bea on .* Restore it first"):
            act()
    assert churn.versions.count() == 2


def test_discovery_ignores_an_archived_model_until_restored(churn, storage_directory):
    services.archive(churn, by="bea")
    save(constant(1), storage_directory / "churn/new.joblib")
    (ignored,) = services.discover().ignored
    assert ignored == "churn/new.joblib: churn is archived. Restore it to register new versions."
    assert services.restore(churn, by="bea")
    assert [str(item) for item in services.discover().found] == ["churn 3"]


def test_mlflow_aliased_version_is_not_downloaded_again(churn, settings):
    services.archive(churn, by="bea")
    settings.MODELS_MLFLOW_URI = ["http://127.0.0.1:9#churn@live"]
    (failure,) = services.follow_mlflow()
    assert "churn was archived by bea" in failure


def test_latest_activates_nothing_of_an_archived_model(storage_directory):
    RegisteredModel.objects.filter(pk=services.register_model("m").pk).update(policy="latest")
    save(constant(1), storage_directory / "m/a.joblib")
    services.discover()
    services.archive(services.get_model("m"), by="bea")
    services.check_version(ModelVersion.objects.get(), holder="test")
    assert services.get_model("m").active_version is None


def test_restoring_activates_nothing(churn):
    services.archive(churn, by="bea", reason="old")
    assert services.restore(churn, by="ann")
    assert not services.restore(churn, by="ann")
    assert (churn.archived_at, churn.archived_by, churn.archived_reason, churn.active_version) == (None, "", "", None)
    assert services.activate(churn.versions.get(number=1), by="ann").generation == 3


def test_replicas_learn_of_a_restoration_only_if_it_happened(churn):
    services.archive(churn, by="bea")
    archived = read_revision()
    assert services.restore(churn, by="ann")
    restored = read_revision()
    assert restored > archived
    assert not services.restore(churn, by="ann")
    assert read_revision() == restored


def test_archiving_again_keeps_who_was_first(churn):
    services.archive(churn, by="bea")
    assert not services.archive(churn, by="ann")
    assert churn.archived_by == "bea"


def test_a_decision_on_an_older_state_changes_nothing(churn):
    with pytest.raises(ActivationConflict):
        services.archive(churn, by="bea", seen_generation=0)
    churn.refresh_from_db()
    assert (churn.archived_at, churn.active_version.number) == (None, 1)


@pytest.mark.parametrize("seen", [2, 4])
def test_stale_decision_on_an_inactive_model_is_refused(churn, seen):
    services.deactivate(churn, by="ann")
    services.activate(churn.versions.get(number=2), by="ann")
    services.deactivate(services.get_model("churn"), by="ann")
    churn.refresh_from_db()
    assert churn.generation == 4
    services.activate(churn.versions.get(number=1), by="ann")
    services.deactivate(services.get_model("churn"), by="ann")
    with pytest.raises(ActivationConflict, match="change came first. No version is active now by ann"):
        services.archive(churn, by="bea", seen_generation=seen)
    churn.refresh_from_db()
    assert churn.archived_at is None
    assert services.archive(churn, by="bea")


def test_the_database_holds_no_archived_model_that_serves(churn):
    with pytest.raises(IntegrityError), transaction.atomic():
        RegisteredModel.objects.filter(pk=churn.pk).update(archived_at="2026-01-01T00:00Z")


def test_an_archived_model_is_no_default(churn):
    version("later", 1)
    assert read_desired_state().first == "churn"
    services.archive(churn, by="bea")
    assert (read_desired_state().first, read_changes(0).first) == ("later", "later")


def test_lists_leave_archived_models_out_unless_asked(churn, admin_client, capsys):
    version("other", 1)
    services.archive(churn, by="bea")
    assert [item["name"] for item in admin_client.get("/api/models").json()] == ["other"]
    assert [item["name"] for item in admin_client.get("/api/models?archived=true").json()] == ["churn"]
    link = reverse("admin:models_registry_registeredmodel_change", args=[churn.pk])
    assert [link in admin_client.get(address).content.decode() for address in (LIST, f"{LIST}?archived=yes")] == [
        False,
        True,
    ]
    assert [row.model.name for row in admin_client.get("/admin/").context["rows"]] == ["other"]
    call_command("list_models")
    assert "churn" not in capsys.readouterr().out


def test_the_api_archives_and_restores(churn, admin_client):
    done = admin_client.post("/api/models/churn/archive", {"reason": "old"}, content_type="application/json")
    assert (done.status_code, done.json()["changed"], done.json()["version"]) == (200, True, None)
    refused = admin_client.post("/api/models/churn/activate", {"version": 1}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "model_archived")
    assert admin_client.get("/api/models/churn").json()["archived_at"] is not None
    assert admin_client.post("/api/models/churn/restore").json()["archived_at"] is None


def test_the_admin_asks_before_it_archives(churn, admin_client):
    address = reverse("admin:models_registry_registeredmodel_archive", args=[churn.pk])
    asked = admin_client.get(address).content.decode()
    assert "churn: version 1 → archived" in asked
    page = admin_client.post(address, {"reason": "old", "seen_generation": churn.generation}, follow=True)
    assert "churn is archived" in page.content.decode()
    churn.refresh_from_db()
    assert churn.archived_reason == "old"
    restore = reverse("admin:models_registry_registeredmodel_restore", args=[churn.pk])
    assert restore in page.content.decode()
    assert "is restored. No version is active" in admin_client.post(restore, follow=True).content.decode()


def test_no_page_of_an_archived_model_offers_an_activation(churn, admin_client):
    first = churn.versions.get(number=1)
    services.archive(churn, by="bea", reason="old")
    pages = [
        reverse("admin:models_registry_registeredmodel_change", args=[churn.pk]),
        reverse("admin:models_registry_modelversion_change", args=[first.pk]),
        reverse("admin:models_registry_modelversion_compare", args=[first.pk]),
    ]
    for page in pages:
        text = admin_client.get(page).content.decode()
        assert "/activate/" not in text
        assert "Activate a ready version" not in text
    assert "Reason: “old”." in admin_client.get(pages[0]).content.decode()
    services.restore(churn, by="bea")
    assert all("/activate/" in admin_client.get(page).content.decode() for page in pages)


def test_the_commands_archive_and_restore(churn, capsys):
    call_command("archive_model", "churn", reason="old")
    call_command("archive_model", "churn")
    call_command("restore_model", "churn")
    call_command("restore_model", "churn")
    said = [line.partition(" (generation")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "churn is archived; no version is active",
        "churn was archived before; nothing changes",
        "churn is restored. No version is active: activate one.",
        "churn was not archived; nothing changes.",
    ]
