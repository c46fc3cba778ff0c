"""Accounts by claims, and the balancer's signed header: keys from a server on loopback, real signatures."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import Group, User
from django.core.checks import run_checks
from django.test import Client

from mlapi.sign_in import balancer
from mlapi.sign_in.accounts import account_of
from mlapi.sign_in.claims import SignInRefused, identity_of
from mlapi.sign_in.models import ExternalIdentity
from tests.mlapi.identities import ANN, CLIENT, ISSUER, KEY_ID, identity

SIGNER = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/mlapi/0123456789abcdef"
OTHER_SIGNER = SIGNER.replace("mlapi", "other")
HTML = {"Accept": "text/html"}


@pytest.fixture(autouse=True)
def groups(settings):
    settings.MLAPI_SIGN_IN_GROUPS = {"ml-admins": "superuser", "ml-team": "Operators", "ml-watch": "Viewers"}


# Accounts


@pytest.mark.django_db
def test_first_sign_in_makes_an_account_without_password():
    user = account_of(identity())
    assert (user.username, user.email, user.first_name, user.last_name) == (
        "ann@example.com", "ann@example.com", "Ann", "Lee",
    )  # fmt: skip
    assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (True, False, False)
    assert [group.name for group in user.groups.all()] == ["Operators"]


@pytest.mark.django_db
def test_second_sign_in_finds_the_renamed_account():
    first = account_of(identity())
    second = account_of(identity(email="ann.lee@example.com", groups=["ml-admins"]))
    assert (second.pk, second.username, second.email) == (first.pk, "ann@example.com", "ann.lee@example.com")
    assert second.is_superuser


@pytest.mark.django_db
def test_groups_follow_the_claims_and_local_groups_stay():
    user = account_of(identity(groups=["ml-team", "ml-admins"]))
    user.groups.add(Group.objects.create(name="Local"))
    account_of(identity(groups=["ml-watch"]))
    user.refresh_from_db()
    assert {group.name for group in user.groups.all()} == {"Viewers", "Local"}
    assert not user.is_superuser


@pytest.mark.django_db
@pytest.mark.parametrize("left", [[], ["another"], ["ML-TEAM"], ["superuser"], ["Operators"]])
def test_leaving_every_admitted_group_takes_the_rights_away(left):
    user = account_of(identity(groups=["ml-admins", "ml-team"]))
    with pytest.raises(SignInRefused, match="none of its groups"):
        account_of(identity(groups=left))
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser, user.groups.count()) == (False, False, 0)


@pytest.mark.django_db
def test_stranger_leaves_no_account():
    with pytest.raises(SignInRefused):
        account_of(identity(groups=[]))
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["admin", "ADMIN"])
def test_local_account_is_never_taken_over(name):
    admin = User.objects.create_superuser("admin", password="kept for emergencies")
    with pytest.raises(SignInRefused, match="belongs to another sign-in"):
        account_of(identity(email=name, groups=["ml-admins"]))
    admin.refresh_from_db()
    assert admin.check_password("kept for emergencies")
    assert not ExternalIdentity.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("issuer", "subject"), [(ISSUER, "00u2"), ("https://elsewhere.example.com", "00u1")])
def test_same_name_of_another_identity_is_refused(issuer, subject):
    account_of(identity())
    with pytest.raises(SignInRefused, match="belongs to another sign-in"):
        account_of(identity_of({**ANN, "sub": subject}, issuer=issuer))


@pytest.mark.django_db
def test_account_switched_off_here_stays_off():
    user = account_of(identity())
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(SignInRefused, match="is not active"):
        account_of(identity())


# The balancer's header


class Keys:
    """The region's public keys on loopback."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.status = 200
        self.asked: list[str] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                store.asked.append(self.path)
                known = self.path == f"/{KEY_ID}"
                self.send_response(store.status if known else 404)
                self.end_headers()
                self.wfile.write(store.pem if known else b"no such key")

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


@pytest.fixture
def keys(settings, monkeypatch) -> Iterator[Keys]:
    region = Keys()
    settings.MLAPI_ALB_SIGNER, settings.MLAPI_ALB_KEYS_URL = SIGNER, region.url
    settings.MLAPI_OIDC_ISSUER, settings.MLAPI_OIDC_CLIENT_ID = ISSUER, CLIENT
    monkeypatch.setattr(balancer, "keys", balancer.KeyStore())
    yield region
    region.server.shutdown()
    region.server.server_close()


def signed(region: Keys, claims: dict | None = None, key: object = None, **head) -> str:
    """Return a header as a balancer writes it: ES256 over parts with their padding."""
    expires = int(time.time()) + 120
    header = {"typ": "JWT", "kid": KEY_ID, "alg": "ES256", "iss": ISSUER, "client": CLIENT, "signer": SIGNER}
    header |= {"exp": expires} | head
    payload = {**ANN, "exp": expires, "iss": ISSUER} | (claims or {})
    payload = {name: value for name, value in payload.items() if value is not None}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, payload)]
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
        b".".join(parts), key or region.private
    )
    return b".".join([*parts, base64.urlsafe_b64encode(signature)]).decode()


def get(client: Client, token: str = "", path: str = "/admin/", **headers):
    given = {"X-Amzn-Oidc-Data": token} if token else {}
    return client.get(path, headers={**HTML, **given, **headers})


@pytest.mark.django_db
def test_signed_header_signs_in(keys, client):
    answer = get(client, signed(keys))
    assert answer.status_code == 200
    assert answer.wsgi_request.user.username == "ann@example.com"
    assert 0 < client.session.get_expiry_age() <= 8 * 3600


@pytest.mark.django_db
def test_key_is_fetched_once(keys, client):
    for _ in range(3):
        assert get(client, signed(keys)).status_code == 200
    assert keys.asked == [f"/{KEY_ID}"]


FORGED = {
    "of another balancer": lambda region: signed(region, signer=OTHER_SIGNER),
    "without signer": lambda region: signed(region, signer=None),
    "for another client": lambda region: signed(region, client="another"),
    "of another issuer": lambda region: signed(region, {"iss": "https://elsewhere.example.com"}),
    "without issuer": lambda region: signed(region, {"iss": None}),
    "expired": lambda region: signed(region, {"exp": int(time.time()) - 60}),
    "without expiry": lambda region: signed(region, {"exp": None}),
    "signed by another key": lambda region: signed(region, key=ec.generate_private_key(ec.SECP256R1())),
    "of an unknown key": lambda region: signed(region, kid="unknown"),
    "of a key elsewhere": lambda region: signed(region, kid="../../elsewhere"),
    "of a key that is not text": lambda region: signed(region, kid=["x"]),
    "of no algorithm": lambda region: signed(region, alg="none"),
    "of a symmetric algorithm": lambda region: signed(region, alg="HS256"),
    "without signature": lambda region: signed(region).rpartition(".")[0] + ".",
    "cut": lambda region: signed(region)[:40],
    "changed": lambda region: _changed(signed(region)),
    "no token": lambda region: "ann@example.com",
}


def _changed(token: str) -> str:
    head, _, signature = token.split(".")
    payload = {**ANN, "sub": "00u9", "iss": ISSUER, "exp": int(time.time()) + 120}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()}.{signature}"


@pytest.mark.django_db
@pytest.mark.parametrize("how", FORGED)
def test_forged_header_signs_nobody_in(keys, client, how):
    answer = get(client, FORGED[how](keys))
    assert (answer.status_code, answer.wsgi_request.user.is_authenticated) == (401, False)
    assert not User.objects.exists()


@pytest.mark.django_db
def test_forged_header_ends_the_session(keys, client):
    get(client, signed(keys))
    get(client, signed(keys, signer=OTHER_SIGNER))
    assert get(client).status_code == 302


@pytest.mark.django_db
def test_another_balancers_header_fetches_no_key(keys, client):
    get(client, signed(keys, signer=OTHER_SIGNER, kid="other-key"))
    assert keys.asked == []


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "a?b", "", "k" * 65, ["x"]])
def test_key_id_that_is_none_is_never_asked_for(keys, client, name):
    assert get(client, signed(keys, kid=name)).status_code == 401
    assert keys.asked == []


@pytest.mark.django_db
def test_unknown_key_is_not_asked_for_again_at_once(keys, client):
    for _ in range(3):
        assert get(client, signed(keys, kid="unknown")).status_code == 401
    assert keys.asked == ["/unknown"]


@pytest.mark.django_db
def test_unreachable_keys_are_503_and_tried_again(keys, client):
    keys.status = 500
    answer = get(client, signed(keys))
    assert (answer.status_code, answer["Retry-After"]) == (503, "60")
    keys.status = 200
    assert get(client, signed(keys)).status_code == 200


@pytest.mark.django_db
def test_session_ends_with_the_header(keys, client):
    get(client, signed(keys))
    answer = get(client)
    assert (answer.status_code, answer.wsgi_request.user.is_authenticated) == (302, False)


@pytest.mark.django_db
def test_second_person_at_one_browser_gets_own_account(keys, client):
    get(client, signed(keys))
    bob = {"sub": "00u2", "email": "bob@example.com", "groups": ["ml-admins"]}
    answer = get(client, signed(keys, bob))
    assert (answer.wsgi_request.user.username, answer.wsgi_request.user.is_superuser) == ("bob@example.com", True)


@pytest.mark.django_db
def test_lost_group_ends_the_rights_at_the_next_request(keys, client):
    get(client, signed(keys))
    answer = get(client, signed(keys, {"groups": []}))
    assert answer.status_code == 403
    assert "none of its groups" in answer.content.decode()
    assert get(client).status_code == 302


@pytest.mark.django_db
def test_header_counts_on_the_admins_paths_only(keys, client):
    get(client, signed(keys), path="/docs")
    assert not User.objects.exists()


@pytest.mark.django_db
def test_header_counts_for_nothing_without_a_trusted_balancer(keys, client, settings):
    settings.MLAPI_ALB_SIGNER = ""
    assert get(client, signed(keys)).status_code == 302


@pytest.mark.django_db
def test_program_is_refused_in_the_contracts_form(keys, client):
    answer = get(client, signed(keys, {"groups": []}), Accept="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "sign_in_refused")


@pytest.mark.django_db
def test_sign_out_ends_the_balancers_session_too(keys, client):
    token = signed(keys)
    get(client, token)
    answer = client.post("/admin/logout/", headers={"X-Amzn-Oidc-Data": token})
    gone = {name for name, cookie in answer.cookies.items() if cookie["max-age"] == 0}
    assert {f"AWSELBAuthSessionCookie-{number}" for number in range(4)} <= gone


@pytest.mark.django_db
def test_emergency_account_signs_in_by_password_without_the_header(keys, client, caplog):
    User.objects.create_superuser("admin", password="kept for emergencies")
    form = {"username": "admin", "password": "kept for emergencies", "next": "/admin/"}
    assert client.post("/admin/login/", form).status_code == 302
    assert get(client).status_code == 200
    assert "signed_in_by_password" in caplog.text


@pytest.mark.parametrize(
    ("arn", "url"),
    [
        (SIGNER, "https://public-keys.auth.elb.us-east-1.amazonaws.com"),
        (
            SIGNER.replace("arn:aws:", "arn:aws-us-gov:").replace("us-east-1", "us-gov-west-1"),
            "https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1",
        ),
        (
            SIGNER.replace("arn:aws:", "arn:aws-cn:").replace("us-east-1", "cn-north-1"),
            "https://public-keys.auth.elb.cn-north-1.amazonaws.com.cn",
        ),
    ],
)
def test_keys_come_from_the_balancers_own_region(arn, url):
    assert balancer.keys_url(arn) == url


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"MLAPI_OIDC_ISSUER": ISSUER, "MLAPI_OIDC_CLIENT_ID": CLIENT, "OIDC_LOGIN": True}, set()),
        ({"MLAPI_OIDC_ISSUER": ISSUER, "OIDC_LOGIN": True}, {"mlapi.E001"}),
        ({"MLAPI_OIDC_ISSUER": "http://login.example.com"}, {"mlapi.E002"}),
        ({"MLAPI_OIDC_ISSUER": "http://127.0.0.1:9000"}, set()),
        ({"MLAPI_ALB_SIGNER": SIGNER}, set()),
        ({"MLAPI_ALB_SIGNER": "mlapi"}, {"mlapi.E003"}),
        ({"MLAPI_ALB_SIGNER": SIGNER, "MLAPI_SIGN_IN_GROUPS": {}}, {"mlapi.W003"}),
        ({"MLAPI_SIGN_IN_GROUPS": {}}, set()),
    ],
)
def test_sign_in_that_cannot_work_is_reported(settings, changes, expected):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert {
        found.id for found in run_checks() if found.id in {"mlapi.E001", "mlapi.E002", "mlapi.E003", "mlapi.W003"}
    } == expected
