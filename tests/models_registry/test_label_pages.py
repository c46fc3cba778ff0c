"""Aliases and tags are changed in the admin too, and a name leads to its page."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from models_registry import services
from models_registry.admin.labels import TagsField
from tests.models_registry.test_admin import VIEW, logged_in, page, told
from tests.support.registry import version

pytestmark = pytest.mark.django_db


@pytest.fixture
def churn():
    """Return version 2 of a model whose version 1 is the champion."""
    version("churn", 1)
    second = version("churn", 2)
    services.set_aliases(second.model, {"champion": 1, "first": 1, "next": 2}, by="bea")
    return second


def aliases() -> dict[str, int]:
    return services.get_model("churn").aliases


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("next", {"champion": 1, "first": 1, "next": 2}),
        ("next, champion", {"champion": 2, "first": 1, "next": 2}),
        ("champion challenger", {"champion": 2, "challenger": 2, "first": 1}),
        ("", {"champion": 1, "first": 1}),
    ],
)
def test_the_aliases_of_a_version_are_those_typed(churn, typed, expected):
    client = logged_in(*VIEW, "change_registeredmodel")
    client.post(page("modelversion_aliases", churn.pk), {"aliases": typed})
    assert aliases() == expected


def test_the_page_shows_the_aliases_of_its_version_alone(churn):
    shown = logged_in(*VIEW).get(page("modelversion_change", churn.pk)).content.decode()
    assert '<span class="reg-tag">next</span>' in shown
    assert "champion" not in shown


def test_a_wrong_alias_is_told_and_changes_nothing(churn):
    client = logged_in(*VIEW, "change_registeredmodel")
    answer = client.post(page("modelversion_aliases", churn.pk), {"aliases": "best, 7"})
    assert "'7' is not an alias" in told(answer)
    assert aliases() == {"champion": 1, "first": 1, "next": 2}


def test_aliases_need_the_right_to_change(churn):
    assert logged_in(*VIEW).post(page("modelversion_aliases", churn.pk), {"aliases": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("typed", "tags"),
    [
        ("team: risk\n\n source: a: b ", {"team": "risk", "source": "a: b"}),
        ("pii\nteam: risk", ["pii", "team: risk"]),
        ("pii", ["pii"]),
        ("", []),
    ],
)
def test_tags_are_lines(churn, typed, tags):
    services.set_tags(churn.model, ["old"], by="bea")
    client = logged_in(*VIEW, "change_registeredmodel")
    client.post(page("registeredmodel_settings", churn.model_id), {"policy": "manual", "tags": typed})
    assert services.get_model("churn").tags == tags


@pytest.mark.parametrize("tags", [["team: risk"], {"team": "risk"}, {}, []])
def test_tags_that_nobody_changes_keep_their_form(churn, tags):
    services.set_tags(churn.model, tags, by="bea")
    client = logged_in(*VIEW, "change_registeredmodel")
    shown = client.get(page("registeredmodel_change", churn.model_id)).context["form"]
    client.post(
        page("registeredmodel_settings", churn.model_id), {"policy": "latest", "tags": shown["tags"].value() or ""}
    )
    model = services.get_model("churn")
    assert (model.policy, model.tags) == ("latest", tags)


@pytest.mark.parametrize(
    ("path", "status"), [("churn/", 302), ("churn/?version=2", 302), ("churn/?version=3", 404), ("none/", 404)]
)
def test_a_name_leads_to_its_page(churn, path, status):
    answer = logged_in(*VIEW).get(f"/admin/models_registry/registeredmodel/named/{path}")
    assert answer.status_code == status
    if status == 302:
        right = page("modelversion_change", churn.pk) if "=" in path else page("registeredmodel_change", churn.model_id)
        assert answer["Location"] == right


def test_too_long_aliases_are_told(churn):
    client = logged_in(*VIEW, "change_registeredmodel")
    answer = client.post(page("modelversion_aliases", churn.pk), {"aliases": "a" * 2001})
    assert "The aliases were not changed. Ensure this value has at most 2000 characters" in told(answer)


@pytest.mark.parametrize(
    "tags", [["a: b", "c: d"], {"k": "two\nlines"}, {"team:x": "risk"}, {"k": ""}, ["[x]"], {"team": "risk"}, ["pii"]]
)
def test_tags_that_no_lines_say_are_json(tags):
    field = TagsField(required=False)
    assert field.clean(field.prepare_value(tags)) == tags


def test_broken_json_of_tags_is_told():
    with pytest.raises(ValidationError, match="is read as JSON"):
        TagsField(required=False).clean('{"team": ')
