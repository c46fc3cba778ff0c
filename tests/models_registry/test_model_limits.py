"""Rights per model: what a limit on a group or a user leaves, in the registry's API and in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from rest_framework.authtoken.models import Token

from models_registry import services
from models_registry.models import ModelLimit, RegisteredModel, Shadow
from models_registry.permissions import (
    ACTIVATE,
    PUBLISH,
    VIEW,
    Scope,
    is_limited,
    may,
    may_everywhere,
    scope_of,
    visible,
)
from tests.support.registry import version

pytestmark = pytest.mark.django_db


def person(name: str, *groups: str, limits: tuple[str, ...] = (), **values) -> User:
    """Return a member of staff in these groups; a group is limited by `publisher: fraud-*`."""
    user = User.objects.create_user(name, password="x", is_staff=True, **values)
    for text in groups:
        title, _, pattern = text.partition(": ")
        group, is_new = Group.objects.get_or_create(name=text)
        if is_new:
            group.permissions.set(Group.objects.get(name=title).permissions.all())
            ModelLimit.objects.create(group=group, pattern=pattern)
        user.groups.add(group)
    for pattern in limits:
        ModelLimit.objects.create(user=user, pattern=pattern)
    return user


@pytest.fixture
def registry() -> None:
    """Register fraud-eu and churn, each with an active version 1, a ready 2 and a rejected 3."""
    for name in ("fraud-eu", "churn"):
        first = version(name, 1)
        version(name, 2)
        version(name, 3, "rejected")
        services.activate(first, by="bob")


# What a right holds for

SCOPES = {
    "no group": ((), (), "", ""),
    "a group": (("publisher",), (), "fraud-eu churn new", ""),
    "a limited group": (("publisher: fraud-*",), (), "fraud-eu", ""),
    "an exact name": (("publisher: churn",), (), "churn", ""),
    "a name that only begins so": (("publisher: chur",), (), "", ""),
    "no model of another case": (("publisher: FRAUD-*",), (), "", ""),
    "a star in the middle": (("publisher: f*-eu",), (), "fraud-eu", ""),
    "a dot is a dot": (("publisher: ch.rn",), (), "", ""),
    "a user's limit": (("publisher",), ("churn",), "churn", ""),
    "two limits of a user": (("publisher",), ("churn", "new"), "churn new", ""),
    "both limits": (("publisher: fraud-*",), ("churn",), "", ""),
    "a group without a limit too": (("publisher: fraud-*", "publisher"), (), "fraud-eu churn new", ""),
    "two limited groups": (("publisher: fraud-*", "publisher: churn"), (), "fraud-eu churn", ""),
    "another right, limited elsewhere": (("publisher: fraud-*", "approver"), (), "fraud-eu", "fraud-eu churn new"),
}


@pytest.mark.parametrize(("groups", "limits", "publishes", "activates"), SCOPES.values(), ids=SCOPES)
def test_a_right_holds_for_the_models_that_limits_leave(registry, groups, limits, publishes, activates):
    version("new", 1)
    user = User.objects.get(pk=person("ann", *groups, limits=limits).pk)
    for right, expected in ((PUBLISH, publishes), (ACTIVATE, activates)):
        names = {name for name in ("fraud-eu", "churn", "new") if may(user, right, name)}
        assert names == set(expected.split())
        rows = visible(user, right, RegisteredModel.objects.all())
        assert set(rows.values_list("name", flat=True)) == names
        assert may_everywhere(user, right) == (names == {"fraud-eu", "churn", "new"})
        assert may(user, right) == (scope_of(user, right).sets != (frozenset(),))


def test_a_superuser_has_no_limits(registry):
    root = person("root", limits=("churn",), is_superuser=True)
    assert may(root, ACTIVATE, "fraud-eu")
    assert not is_limited(root)


def test_users_own_right_is_not_limited_by_groups(registry):
    user = person("ann", "publisher: fraud-*")
    user.user_permissions.set(Group.objects.get(name="publisher").permissions.all())
    assert may(User.objects.get(pk=user.pk), PUBLISH, "churn")


@pytest.mark.parametrize("pattern", ["", "-x", "a b", "é", "a" * 101, "a\n", "(a)", "a|b"])
def test_a_pattern_that_matches_no_name_is_refused(pattern):
    with pytest.raises(ValidationError):
        ModelLimit(user=person("ann"), pattern=pattern).full_clean()


@pytest.mark.parametrize("name", ["fraud-eu", "fraud-", "a.b"])
def test_python_and_the_database_match_alike(name):
    version(name, 1)
    for pattern in ("fraud-*", "*", "a.b", "a*b", "a?b", "fraud", "*-eu", "axb"):
        scope = Scope((frozenset({pattern}),))
        assert scope.holds(name) == RegisteredModel.objects.filter(scope.condition("name")).exists()


# Role × act × model

ROLES = {
    "viewer: fraud-*": ("viewer: fraud-*",),
    "publisher: fraud-*": ("publisher: fraud-*",),
    "approver: fraud-*": ("approver: fraud-*",),
    "approver of fraud-*, viewer": ("approver: fraud-*", "viewer"),
    "publisher": ("publisher",),
    "approver": ("approver",),
}
# For each role in the order above: its own model, then another one.
API = {
    "GET": ("", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET rollout": ("/rollout", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET version": ("/versions/2", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET card": ("/card/history", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET notes": ("/versions/2/notes/history", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET usage": ("/usage", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET traffic": ("/traffic", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET shadow": ("/shadow", "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "GET artifact": ("/versions/2/artifact", "403 403, 503 404, 503 404, 503 403, 503 503, 503 503"),
    "POST activate": ("/activate", "403 403, 403 403, 200 404, 200 403, 403 403, 200 200"),
    "POST deactivate": ("/deactivate", "403 403, 403 403, 200 404, 200 403, 403 403, 200 200"),
    "POST replays": ("/replays", "403 403, 403 403, 400 404, 400 403, 403 403, 400 400"),
    "POST try": ("/versions/3/try", "400 404, 400 404, 400 404, 400 400, 400 400, 400 400"),
    "PATCH": ("", "403 403, 200 404, 403 403, 403 403, 200 200, 403 403"),
    "POST versions": ("/versions", "403 403, 201 403, 403 403, 403 403, 201 201, 403 403"),
}
BODIES = {"POST activate": {"version": 2}, "POST replays": {"version": 2}, "PATCH": {"tags": ["x"]}}


def statuses(row: str) -> dict[str, list[str]]:
    return dict(zip(ROLES, (pair.split() for pair in row.split(", ")), strict=True))


def with_token(user: User) -> Client:
    return Client(headers={"Authorization": f"Token {Token.objects.create(user=user).key}"})


def ask(client: Client, act: str, name: str, path: str):
    method = act.partition(" ")[0].lower()
    url = f"/api/models/{name}{path}"
    if act == "POST versions":
        return client.post(url, {"artifact": SimpleUploadedFile("a.joblib", b"x")})
    if method == "get":
        return client.get(url)
    return getattr(client, method)(url, BODIES.get(act, {}), content_type="application/json")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("act", API)
def test_the_api_answers_by_role_and_model(registry, storage_directory, act, role):
    path, row = API[act]
    client = with_token(person("ann", *ROLES[role]))
    found = [str(ask(client, act, name, path).status_code) for name in ("fraud-eu", "churn")]
    assert found == statuses(row)[role]


ADMIN = {
    "model": ("get", "registeredmodel_change", None, "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "model, live": ("get", "registeredmodel_live", None, "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "version": ("get", "modelversion_change", 2, "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "compare": ("get", "modelversion_compare", 2, "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "activate": ("get", "modelversion_activate", 2, "403 404, 403 404, 200 404, 200 403, 403 403, 200 200"),
    "activate, yes": ("post", "modelversion_activate", 2, "403 404, 403 404, 302 404, 302 403, 403 403, 302 302"),
    "deactivate": ("get", "registeredmodel_deactivate", None, "403 404, 403 404, 200 404, 200 403, 403 403, 200 200"),
    "promote": ("post", "registeredmodel_promote", None, "403 404, 403 404, 302 404, 302 403, 403 403, 302 302"),
    "settings": ("post", "registeredmodel_settings", None, "403 404, 302 404, 403 404, 403 403, 302 302, 403 403"),
    "card": ("get", "registeredmodel_card_history", None, "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "notes": ("get", "modelversion_notes_history", 2, "200 404, 200 404, 200 404, 200 200, 200 200, 200 200"),
    "restore card": (
        "post",
        "registeredmodel_card_history",
        None,
        "403 404, 302 404, 403 404, 403 403, 302 302, 403 403",
    ),
    "restore notes": ("post", "modelversion_notes_history", 2, "403 404, 302 404, 403 404, 403 403, 302 302, 403 403"),
    "check again": ("post", "modelversion_check_again", 3, "403 404, 302 404, 403 404, 403 403, 302 302, 403 403"),
    "log": ("get", "registeredmodel_log", None, "403 404, 200 404, 200 404, 200 403, 200 200, 200 200"),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("act", ADMIN)
def test_the_admin_answers_by_role_and_model(registry, act, role):
    method, page, number, row = ADMIN[act]
    client = signed_in(person("ann", *ROLES[role]))
    found = []
    for name in ("fraud-eu", "churn"):
        model = RegisteredModel.objects.get(name=name)
        target = model.versions.get(number=number) if number else model
        data = {"seen_generation": model.generation, "reason": "x"} if method == "post" else {}
        answer = getattr(client, method)(reverse(f"admin:models_registry_{page}", args=[target.pk]), data)
        found.append(str(answer.status_code))
    assert found == statuses(row)[role]


def test_a_page_offers_the_download_of_the_limit_alone(registry):
    client = signed_in(person("ann", "publisher: fraud-*", "viewer"))
    offered = {}
    for name in ("fraud-eu", "churn"):
        page = reverse("admin:models_registry_modelversion_change", args=[services.get_model(name).active_version_id])
        offered[name] = f"/api/models/{name}/versions/1/artifact" in client.get(page).content.decode()
    assert offered == {"fraud-eu": True, "churn": False}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


LISTS = ("registeredmodel_changelist", "modelversion_changelist", "activation_changelist", "activation_export")


@pytest.mark.parametrize("page", [f"admin:models_registry_{name}" for name in LISTS] + ["admin:index"])
def test_lists_show_the_models_of_the_limit(registry, page):
    text = signed_in(person("ann", "publisher: fraud-*")).get(reverse(page)).content.decode()
    assert "fraud-eu" in text
    assert "churn" not in text


def test_search_and_upload_know_the_models_of_the_limit(registry):
    client = signed_in(person("ann", "publisher: fraud-*"))
    for text in ("churn", "churn/1"):
        assert client.get("/admin/search/", {"s": text}).context["results"] == []
    assert "churn" not in client.get(reverse("admin:models_registry_modelversion_upload")).content.decode()


def test_the_api_lists_the_models_of_the_limit(registry):
    found = with_token(person("ann", "viewer: fraud-*")).get("/api/models")
    assert [model["name"] for model in found.json()] == ["fraud-eu"]


def test_a_hidden_model_is_answered_as_an_unknown_one(registry):
    client = with_token(person("ann", "viewer: fraud-*"))
    answers = [ask(client, "GET", name, "").json() for name in ("churn", "chur", "fraud-e")]
    assert [answer["error"] for answer in answers] == [
        "No model is called 'churn'.",
        "No model is called 'chur'.",
        "No model is called 'fraud-e'.",
    ]


def test_a_limit_names_itself_where_it_refuses(registry, storage_directory):
    client = with_token(person("ann", "publisher: fraud-*"))
    error = ask(client, "POST versions", "churn", "/versions").json()["error"]
    assert "limited to fraud-*" in error


def test_acts_on_all_models_need_an_unlimited_right(registry, storage_directory):
    for user, status in ((person("ann", "publisher: fraud-*"), 403), (person("bob", "publisher"), 200)):
        assert with_token(user).post("/api/sync").status_code == status
        discovered = signed_in(user).post(reverse("admin:models_registry_registeredmodel_discover"))
        assert discovered.status_code == (302 if status == 200 else status)


def test_shadow_override_needs_the_right_for_its_model(registry):
    version("churn", 4, override_reason="No sample.")
    version("fraud-eu", 4, override_reason="No sample.")
    activators = Group.objects.create(name="activators")
    activators.permissions.set(
        Group.objects.get(name="approver").permissions.exclude(codename="override_check").values_list("pk", flat=True)
    )
    user = person("ann", "approver: fraud-*")
    user.groups.add(activators)
    client = signed_in(user)
    for name in ("fraud-eu", "churn"):
        model = services.get_model(name)
        page = reverse("admin:models_registry_registeredmodel_start_shadow", args=[model.pk])
        given = {"reason": "compared", "override": "on", "seen_generation": model.generation}
        client.post(f"{page}?version=4&percent=20", given)
    assert list(Shadow.objects.values_list("model__name", flat=True)) == ["fraud-eu"]


def test_limits_are_set_on_the_page_of_a_group(registry):
    root = signed_in(person("root", is_superuser=True))
    group = Group.objects.get(name="viewer")
    page = reverse("admin:auth_group_change", args=[group.pk])
    prefix = "model_limits"
    assert f'name="{prefix}-TOTAL_FORMS"' in root.get(page).content.decode()
    form = {
        "name": "viewer",
        "permissions": list(group.permissions.values_list("pk", flat=True)),
        f"{prefix}-TOTAL_FORMS": 1,
        f"{prefix}-INITIAL_FORMS": 0,
        f"{prefix}-0-pattern": "fraud-*",
    }
    assert root.post(page, form).status_code == 302
    assert list(group.model_limits.values_list("pattern", flat=True)) == ["fraud-*"]
    assert not may(User.objects.get(pk=person("ann", "viewer").pk), VIEW, "churn")


# HEAD


@pytest.mark.parametrize("path", ["models", "models/churn", "models/churn/versions", "models/churn/versions?limit=1"])
@pytest.mark.parametrize("groups", [(), ("viewer: fraud-*",), ("viewer",)])
def test_head_needs_the_permission_of_get(registry, path, groups):
    key = Token.objects.create(user=person("ann", *groups)).key
    client = Client(headers={"Authorization": f"Bearer {key}"})
    head, get = client.head(f"/api/{path}"), client.get(f"/api/{path}")
    assert head.status_code == get.status_code
    assert (head.status_code == 200) == (groups == ("viewer",) or (path == "models" and bool(groups)))
    assert head.headers.get("Link") == get.headers.get("Link")
