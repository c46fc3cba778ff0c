"""Four eyes: who published a version does not activate it, where the setting says so."""

from __future__ import annotations

import pytest
from django.urls import reverse

from models_registry import services
from models_registry.errors import NotActivatable
from models_registry.models import Activation
from tests.models_registry.test_admin import VIEW, logged_in
from tests.support.registry import version

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("by", ["ann", "ann (API)"])
@pytest.mark.parametrize("publisher", ["ann", "ann (API)"])
def test_the_publisher_may_not_activate(settings, publisher, by):
    settings.MODELS_FOUR_EYES = True
    mine = version("churn", 1, published_by=publisher)
    with pytest.raises(NotActivatable, match="ann published churn 1"):
        services.activate(mine, by=by)
    assert services.activate(mine, by="bob") is not None


@pytest.mark.parametrize("publisher", ["ann", ""])
def test_without_the_setting_anybody_may(settings, publisher):
    settings.MODELS_FOUR_EYES = False
    assert services.activate(version("churn", 1, published_by=publisher), by="ann") is not None


def test_the_publisher_may_roll_back(settings):
    first, second = version("churn", 1, published_by="ann"), version("churn", 2, published_by="ann")
    for one in (first, second):
        model = services.get_model("churn")
        services.activate(services.get_version(model, one.number), by="bob")
    settings.MODELS_FOUR_EYES = True
    assert services.roll_back(services.get_model("churn"), by="ann").kind == Activation.Kind.ROLLBACK


def test_what_nobody_published_anybody_activates(settings):
    settings.MODELS_FOUR_EYES = True
    assert services.activate(version("churn", 1), by="ann") is not None


@pytest.mark.parametrize(("name", "is_offered"), [("ann", False), ("bob", True)])
def test_the_page_says_so_before_it_is_asked(settings, name, is_offered):
    settings.MODELS_FOUR_EYES = True
    mine = version("churn", 1, published_by="ann (API)")
    page = logged_in(*VIEW, "activate_modelversion", name=name).get(
        reverse("admin:models_registry_modelversion_activate", args=[mine.pk])
    )
    assert page.context["may_go_on"] is is_offered
    assert ("ann published churn 1 and may not activate it" in page.content.decode()) is not is_offered


def test_the_page_of_a_rollback_is_not_limited(settings):
    for number in (1, 2):
        services.activate(version("churn", number, published_by="ann"), by="bob")
    settings.MODELS_FOUR_EYES = True
    address = reverse("admin:models_registry_registeredmodel_roll_back", args=[services.get_model("churn").pk])
    assert logged_in(*VIEW, "activate_modelversion").get(address).context["may_go_on"]
