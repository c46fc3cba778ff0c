"""API tokens: shown once, stored as digests, good under either name."""

from __future__ import annotations

import io
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from rest_framework.authtoken.models import Token, TokenProxy

from models_registry.services.tokens import stored_form

BEFORE = ("models_registry", "0005_a_replica_reports_what_it_serves_by_digest")
MIGRATION = ("models_registry", "0006_tokens_are_stored_as_digests")


@pytest.fixture
def user(db) -> User:
    made = User.objects.create_user("pipeline")
    made.user_permissions.set(Permission.objects.filter(codename="view_registeredmodel"))
    return made


def status(authorization: str) -> int:
    return Client().get("/api/models", headers={"Authorization": authorization}).status_code


def stored() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT key FROM authtoken_token")
        return [key for (key,) in cursor.fetchall()]


def test_a_token_is_stored_as_a_digest_alone(user):
    token = Token.objects.create(user=user)
    assert stored() == [stored_form(token.key)]
    assert token.key not in stored()[0]
    assert Token.objects.get(user=user).key == stored()[0]


def test_saving_a_stored_token_again_changes_nothing(user):
    text = Token.objects.create(user=user).key
    Token.objects.get(user=user).save()
    assert stored() == [stored_form(text)]


@pytest.mark.parametrize("scheme", ["Token", "Bearer", "bearer", "TOKEN"])
def test_a_token_is_good_under_either_scheme(user, scheme):
    text = Token.objects.create(user=user).key
    assert status(f"{scheme} {text}") == 200


def test_no_other_text_is_good(user):
    text = Token.objects.create(user=user).key
    for other in (stored()[0], text[:-1], text.upper(), "", f"{text} x", "\xff"):
        for scheme in ("Token", "Bearer"):
            assert status(f"{scheme} {other}") == 401
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert status(f"Bearer {text}") == 401


def test_the_command_shows_a_token_once_and_makes_another(user):
    out = io.StringIO()
    call_command("drf_create_token", "pipeline", stdout=out, stderr=io.StringIO())
    first = out.getvalue().split()[2]
    assert status(f"Bearer {first}") == 200
    with pytest.raises(CommandError, match="cannot be shown again.*--reset"):
        call_command("drf_create_token", "pipeline")
    call_command("drf_create_token", "pipeline", "--reset", stdout=out, stderr=io.StringIO())
    second = out.getvalue().split()[-4]
    assert (status(f"Bearer {first}"), status(f"Bearer {second}")) == (401, 200)
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("drf_create_token", "nobody")


def test_a_new_token_is_for_the_user_who_asks(admin_client, admin_user):
    page = "/admin/authtoken/tokenproxy/add/"
    chosen = re.compile(r'<option value="(\d+)" selected>')
    assert chosen.findall(admin_client.get(page).content.decode()) == [str(admin_user.pk)]
    admin_client.post(page, {"user": admin_user.pk})
    assert chosen.findall(admin_client.get(page).content.decode()) == []


def test_the_admin_shows_a_token_once(user, admin_client):
    made = admin_client.post("/admin/authtoken/tokenproxy/add/", {"user": user.pk})
    content = made.content.decode()
    text = content.partition('id="api-token">')[2].partition("<")[0]
    assert status(f"Bearer {text}") == 200
    assert "no-store" in made.headers["Cache-Control"]
    for page in ("", f"{user.pk}/change/", f"{user.pk}/history/", f"{user.pk}/delete/"):
        shown = admin_client.get(f"/admin/authtoken/tokenproxy/{page}").content.decode()
        assert text not in shown
    assert "pipeline" in admin_client.get("/admin/authtoken/tokenproxy/").content.decode()
    assert text not in str(list(LogEntry.objects.values()))
    assert admin_client.post(f"/admin/authtoken/tokenproxy/{user.pk}/change/", {"user": 1}).status_code == 403
    admin_client.post(f"/admin/authtoken/tokenproxy/{user.pk}/delete/", {"post": "yes"})
    assert status(f"Bearer {text}") == 401


def migrate_to_the_newest() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


@pytest.fixture
def before_the_migration(transactional_db):
    """The database before tokens were digests; the newest again afterwards, since later tests share it."""
    MigrationExecutor(connection).migrate([BEFORE])
    yield
    migrate_to_the_newest()


@pytest.mark.usefixtures("before_the_migration")
def test_a_migration_carries_tokens_over():
    user = User.objects.create_superuser("pipeline")
    text = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO authtoken_token (key, created, user_id) VALUES (%s, CURRENT_TIMESTAMP, %s)", [text, user.pk]
        )
    kind = ContentType.objects.get_for_model(TokenProxy, for_concrete_model=False)
    LogEntry.objects.create(user=user, content_type=kind, object_id=user.pk, object_repr=text, action_flag=1)
    for target in (MIGRATION, BEFORE, MIGRATION):
        MigrationExecutor(connection).migrate([target])
        assert stored() == [stored_form(text)]
    migrate_to_the_newest()
    assert status(f"Token {text}") == status(f"Bearer {text}") == 200
    assert text not in str(list(LogEntry.objects.values()))
