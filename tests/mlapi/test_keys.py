"""API keys: what opens, what is refused and how, through the request pipeline and through Django's views."""

from __future__ import annotations

import io
import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.utils import timezone

from mlapi import replica
from mlapi.http.auth import require_key
from mlapi.http.request import Headers
from mlapi.http.routes import ENDPOINTS
from mlapi.pages import client
from mlapi.protocols.base import HttpError
from models_registry import services
from models_registry.agent.api_key_sync import ApiKeySync
from models_registry.errors import RequestError, UnknownKey, UnknownModel
from models_registry.inference.api_key_cache import ApiKeyCache, HeldKey, KeyUses
from models_registry.inference.rates import SharedBucket
from models_registry.models import ApiKey, Replica
from models_registry.services.api_keys import digest_of_key
from tests.support.estimators import constant
from tests.support.live import live_service
from tests.support.waiting import eventually

ROW = {"features": [0, 0]}


@pytest.fixture
def keys(settings):
    """Return a function that puts a key on the ring: predictions need one."""
    settings.MLAPI_REQUIRE_API_KEY = True
    replica.runtime.keys = ApiKeyCache()

    def add(text, **given):
        key = HeldKey(**{"id": 1, "name": "shop", "prefix": text[:6], **given})
        held = replica.runtime.keys.by_digest
        replica.runtime.keys = ApiKeyCache({**held, bytes.fromhex(digest_of_key(text)): key})
        return key

    yield add
    replica.runtime.keys = None
    replica.runtime.key_uses.take()


def test_predict_of_the_notebook_sends_the_key(load, keys):
    load(constant(1))
    keys("secret")
    with live_service() as url:
        assert client.predict([[0, 0]], url, key="secret") == [1]
        with pytest.raises(client.ServiceError, match="An API key is required") as refused:
            client.predict([[0, 0]], url)
    assert refused.value.status == 401


def test_predictions_need_a_key_in_either_header(host, load, keys):
    load(constant(1))
    keys("secret")
    missing = host.post("/predict", ROW)
    assert (missing.status, missing.json["code"]) == (401, "missing_api_key")
    assert missing.headers["www-authenticate"] == "Bearer"
    assert missing.json["request_id"] == missing.headers["x-request-id"]
    for headers in (
        {"X-API-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"X-API-Key": "s\udce9cret"},
    ):
        refused = host.post("/predict", ROW, **headers)
        assert (refused.status, refused.json["code"]) == (401, "invalid_api_key"), headers
    assert host.post("/predict", ROW, Authorization="Basic secret").json["code"] == "missing_api_key"
    for headers in ({"X-API-Key": "secret"}, {"Authorization": "Bearer secret"}, {"Authorization": "bearer  secret"}):
        assert host.post("/predict", ROW, **headers).status == 200, headers


def test_keys_are_not_asked_for_where_nobody_requires_them(host, load):
    load(constant(1))
    assert host.post("/predict", ROW, **{"X-API-Key": "anything"}).status == 200


WITH_KEY = [endpoint for endpoint in ENDPOINTS if endpoint.is_prediction or endpoint.takes_key]


@pytest.mark.parametrize("endpoint", WITH_KEY, ids=lambda endpoint: endpoint.name)
def test_every_protocol_refuses_missing_keys_in_its_form(host, load, keys, endpoint):
    load(constant(1), name="m")
    load(constant(1), name="other")
    keys("for-other", models=frozenset({"other"}))
    values = {"model": "m", "version": "1"}
    path = "/" + re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda found: values[found[1]], endpoint.pattern)
    path = re.sub(r"\(\?:(.*)\)\?", r"\1", path)
    missing = host.post(path, {})
    assert missing.status == 401, path
    assert (
        missing.body
        == endpoint.error_reply(
            HttpError(401, "missing_api_key", missing.json.get("error") or missing.json["message"]),
            missing.headers["x-request-id"],
        ).body
    )
    assert missing.headers["www-authenticate"] == "Bearer"
    assert host.post(path, {}, **{"X-API-Key": "for-other"}).status == 403
    assert host.post(path.replace("/m/", "/other/"), {}, **{"X-API-Key": "for-other"}).status in {400, 403}


def test_all_that_predicts_is_among_them():
    assert {endpoint.protocol for endpoint in WITH_KEY} == {"native", "v1", "v2", "mlflow"}
    open_to_all = [item.name for item in ENDPOINTS if "POST" in item.methods and item not in WITH_KEY]
    assert sorted(open_to_all) == ["v2-index", "v2-load", "v2-nowhere"]


def test_health_and_catalogue_need_no_key(host, load, keys):
    load(constant(1))
    for path in ("/health/live", "/health/ready", "/models", "/models/m"):
        assert host.get(path).status == 200, path


def test_wrong_method_is_reported_before_the_key(host, load, keys):
    load(constant(1))
    assert host.get("/predict").status == 405


def test_key_opens_only_its_models(host, load, keys):
    load(constant(1), name="first")
    load(constant(2), name="second")
    keys("for-second", models=frozenset({"second"}))
    assert host.post("/models/second/predict", ROW, **{"X-API-Key": "for-second"}).status == 200
    assert host.post("/models/second/versions/1/predict", ROW, **{"X-API-Key": "for-second"}).status == 200
    for path in ("/predict", "/models/first/predict", "/models/first/versions/1/predict", "/models/none/predict"):
        refused = host.post(path, ROW, **{"X-API-Key": "for-second"})
        assert (refused.status, refused.json["code"]) == (403, "key_not_for_model"), path
        assert refused.json["expected"] == ["second"]


def test_an_expired_key_is_refused_and_says_so(host, load, keys):
    load(constant(1))
    keys("old", expires_at=time.time() - 1)
    keys("new", expires_at=time.time() + 60)
    refused = host.post("/predict", ROW, **{"X-API-Key": "old"})
    assert (refused.status, refused.json["code"]) == (401, "invalid_api_key")
    assert "expired" in refused.json["error"]
    assert host.post("/predict", ROW, **{"X-API-Key": "new"}).status == 200


@pytest.mark.parametrize(("per_minute", "said"), [(1, "1 request a minute."), (2, "2 requests a minute.")])
def test_refusal_names_the_rate_of_a_key(  # noqa: PLR0917 - the fixtures and the case
    host, load, keys, tmp_path, per_minute, said
):
    load(constant(1))
    keys("slow", bucket=SharedBucket(tmp_path / "slow", per_minute=per_minute))
    answers = [host.post("/predict", ROW, **{"X-API-Key": "slow"}) for _ in range(per_minute + 1)]
    assert said in answers[-1].json["error"]


def test_key_beyond_its_rate_gets_429_alone(host, load, keys, tmp_path):
    load(constant(1))
    keys("slow", bucket=SharedBucket(tmp_path / "slow", per_minute=3))
    keys("free", id=2)
    statuses = [host.post("/predict", ROW, **{"X-API-Key": "slow"}).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = host.post("/predict", ROW, **{"X-API-Key": "slow"})
    assert refused.json["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert host.post("/predict", ROW, **{"X-API-Key": "free"}).status == 200


def test_worker_that_has_read_no_keys_asks_to_retry(host, load, settings):
    load(constant(1))
    settings.MLAPI_REQUIRE_API_KEY = True
    answer = host.post("/predict", ROW, **{"X-API-Key": "any"})
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "keys_not_read", "2")


# In the registry


@pytest.mark.django_db
def test_a_key_is_stored_as_a_digest_alone():
    services.register_model("digits")
    row, text = services.create_key("shop", by="ann", model_names=["digits"], expires_in_days=30, rate_per_minute=60)
    assert re.fullmatch(r"mlapi_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", text)
    assert text.startswith(row.prefix)
    held = " ".join(str(value) for value in ApiKey.objects.values().get().values())
    assert text not in held
    assert text[len(row.prefix) + 1 :] not in held
    assert row.digest == digest_of_key(text)
    assert row.expires_at - timezone.now() == pytest.approx(timedelta(days=30), abs=timedelta(minutes=1))
    assert services.create_key("other", by="ann")[1] != text


@pytest.mark.django_db
def test_invalid_keys_are_refused_with_reason():
    services.create_key("shop", by="ann")
    with pytest.raises(RequestError, match="in use"):
        services.create_key("shop", by="bob")
    with pytest.raises(UnknownModel):
        services.create_key("other", by="ann", model_names=["nowhere"])
    for wrong in ({"expires_in_days": -1}, {"rate_per_minute": 0}):
        with pytest.raises(RequestError):
            services.create_key("other", by="ann", **wrong)
    with pytest.raises(RequestError):
        services.create_key("  ", by="ann")
    with pytest.raises(UnknownKey, match="shop"):
        services.get_key("shap")


@pytest.mark.django_db
def test_revoked_key_frees_its_name_and_stays_listed():
    row, text = services.create_key("shop", by="ann")
    assert services.get_key(text) == services.get_key("shop") == services.get_key(row.prefix) == row
    assert services.revoke_key(row, by="bob") is True
    assert services.revoke_key(row, by="eve") is False
    row.refresh_from_db()
    assert (row.state, row.revoked_by) == ("revoked", "bob")
    services.create_key("shop", by="ann")
    assert ApiKey.objects.count() == 2


@pytest.mark.django_db
def test_the_commands_make_list_and_revoke():
    services.register_model("digits")
    out, err = io.StringIO(), io.StringIO()
    call_command(
        "create_api_key", "shop", "--models", "digits", "--expires", "1", "--rate", "5", stdout=out, stderr=err
    )
    text = out.getvalue().strip()
    assert services.get_key(text).model_names == ["digits"]
    assert "not shown again" in err.getvalue()
    assert text not in err.getvalue()
    listed = io.StringIO()
    call_command("list_api_keys", "--json", stdout=listed)
    (shown,) = json.loads(listed.getvalue())
    assert (shown["name"], shown["models"], shown["rate_per_minute"], shown["state"]) == (
        "shop",
        ["digits"],
        5,
        "in use",
    )
    assert text not in listed.getvalue()
    call_command("revoke_api_key", "shop", stdout=out)
    assert ApiKey.objects.get().state == "revoked"
    with pytest.raises(CommandError, match="No key in use"):
        call_command("revoke_api_key", "shop")
    with pytest.raises(CommandError, match="names no model"):
        call_command("create_api_key", "all", "--models", " , ")


@pytest.fixture
def sync(tmp_path):
    """Return a sync that is driven by hand."""
    yield ApiKeySync(replica.runtime, poll_seconds=1, directory=tmp_path / "rates")
    replica.runtime.keys = None
    replica.runtime.key_uses.take()


@pytest.mark.django_db
def test_replica_learns_keys_and_revocations_by_polling(sync, host, load, settings):
    settings.MLAPI_REQUIRE_API_KEY = True
    load(constant(1))
    row, text = services.create_key("shop", by="ann")
    sync.read()
    assert host.post("/predict", ROW, **{"X-API-Key": text}).status == 200
    services.revoke_key(row, by="ann")
    sync.read()
    assert host.post("/predict", ROW, **{"X-API-Key": text}).status == 401


@pytest.mark.django_db(transaction=True)
def test_started_replica_knows_keys_and_refuses_revoked_ones_soon(tmp_path):
    row, _ = services.create_key("shop", by="ann")
    sync = ApiKeySync(replica.runtime, poll_seconds=0.01, directory=tmp_path / "rates")
    try:
        sync.start(wait_seconds=20)
        assert len(replica.runtime.keys.by_digest) == 1
        services.revoke_key(row, by="ann")
        eventually(lambda: not replica.runtime.keys.by_digest)
    finally:
        sync.stop()
        replica.runtime.keys = None


@pytest.mark.django_db
def test_unusable_directory_keeps_no_revoked_key_alive(host, load, settings, tmp_path):
    settings.MLAPI_REQUIRE_API_KEY = True
    load(constant(1))
    (tmp_path / "rates").write_text("")
    sync = ApiKeySync(replica.runtime, poll_seconds=1, directory=tmp_path / "rates")
    row, text = services.create_key("shop", by="ann")
    services.create_key("slow", by="ann", rate_per_minute=1)
    sync.read()
    assert host.post("/predict", ROW, **{"X-API-Key": text}).status == 200
    services.revoke_key(row, by="ann")
    services.create_key("slower", by="ann", rate_per_minute=2)
    sync.read()
    assert host.post("/predict", ROW, **{"X-API-Key": text}).status == 401
    replica.runtime.keys = None


@pytest.mark.django_db
def test_machines_share_a_rate_that_survives_polls(sync):
    services.create_key("shop", by="ann", rate_per_minute=60)
    sync.read()
    (first,) = replica.runtime.keys.by_digest.values()
    sync.read()
    (again,) = replica.runtime.keys.by_digest.values()
    assert again.bucket is first.bucket
    now = timezone.now()
    for host, pid in (("a", 1), ("a", 2), ("b", 1)):
        Replica.objects.create(id=f"{host}{pid}", host=host, pid=pid, started_at=now, heartbeat_at=now)
    sync.read()
    (shared,) = replica.runtime.keys.by_digest.values()
    assert shared.bucket.per_minute == 30


@pytest.mark.django_db
def test_last_use_is_written_once_for_many_requests(sync, django_assert_num_queries):
    row, text = services.create_key("shop", by="ann")
    sync.read()
    with django_assert_num_queries(0):
        for _ in range(50):
            require_key(Headers([(b"x-api-key", text.encode("latin-1", "replace"))]), replica.runtime, None)
    with django_assert_num_queries(1):
        sync.write_uses()
    row.refresh_from_db()
    used_at = row.last_used_at
    assert timezone.now() - used_at < timedelta(seconds=30)
    services.record_key_uses({row.pk: used_at - timedelta(hours=1)})
    row.refresh_from_db()
    assert row.last_used_at == used_at, "an earlier use, reported later by another replica, changes nothing"


def test_uses_that_could_not_be_written_are_kept():
    uses = KeyUses()
    uses.note(HeldKey(1, "a", "a"))
    taken = uses.take()
    uses.note(HeldKey(2, "b", "b"))
    uses.put_back(taken | {2: datetime(2020, 1, 1, tzinfo=UTC)})
    later = uses.take()
    assert later.keys() == {1, 2}
    assert later[2].year > 2020


# In the admin


@pytest.mark.django_db
def test_the_admin_shows_a_key_once_and_revokes_it(admin_client):
    services.register_model("digits")
    assert "No API key yet" in admin_client.get("/admin/models_registry/apikey/").text
    assert admin_client.get("/admin/models_registry/apikey/add/").status_code == 200
    made = admin_client.post(
        "/admin/models_registry/apikey/add/",
        {"name": "shop", "models": ["digits"], "expires_in_days": "9", "rate_per_minute": "5"},
    )
    text = re.search(r"mlapi_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", made.text).group()
    assert "no-store" in made["Cache-Control"]
    row = services.get_key(text)
    assert (row.created_by, row.model_names, row.rate_per_minute) == ("admin", ["digits"], 5)
    for page in ("/admin/models_registry/apikey/", f"/admin/models_registry/apikey/{row.pk}/change/"):
        shown = admin_client.get(page)
        assert shown.status_code == 200
        assert row.prefix in shown.text
        assert text not in shown.text
    again = admin_client.post("/admin/models_registry/apikey/add/", {"name": "shop"})
    assert "is in use" in again.text
    assert admin_client.get(f"/admin/models_registry/apikey/{row.pk}/revoke/").status_code == 405
    admin_client.post(f"/admin/models_registry/apikey/{row.pk}/revoke/")
    row.refresh_from_db()
    assert (row.state, row.revoked_by) == ("revoked", "admin")


@pytest.mark.django_db
def test_the_admin_asks_for_the_permission(client):
    user = User.objects.create_user("ann", password="pw", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client.force_login(user)
    row, _ = services.create_key("shop", by="bob")
    assert client.get("/admin/models_registry/apikey/").status_code == 200
    assert client.get("/admin/models_registry/apikey/add/").status_code == 403
    assert client.post("/admin/models_registry/apikey/add/", {"name": "mine"}).status_code == 403
    assert client.post(f"/admin/models_registry/apikey/{row.pk}/revoke/").status_code == 403
    assert ApiKey.objects.get().state == "in use"
