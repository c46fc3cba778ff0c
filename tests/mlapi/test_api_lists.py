"""The lists of the registry's API: in pages, and no dearer for more models and versions."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry import services
from models_registry.models import ModelLimit, State
from tests.mlapi.test_api import Caller
from tests.support.many import fill, stay_alive
from tests.support.registry import version

pytestmark = pytest.mark.django_db
NEXT = 'rel="next"'


@pytest.fixture
def reader() -> Caller:
    return Caller("view_registeredmodel", name="reader")


def pages(caller: Caller, address: str) -> list[list[dict]]:
    """Return every page that the header Link leads to."""
    found = []
    while address:
        answer = caller.get(address)
        found.append(answer.json())
        link = answer.headers.get("Link", "")
        assert not link or link.endswith(f">; {NEXT}")
        address = link.removesuffix(f">; {NEXT}").removeprefix("<")
    return found


def queries_of(caller: Caller, address: str) -> list[str]:
    stay_alive()
    with CaptureQueriesContext(connection) as queries:
        assert caller.get(address).status_code == 200
    return [query["sql"] for query in queries.captured_queries]


LISTS = ["/api/models", "/api/models?limit=1000", "/api/models/m00000", "/api/models/m00000/versions"]


def test_no_list_asks_more_for_more_models_and_versions(reader):
    fill(2, 2)
    few = {address: len(queries_of(reader, address)) for address in LISTS}
    fill(18, 1)
    version("m00000", 1000)
    version("m00000", 1001)
    many = {address: len(queries_of(reader, address)) for address in LISTS}
    assert many == few
    assert max(few.values()) <= 10


def test_no_list_reads_the_details_of_every_version(reader):
    fill(2, 2)
    active = '"models_registry_registeredmodel"."active_version_id"'
    for address in LISTS:
        of_versions = [sql for sql in queries_of(reader, address) if active not in sql]
        assert not [sql for sql in of_versions if '"models_registry_modelversion"."report"' in sql]


def test_models_come_in_pages_by_name(reader):
    for name in ("c", "a", "e", "d", "b"):
        version(name)
    found = pages(reader, "/api/models?limit=2")
    assert [[model["name"] for model in page] for page in found] == [["a", "b"], ["c", "d"], ["e"]]
    assert [model for page in found for model in page] == reader.get("/api/models").json()
    assert "Link" not in reader.get("/api/models").headers
    assert "Link" not in reader.get("/api/models?limit=5").headers
    assert reader.get("/api/models?after=e").json() == []


def test_pages_of_archived_models_stay_with_them(reader):
    for name in ("a", "b", "c"):
        services.archive(version(name).model, by="x")
    version("d")
    found = pages(reader, "/api/models?archived=true&limit=1")
    assert [model["name"] for page in found for model in page] == ["a", "b", "c"]


def test_versions_come_in_pages_from_the_newest(reader):
    for number in range(1, 6):
        version("m", number)
    version("m", 6, state=State.DELETED)
    found = pages(reader, "/api/models/m/versions?limit=2")
    assert [[item["number"] for item in page] for page in found] == [[5, 4], [3, 2], [1]]
    assert [item for page in found for item in page] == reader.get("/api/models/m").json()["versions"]


@pytest.mark.parametrize("address", ["/api/models", "/api/models/m/versions"])
@pytest.mark.parametrize("limit", ["", "0", "-1", "1001", "ten"])
def test_a_limit_out_of_range_is_refused(reader, address, limit):
    version("m")
    answer = reader.get(f"{address}?limit={limit}")
    assert (answer.status_code, "limit" in answer.json()["error"]) == (400, True)


def test_page_holds_only_models_the_caller_may_view(reader):
    for name in ("churn", "fraud-a", "fraud-b", "price"):
        version(name)
    ModelLimit.objects.create(user=User.objects.get(username="reader"), pattern="fraud-*")
    found = pages(reader, "/api/models?limit=1")
    assert [model["name"] for page in found for model in page] == ["fraud-a", "fraud-b"]


def test_hidden_models_versions_look_like_an_unknown_models(reader):
    version("churn")
    ModelLimit.objects.create(user=User.objects.get(username="reader"), pattern="fraud-*")
    hidden, unknown = (reader.get(f"/api/models/{name}/versions") for name in ("churn", "chur"))
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.json()["error"].replace("churn", "chur") == unknown.json()["error"]
