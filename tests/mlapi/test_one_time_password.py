"""The first password of the admin works once: until a password of one's own is set."""

from __future__ import annotations

import secrets

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from rest_framework.authtoken.models import Token

from mlapi.sign_in.models import OneTimePassword
from models_registry.services.tokens import stored_form

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ONE_TIME, OWN = "printed-at-the-start", "quite-my-own-9"
OWN_PAGE = "/admin/own-password/"
SESSION_REFUSAL = "You signed in with a one-time password. Set a password of your own in the admin first."


@pytest.fixture(autouse=True)
def first_account(monkeypatch) -> None:
    monkeypatch.delenv("DJANGO_SUPERUSER_PASSWORD", raising=False)
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: ONE_TIME)
    call_command("ensure_admin")


def sign_in(password: str, path: str = "/admin/login/") -> Client:
    client = Client()
    client.answer = client.post(path, {"username": "admin", "password": password})
    return client


def set_own(client: Client, password: str = OWN, path: str = OWN_PAGE):
    return client.post(path, {"new_password1": password, "new_password2": password})


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/login/?next=/", "/admin/login/?next=/admin/auth/user/"])
def test_sign_in_leads_to_the_page_for_a_password(path):
    client = sign_in(ONE_TIME, path)
    assert client.answer.status_code == 302
    assert client.answer["Location"].startswith(OWN_PAGE)
    assert "Set your password" in client.get(client.answer["Location"]).content.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/login/",
        "/admin/auth/user/",
        "/admin/authtoken/tokenproxy/add/",
        "/admin/password_change/",
        "/admin/models_registry/registeredmodel/",
        "/admin/models_registry/modelversion/upload/",
        "/admin/search/?s=x",
        "/admin/nowhere/",
    ],
)
def test_no_other_page_of_the_admin_opens_before(path):
    client = sign_in(ONE_TIME)
    for answer in (client.get(path), client.head(path), client.post(path, {"username": "eve"})):
        assert answer.status_code == 302
        assert answer["Location"].startswith(OWN_PAGE)
    assert User.objects.count() == 1


@pytest.mark.parametrize("method", ["get", "patch", "post", "delete", "head", "options"])
def test_the_api_refuses_the_session_before(method):
    answer = getattr(sign_in(ONE_TIME), method)("/api/models/churn")
    assert answer.status_code == 403
    if method != "head":
        assert (answer.json()["error"], answer.json()["code"]) == (SESSION_REFUSAL, "own_password_needed")


def test_a_token_acts_beside_such_a_session():
    key = "a" * 40
    Token.objects.create(user=User.objects.get(), key=stored_form(key))
    assert sign_in(ONE_TIME).get("/api/models", HTTP_AUTHORIZATION=f"Bearer {key}").status_code == 200


def test_closing_the_page_locks_nobody_out():
    for _ in range(2):
        client = sign_in(ONE_TIME)
        assert client.get("/admin/")["Location"].startswith(OWN_PAGE)
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


def test_own_password_opens_the_admin_and_ends_the_other():
    other, client = sign_in(ONE_TIME), sign_in(ONE_TIME)
    done = set_own(client, path=f"{OWN_PAGE}?next=/admin/auth/user/")
    assert (done.status_code, done["Location"]) == (302, "/admin/auth/user/")
    assert "Your password is set." in client.get("/admin/auth/user/").content.decode()
    assert client.get("/api/models").status_code == 200
    assert client.get(OWN_PAGE)["Location"] == "/admin/"
    # The old one is dead, also in a session that it began.
    assert other.get("/admin/")["Location"].startswith("/admin/login/")
    assert sign_in(ONE_TIME).answer.status_code == 200
    assert sign_in(OWN).answer["Location"] == "/admin/"


@pytest.mark.parametrize(
    ("password", "said"), [(ONE_TIME, "This is the one-time password."), ("short", "too short"), ("", "required")]
)
def test_a_wrong_new_password_changes_nothing(password, said):
    client = sign_in(ONE_TIME)
    answer = set_own(client, password)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert client.get("/admin/")["Location"].startswith(OWN_PAGE)


@pytest.mark.parametrize("target", ["https://evil.example.com/", "//evil.example.com/", "javascript:alert(1)"])
def test_the_page_leads_to_no_other_site(target):
    assert set_own(sign_in(ONE_TIME), path=f"{OWN_PAGE}?next={target}")["Location"] == "/admin/"


def test_a_rehashed_one_time_password_stays_one(settings):
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        *settings.PASSWORD_HASHERS,
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]
    before = User.objects.get().password
    assert sign_in(ONE_TIME).answer["Location"].startswith(OWN_PAGE)
    assert User.objects.get().password != before
    assert sign_in(ONE_TIME).get("/admin/")["Location"].startswith(OWN_PAGE)


def test_password_set_by_a_command_is_an_own_one():
    user = User.objects.get()
    user.set_password(OWN)
    user.save()
    assert sign_in(OWN).get("/admin/").status_code == 200
    assert not OneTimePassword.objects.exists()


def test_the_first_start_alone_sets_the_password(monkeypatch):
    set_own(sign_in(ONE_TIME))
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "another-start")
    call_command("ensure_admin")
    assert sign_in("another-start").answer.status_code == 200
    assert sign_in(OWN).get("/admin/").status_code == 200


def test_other_accounts_are_not_asked():
    User.objects.create_user("ann", password=OWN, is_staff=True)
    client = Client()
    assert client.post("/admin/login/", {"username": "ann", "password": OWN})["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_nobody_reaches_the_page_without_a_sign_in(client):
    assert client.get(OWN_PAGE)["Location"] == "/admin/"
    assert set_own(client)["Location"] == "/admin/"
    assert User.objects.get().check_password(ONE_TIME)


def test_given_password_is_one_of_your_own(monkeypatch):
    User.objects.all().delete()
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "chosen-by-me-7")
    call_command("ensure_admin")
    for _ in range(2):
        client = sign_in("chosen-by-me-7")
        assert client.answer["Location"] == "/admin/"
        assert client.get("/admin/").status_code == 200
