"""The admin's pages of history and of a version, and what holds for every page."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.urls import reverse
from rest_framework.authtoken.models import Token

from models_registry import services
from models_registry.admin.access import GroupAdmin as AccessGroupAdmin
from models_registry.admin.access import take_over
from models_registry.models import ApiKey, ModelVersion, RegisteredModel
from tests.models_registry.admin_pages import ADVICE, VIEW, logged_in, page, replica
from tests.support.registry import version

pytestmark = pytest.mark.django_db


@pytest.fixture
def march(digits) -> RegisteredModel:
    """Return digits with version 1 live from 1 March, 2 from 10 March."""
    services.activate(digits.versions.get(number=2), by="bob", reason="better")
    for generation, day in ((1, 1), (2, 10)):
        digits.activations.filter(generation=generation).update(activated_at=datetime(2026, 3, day, 12, tzinfo=UTC))
    return digits


def test_history_says_that_nothing_was_live(march, admin_client):
    services.deactivate(services.get_model("digits"), by="bob")
    march.activations.filter(generation=3).update(activated_at=datetime(2026, 3, 20, 12, tzinfo=UTC))
    for moment, answer in (("2026-03-20T11:59:59", "digits version 2."), ("2026-03-20T12:00", "digits (no version).")):
        shown = admin_client.get(page("activation_changelist"), {"live_at": moment}).content.decode()
        assert answer in " ".join(shown.split())


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        ("2026-03-01T11:59:59", "No version was active"),
        ("2026-03-01T12:00:00", "digits version 1."),
        ("2026-03-10T11:59:59", "digits version 1."),
        ("2026-03-10T12:00", "digits version 2."),
        ("2030-01-01", "digits version 2."),
        ("2026-02-31T00:00:00", "is not a valid time"),
        ("soon", "is not a valid time"),
        ("0001-01-01T00:00+14:00", "is not a valid time"),
    ],
)
def test_history_says_what_was_live_at_a_moment(moment, answer, march, admin_client):
    shown = admin_client.get(page("activation_changelist"), {"live_at": moment}).content.decode()
    assert answer in " ".join(shown.split())


def test_history_gives_from_until_by_whom_and_why(march, admin_client):
    shown = admin_client.get(page("activation_changelist")).content.decode()
    for word in ("2026-03-01 12:00:00 UTC", "2026-03-10 12:00:00 UTC", "now", "bob", "better", "after version 1"):
        assert word in shown
    assert shown.count("2026-03-10 12:00:00 UTC") == 2, "the end of one is the beginning of the next"


def test_a_version_shows_all_that_the_check_saw(admin_client):
    target = version(
        "digits",
        inspection={
            "format": "joblib",
            "globals": ["sklearn.linear_model._base.LinearRegression"],
            "called": [],
            "versions": {"scikit-learn": ["1.4.2"]},
            "claimed_bytes": 2_500_000,
            "outline": ["Pipeline", "  scale: StandardScaler"],
            "problems": [],
            "version_verdict": "Trained with another scikit-learn.",
        },
        report={
            "passed": True,
            "load_seconds": 0.25,
            "row_milliseconds": 0.5,
            "warnings": ["It is slow."],
            "versions": {"numpy": "2.4.6"},
            "acceleration": {"kind": "onnx64", "description": "ONNX, float64: 24 × faster"},
        },
        sample={"instances": [[1.5, 2.0]], "predictions": [7]},
        sample_is_own=True,
        override_reason=ADVICE,
        published_by="ann",
    )
    shown = admin_client.get(page("modelversion_change", target.pk)).content.decode()
    for word in (
        target.digest,
        "digits/model.joblib",
        "100 bytes",
        "published",
        "LinearRegression",
        "1.4.2",
        "2.5 MB",
        "  scale: StandardScaler",
        "Trained with another scikit-learn.",
        "250 ms",
        "500 µs",
        "It is slow.",
        "numpy 2.4.6",
        "ONNX, float64: 24 × faster",
        "x0",
        "1.5",
        "These come from the first validation",
        ADVICE,
    ):
        assert word in shown, word


def test_a_rejected_version_says_why_before_anything_else(digits, admin_client):
    shown = admin_client.get(page("modelversion_change", digits.versions.get(number=3).pk)).content.decode()
    assert shown.index("It names os.system.") < shown.index("SHA-256")


def test_artifacts_own_words_are_shown_as_text(admin_client):
    hostile = "<script>alert(1)</script>"
    target = version(
        "digits",
        state="rejected",
        reason=hostile,
        metrics={hostile: 1},
        description=hostile,
        storage_key=f"digits/{hostile}.joblib",
        inspection={
            "globals": [hostile],
            "outline": [hostile],
            "problems": [hostile],
            "versions": {hostile: [hostile]},
        },
        sample={"instances": [{hostile: hostile}], "predictions": [hostile]},
        report={hostile: {hostile: hostile}},
    )
    for url in (
        page("modelversion_change", target.pk),
        page("modelversion_changelist"),
        page("registeredmodel_change", target.model_id),
    ):
        content = admin_client.get(url).content.decode()
        assert hostile not in content
        assert "&lt;script&gt;alert(1)" in content


def test_version_page_refreshes_until_its_verdict_only(digits):
    client = logged_in(*VIEW)
    for state, complete in (("found", "no"), ("checking", "no"), ("ready", "final"), ("rejected", "final")):
        ModelVersion.objects.filter(number=3).update(state=state)
        url = page("modelversion_live", digits.versions.get(number=3).pk)
        response = client.get(url)
        assert "no-store" in response["Cache-Control"]
        assert f'data-complete="{complete}"' in response.content.decode()
        assert url in client.get(page("modelversion_change", digits.versions.get(number=3).pk)).content.decode()
    assert logged_in(name="bea").get(url).status_code == 403


def test_a_version_whose_check_is_postponed_says_why(digits):
    ModelVersion.objects.filter(number=3).update(state="found", reason="The disk is full.")
    content = logged_in(*VIEW).get(page("modelversion_change", digits.versions.get(number=3).pk)).content.decode()
    assert "The validation is postponed.</strong> The disk is full." in content
    assert "within seconds" not in content


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("registeredmodel_changelist", ["Models"]),
        ("registeredmodel_change", ["Models", "digits"]),
        ("registeredmodel_deactivate", ["Models", "digits"]),
        ("modelversion_changelist", ["Versions"]),
        ("modelversion_change", ["Versions", "digits 1"]),
        ("activation_changelist", ["History"]),
        ("activation_change", ["History", "digits: version 1"]),
        ("replica_changelist", ["Replicas"]),
        ("replica_change", ["Replicas", "box:1"]),
        ("apikey_add", ["API keys"]),
        ("apikey_change", ["API keys", "web shop (mlapi_key…)"]),
    ],
)
def test_breadcrumbs_use_sidebar_words_and_real_names(name, way, digits, admin_client):
    replica(digits, 1, 1, generation=1)
    key, _ = services.create_key("web shop", by="ann")
    ApiKey.objects.update(prefix="mlapi_key")
    rows = {
        "registeredmodel": digits.pk,
        "modelversion": digits.versions.get(number=1).pk,
        "activation": digits.activations.get().pk,
        "replica": "r1",
        "apikey": key.pk,
    }
    kind, view = name.split("_", 1)
    shown = admin_client.get(page(name, *([rows[kind]] if view not in ("changelist", "add") else [])))
    header = re.search(r'<h1 class="reg-way.*?</h1>', shown.content.decode(), re.DOTALL)
    steps = re.findall(r"<a href=[^>]*>([^<]+)</a>", header[0])
    assert steps == ["Model registry", *way]


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("auth_user_changelist", ["Users"]),
        ("auth_user_add", ["Users"]),
        ("auth_user_change", ["Users", "ann"]),
        ("auth_user_delete", ["Users", "ann"]),
        ("auth_user_history", ["Users", "ann"]),
        ("auth_user_password_change", ["Users", "ann"]),
        ("auth_group_changelist", ["Groups"]),
        ("auth_group_add", ["Groups"]),
        ("auth_group_change", ["Groups", "a few"]),
        ("auth_group_delete", ["Groups", "a few"]),
        ("authtoken_tokenproxy_changelist", ["API tokens"]),
        ("authtoken_tokenproxy_add", ["API tokens"]),
        ("authtoken_tokenproxy_delete", ["API tokens", "Token of ann"]),
    ],
)
def test_djangos_pages_have_the_same_first_breadcrumb(address, way, admin_client):
    user = User.objects.create_user("ann")
    group = Group.objects.create(name="a few")
    Token.objects.create(user=user)
    row = {"auth_user": user.pk, "auth_group": group.pk, "authtoken_tokenproxy": user.pk}
    of = address.rsplit("_", 2 if address.endswith("password_change") else 1)[0]
    is_of_a_row = not address.endswith(("changelist", "add"))
    shown = admin_client.get(reverse(f"admin:{address}", args=[row[of]] if is_of_a_row else []))
    assert shown.status_code == 200
    header = re.search(r'<h1 class="reg-way.*?</h1>', shown.content.decode(), re.DOTALL)
    links = re.findall(r"<a href=\"([^\"]*)\"[^>]*>([^<]+)</a>", header[0])
    assert [text for _, text in links] == ["Model registry", *way]
    assert all(admin_client.get(link).status_code in (200, 302) for link, _ in links)


def test_a_projects_own_pages_of_users_stay():
    class OwnPage(UserAdmin):
        pass

    site = AdminSite(name="theirs")
    site.register(User, OwnPage)
    site.register(Group, GroupAdmin)
    take_over(site)
    assert type(site.get_model_admin(User)) is OwnPage
    assert type(site.get_model_admin(Group)) is AccessGroupAdmin
    assert not site.is_registered(Token)


@pytest.mark.parametrize("name", ["registeredmodel", "modelversion", "activation", "replica"])
def test_lists_answer_empty_searched_and_filtered(name, admin_client):
    empty = admin_client.get(page(f"{name}_changelist"))
    assert empty.status_code == 200
    assert "reg-empty" in empty.content.decode()
    first = version("digits", 1)
    services.activate(first, by="ann")
    replica(first.model, 1, 1, generation=1)
    assert "reg-empty" not in admin_client.get(page(f"{name}_changelist")).content.decode()
    if name != "replica":
        assert "Nothing matches" in admin_client.get(page(f"{name}_changelist"), {"q": "zzz"}).content.decode()


def test_unknown_rows_and_huge_numbers_are_no_server_error(admin_client):
    for url in (
        page("registeredmodel_change", 10**30),
        page("modelversion_change", "x"),
        page("registeredmodel_live", 10**30),
        page("modelversion_activate", 10**30),
        page("registeredmodel_roll_back", 77),
    ):
        assert admin_client.get(url).status_code in (302, 404), url


def test_the_overview_shows_what_is_live(digits, admin_client):
    replica(digits, 1, 1, generation=1)
    shown = admin_client.get("/admin/").content.decode()
    assert "The one live replica serves version 1." in shown
    assert "the first" in shown


@pytest.mark.parametrize("url", ["/admin/auth/user/", "/admin/auth/group/", "/admin/authtoken/tokenproxy/"])
def test_access_is_managed_in_the_same_look(url, admin_client):
    content = admin_client.get(url).content.decode()
    assert "unfold" in content
