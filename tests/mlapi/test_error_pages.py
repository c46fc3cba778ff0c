"""What a browser is shown where there is no page, no right or no staff status; a program gets JSON."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

BROWSER = {"HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nowhere", "/predict/", "/admin/models_registry/modelversion/upload/"])
def test_a_browser_gets_a_page_and_a_program_json(client, db, path):
    user = User.objects.create_user("ann", is_staff=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    page, answer = client.get(path, **BROWSER), client.get(path, HTTP_ACCEPT="*/*")
    assert page.status_code == answer.status_code
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert page["X-Request-ID"] in page.content.decode()
    assert answer.json()["code"] in {"not_found", "permission_denied"}


def test_the_page_names_the_address_that_was_probably_meant(client, db):
    assert '<a href="/predict">/predict</a>' in client.get("/predict/", **BROWSER).content.decode()


@pytest.mark.parametrize("path", ["/admin/nowhere/", "/admin/models_registry/nothing/", "/api/nowhere/", "/nowhere/"])
def test_no_address_is_suggested_that_is_not_there(admin_client, path):
    page = admin_client.get(path, **BROWSER)
    assert page.status_code == 404
    assert "Did you mean" not in page.content.decode()
    assert "expected" not in admin_client.get(path).json()


def test_person_without_permission_is_told_who_grants_it(client, db):
    user = User.objects.create_user("ann", is_staff=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/admin/models_registry/modelversion/upload/", **BROWSER).content.decode()
    assert "The account ann does not have the permission for this action." in page
    assert "An administrator grants permissions" in page


def test_the_api_never_answers_with_a_page(client, db):
    assert client.get("/api/models/none", **BROWSER).json()["code"] == "not_authenticated"
    assert client.get("/api/nowhere", **BROWSER).json()["code"] == "not_found"


def test_login_says_that_staff_status_is_missing(client, db):
    User.objects.create_user("ann", password="opens")
    form = {"username": "ann", "password": "opens"}
    assert "has no staff status" in client.post("/admin/login/", form).content.decode()
    wrong = client.post("/admin/login/", form | {"password": "wrong"}).content.decode()
    assert "staff status" not in wrong


def test_login_page_tells_a_session_without_staff_status(client, db):
    client.force_login(User.objects.create_user("ann"), backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/admin/", follow=True).content.decode()
    assert "The account ann has no staff status, but this page needs it" in page
    client.logout()
    assert "staff status" not in client.get("/admin/", follow=True).content.decode()


@pytest.mark.parametrize(
    ("is_required", "words"), [(True, "predictions need a key"), (False, "predictions need no key")]
)
def test_keys_and_tokens_are_told_apart(client, db, settings, is_required, words):
    settings.MLAPI_REQUIRE_API_KEY = is_required
    user = User.objects.create_superuser("ann")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    keys = client.get("/admin/models_registry/apikey/").content.decode()
    assert words in keys
    assert '/admin/authtoken/tokenproxy/">API token</a>' in keys
    tokens = client.get("/admin/authtoken/tokenproxy/").content.decode()
    assert "lets a program act in the registry" in tokens
    assert '/admin/models_registry/apikey/">API key</a>' in tokens
