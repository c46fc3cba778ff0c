"""What the groups viewer, publisher and approver may do."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import connection

# Keys and webhooks' addresses are an administrator's; nothing asks for the last three yet.
ADMINISTRATORS = {
    "view_apikey",
    "manage_apikey",
    "view_webhookdelivery",
    "view_canary",
    "view_shadow",
    "view_replicamodel",
}
VIEWER = {
    "view_registeredmodel",
    "view_modelversion",
    "view_activation",
    "view_replica",
    "view_batchjob",
    "try_modelversion",
}
BEYOND = {"download_modelversion", "start_batchjob", "view_predictionlog"}
HELD = {
    "viewer": VIEWER,
    "publisher": VIEWER | BEYOND | {"publish_modelversion", "change_registeredmodel"},
    "approver": VIEWER | BEYOND | {"activate_modelversion", "override_check"},
}


def make_groups() -> None:
    """Make the groups, which a test that empties every table takes away."""
    editor = SimpleNamespace(connection=connection)
    import_module("models_registry.migrations.0012_groups_for_people").make_groups(apps, editor)
    import_module("models_registry.migrations.0025_groups_know_batches_and_the_log").add_permissions(apps, editor)


def held(name: str) -> set[str]:
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


@pytest.mark.database
@pytest.mark.parametrize("name", HELD)
def test_a_group_holds_its_permissions(db, name):
    make_groups()
    assert held(name) == HELD[name]


def test_each_permission_is_a_groups_or_administrators(db):
    made = set(Permission.objects.filter(content_type__app_label="models_registry").values_list("codename", flat=True))
    assert made == set().union(*HELD.values()) | ADMINISTRATORS


@pytest.mark.parametrize("codename", ["view_apikey", "view_replica"])
def test_a_group_that_people_changed_is_left_alone(db, codename):
    Group.objects.filter(name="viewer").delete()
    viewer = Group.objects.create(name="viewer")
    viewer.permissions.add(Permission.objects.get(codename=codename))
    make_groups()
    assert held("viewer") == {codename}
