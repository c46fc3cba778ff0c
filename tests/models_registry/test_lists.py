"""The admin's lists: sorted by their columns, searched, and no dearer for more rows."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_registry import services
from models_registry.admin.base import MODELS_OFFERED
from models_registry.models import ModelVersion, RegisteredModel, ReplicaModel, ReplicaState
from tests.models_registry.test_admin import VIEW, logged_in, page
from tests.support.many import fill, pages_of, stay_alive
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def queries_by_page(client, busy: RegisteredModel) -> dict[str, int]:
    found = {}
    for name, address in pages_of(busy).items():
        stay_alive()
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200, name
        found[name] = len(queries)
    return found


def test_no_page_asks_more_for_more_rows():
    client = logged_in(*VIEW)
    few = queries_by_page(client, fill(3, 3))
    many = queries_by_page(client, fill(60, 60))
    assert many == few
    assert max(few.values()) <= 20


@pytest.fixture
def three() -> list[RegisteredModel]:
    """Return three models whose order by name, version, number of versions and activation differs."""
    for name, numbers, active, hours in (("a", [1, 2, 3], 2, 1), ("b", [1], 1, 3), ("c", [1, 2, 3, 4], 3, 2)):
        for number in numbers:
            version(name, number, size_bytes=100 * number)
        services.activate(services.get_version(services.get_model(name), active), by="ann")
        services.get_model(name).activations.update(activated_at=timezone.now() - timedelta(hours=hours))
    RegisteredModel.objects.filter(name="c").update(policy="latest")
    return list(RegisteredModel.objects.all())


@pytest.mark.parametrize(
    ("column", "up", "down"),
    [
        ("title", "abc", "cba"),
        ("active", "bac", "cab"),
        ("versions_count", "bac", "cab"),
        ("activated", "bca", "acb"),
        ("who_decides", "cba", "bac"),
    ],
)
def test_models_are_sorted_by_a_column(three, column, up, down):
    client = logged_in(*VIEW)
    place = admin.site.get_model_admin(RegisteredModel).list_display.index(column)
    for asked, expected in ((place, up), (f"-{place}", down)):
        rows = client.get(page("registeredmodel_changelist"), {"o": asked}).context["cl"].result_list
        assert "".join(model.name for model in rows) == expected


@pytest.mark.parametrize("name", ["modelversion", "registeredmodel", "activation", "replica", "batchjob", "apikey"])
def test_each_sorted_column_answers(three, name):
    client = logged_in(*VIEW, "view_batchjob", "view_apikey")
    listed = client.get(page(f"{name}_changelist")).context["cl"]
    columns = [place for place, field in enumerate(listed.list_display) if listed.get_ordering_field(field)]
    assert len(columns) >= 3
    for place in columns:
        # Two in a row, as a second click on another column asks for.
        assert client.get(page(f"{name}_changelist"), {"o": f"-{place}.{columns[0]}"}).status_code == 200


def test_a_list_reads_no_details_of_a_version(three):
    with CaptureQueriesContext(connection) as queries:
        logged_in(*VIEW).get(page("modelversion_changelist"))
    (rows,) = [query["sql"] for query in queries if '"models_registry_modelversion"."metrics"' in query["sql"]]
    assert '"report"' not in rows
    assert '"signature"' not in rows


HIDING = {
    "registeredmodel": ({"archived": "yes"}, "In use"),
    "modelversion": ({"state": "deleted"}, "All except deleted"),
}


@pytest.mark.parametrize("name", HIDING)
def test_only_a_search_or_a_filter_can_be_cleared(three, name):
    version("c", 9, "deleted")
    services.archive(services.get_model("a"), by="ann")
    client, (chosen, by_default) = logged_in(*VIEW), HIDING[name]
    for asked, is_found in (({}, False), ({"o": "-1"}, False), ({"q": "c"}, True), (chosen, True)):
        text = client.get(page(f"{name}_changelist"), asked).content.decode()
        assert ("found (<a href" in text) == is_found, asked
        assert by_default in text


@pytest.mark.parametrize(("chosen", "offered"), [("", 0), ("?model__id__exact={}", 1)])
def test_the_filter_offers_no_endless_list_of_models(chosen, offered):
    fill(MODELS_OFFERED + 1, 1)
    last = RegisteredModel.objects.latest("name")
    listed = logged_in(*VIEW).get(page("modelversion_changelist") + chosen.format(last.pk)).context["cl"]
    filters = [item for item in listed.filter_specs if item.title == "model"]
    assert [len(item.lookup_choices) for item in filters] == [offered] * offered
    assert listed.result_count == (1 if chosen else MODELS_OFFERED + 1)


def test_the_overview_shows_a_failing_model_among_many():
    fill(MODELS_OFFERED + 20, 1)
    last = RegisteredModel.objects.latest("name")
    ReplicaModel.objects.filter(model=last).update(state=ReplicaState.FAILED, reason="No such file.")
    stay_alive()
    rows = logged_in(*VIEW).get("/admin/").context["rows"]
    assert rows[0].model == last
    assert len(rows) == 50


def test_a_replica_lists_failures_first_and_counts_the_others():
    fill(70, 1)
    last = RegisteredModel.objects.latest("name")
    ReplicaModel.objects.filter(model=last).update(state=ReplicaState.FAILED, reason="No such file.")
    text = logged_in(*VIEW).get(page("replica_changelist")).content.decode()
    assert re.search(rf"<div>{last.name} .*No such file", text)
    assert text.count("and 65 more") == text.count("15 more models: the page of a model") == 2


def test_only_a_first_administrator_sees_the_first_steps(admin_client):
    def is_shown(client) -> bool:
        return "First steps" in client.get("/admin/").content.decode()

    assert is_shown(admin_client)
    assert not is_shown(logged_in(*VIEW))
    assert not is_shown(admin_client)


# Ctrl+K


def found(client, text: str) -> list[str]:
    answer = client.get("/admin/search/", {"s": text, "extended": "1"})
    assert answer.status_code == 200
    return [item.title for item in answer.context["results"]]


@pytest.fixture
def named() -> None:
    for name in ("churn", "churn-eu", "old-churn", "digits"):
        for number in (1, 2):
            version(name, number)
    RegisteredModel.objects.filter(name="churn").update(aliases={"champion": 2})


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("churn", ["churn", "churn-eu", "old-churn"]),
        ("CHURN", ["churn", "churn-eu", "old-churn"]),
        ("digi", ["digits"]),
        ("digits/2", ["digits 2"]),
        ("digits 2", ["digits 2"]),
        ("digits:v2", ["digits 2"]),
        ("digits version 2", ["digits 2"]),
        ("churn/1", ["churn 1", "churn-eu 1", "old-churn 1"]),
        ("churn@champion", ["churn 2"]),
        ("digits/3", []),
        ("digits/99999999999999999999", []),
        ("hist", ["History"]),
        ("%", []),
        ("", []),
        ("   ", []),
        ("nothing is called so", []),
    ],
)
def test_models_and_versions_are_found(named, text, titles):
    assert found(logged_in(*VIEW), text) == titles


def test_what_is_found_is_what_the_reader_may_see(named):
    assert found(logged_in(name="bob"), "digits/1") == []
    assert found(logged_in("view_registeredmodel", name="eve"), "digits/1") == []
    assert found(logged_in("view_registeredmodel", name="joe"), "digits") == ["digits"]
    assert found(logged_in(*VIEW, name="sue"), "upload") == []
    assert found(logged_in(*VIEW, "publish_modelversion", name="tim"), "upload") == ["Upload a model"]


def test_registered_model_is_found_at_once(named):
    client = logged_in(*VIEW)
    assert found(client, "fresh") == []
    version("fresh", 1)
    assert found(client, "fresh") == ["fresh"]
    ModelVersion.objects.filter(model__name="fresh").delete()
    RegisteredModel.objects.filter(name="fresh").delete()
    assert found(client, "fresh") == []
