"""What leaves the registry: its history as CSV, its artifacts by permission."""

from __future__ import annotations

import csv
import io

import pytest
from django.contrib.auth.models import Group, User

from models_registry import services
from tests.support.estimators import constant, save
from tests.support.registry import version


@pytest.fixture
def approver(client, db):
    """Return a person of the group `approver`, logged in."""
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(Group.objects.get(name="approver"))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user


def test_history_is_exported_with_the_list_s_filters(client, approver):
    first, other = version("churn", 1), version("digits", 1)
    services.activate(first, by="bob", reason='=HYPERLINK("x"), weekly')
    services.activate(other, by="bob")
    answer = client.get(f"/admin/models_registry/activation/export/?model__id__exact={first.model_id}")
    assert answer["Content-Disposition"] == 'attachment; filename="history.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
    assert (row["model"], row["version"], row["activated_by"]) == ("churn", "1", "bob")
    # A spreadsheet must not compute what a person wrote.
    assert row["reason"] == '\'=HYPERLINK("x"), weekly'
    assert len(client.get("/admin/models_registry/activation/export/").content.splitlines()) == 3


def test_history_is_not_exported_to_who_may_not_look(client, approver):
    approver.groups.clear()
    assert client.get("/admin/models_registry/activation/export/").status_code == 403


def test_artifacts_are_downloaded_with_a_permission(client, approver, storage_directory, tmp_path):
    artifact = save(constant(1), tmp_path / "m.joblib")
    services.check_version(services.publish("churn", artifact, by="bob"))
    address = "/api/models/churn/versions/1/artifact"
    answer = client.get(address)
    assert b"".join(answer.streaming_content) == artifact.read_bytes()
    assert answer["Content-Disposition"] == 'attachment; filename="churn-1.joblib"'
    approver.groups.set([Group.objects.get(name="viewer")])
    assert client.get(address).status_code == 403
