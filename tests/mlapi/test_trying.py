"""Asking a version that is not active, through the API, and comparing two in the admin."""

from __future__ import annotations

import json
from importlib import import_module
from types import SimpleNamespace

import pandas as pd
import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from sklearn.linear_model import LogisticRegression

from models_registry import services
from tests.support.estimators import save
from tests.support.registry import ready_version

FRAME = pd.DataFrame({"age": [20.0, 30, 40, 50], "income": [1.0, 2, 3, 4]})
ROW = {"age": 20, "income": 1}


@pytest.fixture
def versions(db, storage_directory, tmp_path):
    """Return two validated versions of a model, none of them active or loaded anywhere."""
    return [
        ready_version(
            LogisticRegression().fit(FRAME, labels),
            tmp_path,
            "churn",
            sample={"instances": FRAME.to_dict("records"), "predictions": labels},
            metrics={"accuracy": accuracy},
            inspection={"versions": {"numpy": "2.4.6"}},
        )
        for labels, accuracy in ((["b", "b", "a", "a"], 0.9), (["a", "a", "b", "b"], 0.91))
    ]


@pytest.fixture
def groups(db):
    """Make the three groups, which a test that empties every table takes away."""
    migration = import_module("models_registry.migrations.0012_groups_for_people")
    migration.make_groups(apps, SimpleNamespace(connection=connection))


@pytest.fixture
def user(client, groups):
    """Return a person who may view and try, logged in."""
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user


def ask(client, body, number=2, kind="application/json"):
    content = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"/api/models/churn/versions/{number}/try", content, content_type=kind)


def test_inactive_version_answers_as_a_prediction_does(client, user, versions):
    single = ask(client, {"features": ROW, "probabilities": True}).json()
    assert (single["prediction"], single["model"], single["version"]) == ("a", "churn", 2)
    assert single["probabilities"].keys() == {"a", "b"}
    assert single["confidence"] == single["probabilities"]["a"]
    many = ask(client, {"instances": [ROW | {"id": 1}, ROW], "ignore_extra": True}).json()
    assert many["predictions"] == ["a", "a"]
    assert "probabilities" not in many
    table = ask(client, "income,age\n1,20\n4,50\n", kind="text/csv").json()
    assert table["predictions"] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"features": {"age": 20}}, "missing_feature"),
        ({"features": {"age": "x", "income": 1}}, "invalid_feature"),
        ({"instances": []}, "empty_batch"),
        ({}, "missing_field"),
        ("{", "invalid_json"),
    ],
)
def test_wrong_rows_are_refused_as_by_a_prediction(client, user, versions, body, code):
    answer = ask(client, body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_it_takes_a_permission_and_a_validated_version(client, user, versions, tmp_path):
    services.publish("churn", save(LogisticRegression().fit(FRAME, [1, 2, 1, 2]), tmp_path / "3.joblib"), by="t")
    assert "passed its validation" in ask(client, {"features": ROW}, 3).json()["error"]
    assert ask(client, {"features": ROW}, 4).json()["code"] == "unknown_version"
    user.groups.clear()
    user.user_permissions.add(Permission.objects.get(codename="view_registeredmodel"))
    assert ask(client, {"features": ROW}).status_code == 403


def test_versions_stand_side_by_side(client, user, versions):
    first, second = versions
    services.activate(first, by="t")
    page = client.get(f"/admin/models_registry/modelversion/{second.pk}/compare/").content.decode()
    for words in ("version 2 and version 1", "0.91", "accuracy by version: 1: 0.9, 2: 0.91", "Feature income", "numpy"):
        assert words in page
    assert "Same file" not in page
    answers = client.get(f"/admin/models_registry/modelversion/{second.pk}/compare/answers/?with=1").content.decode()
    assert "4 of 4 predictions differ." in answers
    page = client.get(f"/admin/models_registry/modelversion/{second.pk}/compare/?with=2").content.decode()
    assert "has no other version of that number" in page


def test_equal_digests_are_told(client, user, versions):
    first, second = versions
    second.digest = first.digest
    second.save()
    page = client.get(f"/admin/models_registry/modelversion/{second.pk}/compare/?with=1").content.decode()
    assert "Same file" in page


def test_three_groups_are_made_once(groups):
    rights = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.filter(name__in=["viewer", "publisher", "approver"])
    }
    assert "publish_modelversion" in rights["publisher"] - rights["viewer"]
    assert {"activate_modelversion", "override_check"} <= rights["approver"] - rights["publisher"]
    assert {"view_modelversion", "try_modelversion"} <= rights["viewer"] & rights["publisher"] & rights["approver"]
