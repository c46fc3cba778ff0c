"""The admin's discovery, its checks of versions anew, and its settings of a model."""

from __future__ import annotations

import pytest

from models_registry import services
from models_registry.models import Lease, ModelVersion
from tests.models_registry.admin_pages import page, told
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def test_discovery_reports_found_missed_and_ignored(storage_directory, admin_client):
    version("gone", 1)
    (storage_directory / "digits").mkdir()
    (storage_directory / "digits" / "model.joblib").write_bytes(b"x")
    (storage_directory / "stray.joblib").write_bytes(b"x")
    words = told(admin_client.post(page("registeredmodel_discover")))
    assert "Found 1 version: digits 1. No replica is live" in words
    assert "No longer in the storage: 1 version: gone 1." in words
    assert "Ignored stray.joblib: lies in no model's folder" in words
    assert ModelVersion.objects.get(model__name="digits").published_by == ""


def test_missing_storage_is_reported_by_discovery(settings, tmp_path, admin_client):
    settings.MODELS_STORAGE = (tmp_path / "nowhere").as_uri()
    response = admin_client.post(page("registeredmodel_discover"))
    assert response.status_code == 302
    assert "nowhere" in told(response)


def test_list_of_models_shows_the_last_discovery(admin_client):
    shown = admin_client.get(page("registeredmodel_changelist")).content.decode()
    assert "No replica has searched the storage yet" in shown
    assert "publish_model digits model.joblib" in shown, "an empty registry says how to fill it"
    services.claim_lease("discovery", holder="r1", seconds=1)
    services.finish_lease("discovery", holder="r1", next_in_seconds=1, note="The bucket refuses to list.")
    shown = admin_client.get(page("registeredmodel_changelist")).content.decode()
    assert Lease.objects.get().done_at.strftime("%Y-%m-%d %H:%M:%S") in shown
    assert "The bucket refuses to list." in shown


def test_checking_again_puts_a_rejected_version_back_in_line(digits, admin_client):
    target = digits.versions.get(number=3)
    ModelVersion.objects.filter(pk=target.pk).update(report={"passed": False}, inspection={"globals": ["os.system"]})
    response = admin_client.post(page("modelversion_check_again", target.pk))
    assert "waits for validation again" in told(response)
    target.refresh_from_db()
    assert (target.state, target.reason, target.report, target.inspection) == ("found", "", None, None)
    assert target.digest, "what it is pinned to stays"


def test_only_a_rejected_version_is_checked_again(digits, admin_client):
    target = digits.versions.get(number=1)
    response = admin_client.post(page("modelversion_check_again", target.pk))
    assert "Only a rejected version can be checked again" in told(response)
    target.refresh_from_db()
    assert target.state == "ready"


def test_settings_are_changed_one_by_one(digits, admin_client):
    url = page("registeredmodel_settings", digits.pk)
    body = {"policy": "latest", "description": "Handwritten digits"}
    words = told(admin_client.post(url, body))
    assert words == "digits: policy is latest, acceleration is off, description changed."
    digits.refresh_from_db()
    assert (digits.policy, digits.acceleration, digits.description) == ("latest", False, "Handwritten digits")
    assert told(admin_client.post(url, body)).endswith("digits: nothing changed.")
    assert "Policy:" in told(admin_client.post(url, {**body, "policy": "whatever"}))
