"""Replays through the registry's API."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from models_registry import services
from tests.mlapi.test_api import Caller
from tests.support.registry import version

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller():
    first = version("m", 1, sample={"instances": [[1.0, 2.0]]})
    version("m", 2)
    services.activate(first, by="ann")
    return Caller("view_registeredmodel", "activate_modelversion")


def test_replay_is_asked_for_and_waited_for(caller):
    made = caller.post("/api/models/m/replays", {"version": 2, "rows": 10})
    assert made.status_code == 201
    assert (made.json()["state"], made.json()["source"], made.json()["compared_with"]) == ("waiting", "sample", 1)
    found = caller.get(f"/api/models/m/replays/{made.json()['id']}?wait_seconds=1")
    assert (found.status_code, found.json()["state"]) == (200, "waiting")


def test_table_is_uploaded(caller):
    table = SimpleUploadedFile("rows.csv", b"0,1\n1,2\n3,4\n")
    made = caller.client.post("/api/models/m/replays", {"version": "2", "input": table}, headers=caller.headers)
    assert (made.status_code, made.json()["source"]) == (201, "file")


BAD_TABLES = {
    "no table": ("rows.txt", b"x"),
    "no rows": ("rows.csv", b"0,1\n"),
    "no Parquet": ("rows.parquet", b"PAR1 nonsense"),
    "no JSON": ("rows.jsonl", b"{"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_file_that_is_no_table_is_refused(case, caller):
    name, content = BAD_TABLES[case]
    body = {"version": "2", "input": SimpleUploadedFile(name, content)}
    made = caller.client.post("/api/models/m/replays", body, headers=caller.headers)
    assert (made.status_code, made.json()["code"]) == (400, "invalid_request")


REFUSED = [
    ({"version": 3}, 404, "unknown_version"),
    ({"version": 2, "rows": 0}, 400, "invalid_request"),
    ({"rows": 5}, 400, "invalid_request"),
    ({"version": 1}, 400, "invalid_request"),
]


@pytest.mark.parametrize(("body", "status", "code"), REFUSED)
def test_replay_that_cannot_be_run_is_told(body, status, code, caller):
    answer = caller.post("/api/models/m/replays", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_replay_of_another_model_is_unknown(caller):
    number = caller.post("/api/models/m/replays", {"version": 2}).json()["id"]
    version("other", 1)
    answer = caller.get(f"/api/models/other/replays/{number}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_replay")


@pytest.mark.parametrize("what", ["replays", "batches"])
@pytest.mark.parametrize("number", ["champion", "0", "1e3", "-1"])
def test_replay_or_batch_has_a_number(what, number, caller):
    assert caller.get(f"/api/models/m/{what}/{number}").status_code == 404


def test_replay_needs_the_permission_to_activate(caller):
    viewer = Caller("view_registeredmodel", name="viewer")
    assert viewer.post("/api/models/m/replays", {"version": 2}).status_code == 403
