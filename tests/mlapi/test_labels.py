"""Aliases in the place of a version's number, tags, and `PATCH /api/models/{name}`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.contrib.auth.models import Group, User
from structlog.testing import capture_logs

from mlapi import replica
from models_registry import services
from models_registry.agent.desired_state_cache import DesiredStateCache
from models_registry.models import RegisteredModel
from tests.support.estimators import constant
from tests.support.registry import version


@pytest.fixture
def publisher(client, db):
    """Return a person who may change models, logged in."""
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(Group.objects.get(name="publisher"))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    version("churn", 1)
    version("churn", 2)
    return user


def patch(client, **body):
    return client.patch("/api/models/churn", body, content_type="application/json")


def test_patch_changes_what_is_given_and_nothing_else(client, publisher):
    changed = patch(client, policy="latest", description="who leaves", tags=["sales", "sales", "weekly"])
    assert changed.status_code == 200, changed.content
    assert changed.json()["tags"] == ["sales", "weekly"]
    patch(client, tags={"team": "sales"})
    found = client.get("/api/models/churn").json()
    assert (found["policy"], found["description"], found["tags"]) == ("latest", "who leaves", {"team": "sales"})


def test_aliases_are_set_and_removed_by_name(client, publisher):
    assert patch(client, aliases={"champion": 1, "challenger": 2}).json()["aliases"] == {"champion": 1, "challenger": 2}
    assert patch(client, aliases={"champion": 2}).json()["aliases"] == {"champion": 2, "challenger": 2}
    assert patch(client, aliases={"challenger": None}).json()["aliases"] == {"champion": 2}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"aliases": {"champion": 9}}, 404, "no version 9"),
        ({"aliases": {"9": 1}}, 400, "'9' is not an alias"),
        ({"aliases": {"a b": 1}}, 400, "is not an alias"),
        ({"aliases": {"champion": "one"}}, 400, "integer"),
        ({"tags": [1]}, 400, "Tags are"),
        ({"tags": "sales"}, 400, "Tags are"),
        ({"policy": "never"}, 400, "never"),
        ({"owner": "ann"}, 400, "Unknown field"),
    ],
)
def test_a_wrong_change_is_refused_whole(client, publisher, body, status, words):
    answer = patch(client, **({"description": "new"} | body))
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert RegisteredModel.objects.get().description == ""


def test_only_kept_changes_are_logged(client, publisher, django_capture_on_commit_callbacks):
    body = {"policy": "latest", "description": "new", "card": "# New", "tags": ["new"], "aliases": {"champion": 1}}
    with capture_logs() as logs, django_capture_on_commit_callbacks(execute=True):
        assert patch(client, **body, capture_exclude=["other"]).status_code == 400
    assert [line["event"] for line in logs if line["event"].endswith("_changed")] == []
    with capture_logs() as logs, django_capture_on_commit_callbacks(execute=True):
        assert patch(client, **body, capture_percent=5).status_code == 200
    changed = {line["event"] for line in logs if line["event"].endswith("_changed")}
    assert changed == {f"{name}_changed" for name in ("policy", "description", "card", "tags", "aliases", "capture")}


def test_a_change_takes_the_permission(client, publisher):
    publisher.groups.set(Group.objects.filter(name="viewer"))
    assert patch(client, description="x").status_code == 403


def test_api_takes_an_alias_for_a_number(client, publisher):
    patch(client, aliases={"champion": 2})
    assert client.get("/api/models/churn/versions/champion").json()["number"] == 2
    unknown = client.get("/api/models/churn/versions/challenger")
    assert (unknown.status_code, "champion" in unknown.json()["error"]) == (404, True)
    publisher.groups.add(Group.objects.get(name="approver"))
    answer = client.post("/api/models/churn/activate", {"version": "champion"}, content_type="application/json")
    assert answer.json()["version"] == 2
    wrong = client.post("/api/models/churn/activate", {"version": "1x"}, content_type="application/json")
    assert "number or an alias" in wrong.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/m/versions/{}/predict", {"features": [0, 0]}),
        ("/models/m/versions/{}/invocations", {"inputs": [[0, 0]]}),
        ("/v1/models/m/versions/{}:predict", {"instances": [[0, 0]]}),
        (
            "/v2/models/m/versions/{}/infer",
            {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0, 0]}]},
        ),
    ],
)
def test_every_protocol_takes_an_alias_for_a_number(host, load, path, body):
    load(constant(1), number=3)
    replica.runtime.snapshot = replace(replica.runtime.snapshot, aliases={"m": {"champion": 3, "old": 2}})
    answer = host.post(path.format("champion"), body)
    assert (answer.status, answer.headers["x-model-version"]) == (200, "3")
    by_header = host.post("/predict", {"features": [0, 0]}, **{"X-Model-Version": "champion"})
    assert by_header.json["version"] == 3
    gone, unknown = host.post(path.format("old"), body), host.post(path.format("nobody"), body)
    assert (gone.status, b"Version 2 of 'm' is not loaded here" in gone.body) == (404, True)
    assert (unknown.status, b"no alias 'nobody'" in unknown.body) == (404, True)


def test_replicas_read_aliases_and_remember_them(db, tmp_path):
    first = version("churn", 1)
    services.activate(first, by="t")
    services.set_aliases(first.model, {"champion": 1}, by="t")
    state = services.read_desired_state()
    services.set_aliases(first.model, {"old": 1}, by="t")
    assert services.read_changes(state.revision).models["churn"].aliases == {"champion": 1, "old": 1}
    assert state.aliases == {"churn": {"champion": 1}}
    cache = DesiredStateCache(tmp_path / "state.json")
    cache.keep_all(state)
    assert DesiredStateCache(tmp_path / "state.json").recall().aliases == state.aliases
