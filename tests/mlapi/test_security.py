"""The service against those who try things: proxies' headers, logins, pages in frames, settings of production."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db.backends.signals import connection_created
from django.test import Client
from django.utils import timezone

from mlapi.http import process
from mlapi.http.clients import client_address, client_address_of
from mlapi.http.django_host import DjangoHost
from tests.support.asgi import AsgiClient
from tests.support.estimators import constant

ROOT = Path(__file__).resolve().parents[2]
LOGIN = "/admin/login/"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "", "10.0.0.1"),
        (0, "6.6.6.6", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6,203.0.113.7 ", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
        (2, "203.0.113.7", "203.0.113.7"),
        (1, "203.0.113.7:4711", "203.0.113.7"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "[2001:db8::1]:4711", "2001:db8::1"),
        (1, "unknown", "10.0.0.1"),
        (1, "' OR 1=1 --", "10.0.0.1"),
        (1, ", ,", "10.0.0.1"),
    ],
)
def test_forwarded_address_counts_as_far_as_proxies_are_trusted(proxies, forwarded, expected):
    assert client_address("10.0.0.1", forwarded, trusted_proxies=proxies) == expected


def log_in(name: str, password: str, address: str, **headers: str) -> int:
    """Return the status of a login from `address`; 302 is success."""
    form = {"username": name, "password": password, "next": "/admin/"}
    return Client(REMOTE_ADDR=address).post(LOGIN, form, headers=headers).status_code


@pytest.mark.django_db
def test_brute_force_is_throttled_for_that_user_and_address(settings):
    for name in ("ann", "bob"):
        User.objects.create_superuser(name, password="right")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        log_in("ann", "wrong", "203.0.113.7")
    assert log_in("ann", "right", "203.0.113.7") == 429, "the attacker, who has guessed it in the end"
    assert log_in("ann", "right", "198.51.100.1") == 302, "the user herself, elsewhere"
    assert log_in("bob", "right", "203.0.113.7") == 302, "another user of the same address"


@pytest.mark.django_db
def test_a_throttled_login_cools_off(settings):
    User.objects.create_superuser("ann", password="right")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        log_in("ann", "wrong", "203.0.113.7")
    assert log_in("ann", "right", "203.0.113.7") == 429
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(hours=settings.AXES_COOLOFF_TIME, seconds=1))
    assert log_in("ann", "right", "203.0.113.7") == 302


@pytest.mark.django_db
def test_callers_behind_a_balancer_are_distinct_and_cannot_forge(settings):
    settings.TRUSTED_PROXIES = 1
    User.objects.create_superuser("ann", password="right")
    for attempt in range(settings.AXES_FAILURE_LIMIT):
        log_in("ann", "wrong", "10.0.0.1", **{"X-Forwarded-For": f"6.6.6.{attempt}, 203.0.113.7"})
    assert log_in("ann", "right", "10.0.0.1", **{"X-Forwarded-For": "9.9.9.9, 203.0.113.7"}) == 429
    assert log_in("ann", "right", "10.0.0.1", **{"X-Forwarded-For": "198.51.100.1"}) == 302


@pytest.mark.django_db
def test_hostile_logins_are_no_server_errors():
    client = Client(raise_request_exception=False)
    for form in (
        {"username": "a\x00b", "password": "x"},
        {"username": "u" * 10_000, "password": "x"},
        {"username": "ann", "password": "x", "next": "\x00" + "n" * 10_000},
        {"username": "ann", "password": "p" * 100_000},
        {},
    ):
        long = {"User-Agent": "a" * 5000, "Accept": "b" * 5000, "X-Forwarded-For": "c" * 5000}
        answer = client.post(LOGIN + "?" + "q" * 5000, form, headers=long)
        assert answer.status_code in {200, 400, 429}, form


@pytest.mark.django_db
def test_pages_cannot_be_framed_sniffed_or_fed_from_elsewhere(client):
    page = client.get(LOGIN)
    assert page["X-Frame-Options"] == "DENY"
    assert page["X-Content-Type-Options"] == "nosniff"
    assert page["Referrer-Policy"] == "same-origin"
    assert page["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = dict(part.strip().partition(" ")[::2] for part in page["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert "http" not in page["Content-Security-Policy"]
    assert "camera=()" in page["Permissions-Policy"]


@pytest.mark.django_db
def test_a_page_with_a_stricter_policy_keeps_it(client):
    assert "unsafe-eval" in client.get(LOGIN)["Content-Security-Policy"]
    assert "unsafe-eval" not in client.get("/docs")["Content-Security-Policy"]


def test_answers_to_programs_are_not_sniffed(host, load):
    load(constant(1))
    for answer in (host.post("/predict", {"features": [0, 0]}), host.get("/models"), host.get("/health")):
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_strange_host_is_answered_400_except_for_health(host, load):
    load(constant(1))
    strange = {"Host": "10.0.3.7:8000"}
    if not host.is_behind_django:
        assert host.request("GET", "/health", headers=strange).status == 200
    assert host.request("GET", "/models", headers=strange).status == 400
    assert host.request("GET", "/admin/login/", headers=strange).status == 400


def test_a_forwarded_scheme_counts_only_behind_a_trusted_proxy(host, load, settings):
    load(constant(1), name="a")
    assert host.get("/models/a", **{"X-Forwarded-Proto": "https"}).json["example"]["url"].startswith("http://")
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert host.get("/models/a", **{"X-Forwarded-Proto": "https"}).json["example"]["url"].startswith("https://")
    assert host.get("/models/a").json["example"]["url"].startswith("http://")


def test_scheme_comes_from_the_named_headers(host, load, settings):
    load(constant(1), name="a")
    settings.PROXY_HEADERS = "X-Mlapi"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_MLAPI_PROTO", "https")
    assert host.get("/models/a", **{"X-Mlapi-Proto": "https"}).json["example"]["url"].startswith("https://")
    assert host.get("/models/a", **{"X-Forwarded-Proto": "https"}).json["example"]["url"].startswith("http://")


@pytest.mark.django_db
def test_login_behind_an_http_api_passes_the_csrf_check(settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_MLAPI_PROTO", "https")
    settings.ALLOWED_HOSTS = ["api1.execute-api.us-east-1.amazonaws.com"]
    User.objects.create_superuser("ann", password="right")
    client = Client(enforce_csrf_checks=True)
    sent = {
        "Host": settings.ALLOWED_HOSTS[0],
        "X-Mlapi-Proto": "https",
        "Origin": f"https://{settings.ALLOWED_HOSTS[0]}",
    }
    token = client.get(LOGIN, headers=sent).cookies["csrftoken"].value
    form = {"username": "ann", "password": "right", "next": "/admin/", "csrfmiddlewaretoken": token}
    assert client.post(LOGIN, form, headers=sent).status_code == 302
    del sent["X-Mlapi-Proto"]
    assert client.post(LOGIN, form, headers=sent).status_code == 403


def test_login_is_throttled_by_the_named_headers_address(rf, settings):
    settings.TRUSTED_PROXIES, settings.PROXY_HEADERS = 1, "X-Mlapi"
    request = rf.get("/", headers={"X-Mlapi-For": "203.0.113.7", "X-Forwarded-For": "6.6.6.6"}, REMOTE_ADDR="10.0.10.4")
    assert client_address_of(request) == "203.0.113.7"


@pytest.mark.parametrize(("headers", "expected"), [("", "HTTP_X_FORWARDED_PROTO"), ("X-Mlapi", "HTTP_X_MLAPI_PROTO")])
def test_scheme_header_follows_the_setting(tmp_path, headers, expected):
    code = "from django.conf import settings; print(settings.SECURE_PROXY_SSL_HEADER[0])"
    done = deployed(tmp_path, code=code, MLAPI_PROXY_HEADERS=headers)
    assert done.stdout.strip().splitlines()[-1] == expected, done.stderr


def deployed(directory: Path, *, code: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
    """Return what `check --deploy`, or some code, says under the settings of production, with `changes`."""
    (directory / "models").mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "MLAPI_VAR": str(directory),
        "MODELS_STORAGE": (directory / "models").as_uri(),
        "DATABASE_URL": f"sqlite:///{directory / 'r.sqlite3'}",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "DJANGO_ALLOWED_HOSTS": "models.example.com",
        "MLAPI_HTTPS": "on",
        "MLAPI_TRUSTED_PROXIES": "1",
        **changes,
    }
    words = ["shell", "--command", code] if code else ["check", "--deploy", "--fail-level", "WARNING"]
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_settings_of_production_pass_django_s_own_check(tmp_path):
    done = deployed(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_the_check_finds_what_production_must_not_have(tmp_path):
    weak = deployed(tmp_path, DJANGO_SECRET_KEY="short", DJANGO_DEBUG="on")
    assert weak.returncode == 1
    assert "security.W009" in weak.stderr
    assert "security.W018" in weak.stderr
    missing = deployed(tmp_path, DJANGO_SECRET_KEY="")
    assert missing.returncode == 1
    assert "DJANGO_SECRET_KEY is not set" in missing.stderr


def test_https_behind_an_untrusted_proxy_is_warned_of(settings):
    settings.SECURE, settings.TRUSTED_PROXIES = True, 0
    assert "mlapi.W001" in {message.id for message in run_checks()}
    settings.TRUSTED_PROXIES = 1
    assert "mlapi.W001" not in {message.id for message in run_checks()}


def test_a_log_of_inputs_is_warned_of(settings):
    settings.MLAPI_LOG_FEATURES = True
    assert "mlapi.W002" in {message.id for message in run_checks()}


@pytest.mark.parametrize(
    ("networks", "proxies", "forwarded", "allowed"),
    [
        ([], 0, "", True),
        (["127.0.0.0/8"], 0, "", True),
        (["10.0.0.0/8"], 0, "", False),
        (["10.0.0.0/8"], 0, "10.1.2.3", False),
        (["10.0.0.0/8"], 1, "10.1.2.3", True),
        (["10.0.0.0/8"], 1, "10.1.2.3, 203.0.113.9", False),
        (["10.0.0.0/8", "2001:db8::/32"], 1, "2001:db8::1", True),
        (["10.0.0.0/8"], 1, "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], 1, "nonsense", False),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/admin", "/admin/", "/admin/login/"])
def test_only_named_networks_reach_the_admin_and_the_metrics(  # noqa: PLR0917 - the fixtures and the case
    host, load, settings, path, networks, proxies, forwarded, allowed
):
    settings.MLAPI_ADMIN_CIDR = [ip_network(network) for network in networks]
    settings.TRUSTED_PROXIES = proxies
    load(constant(1))
    answer = host.get(path, **({"X-Forwarded-For": forwarded} if forwarded else {}))
    if allowed:
        assert answer.status in {200, 301, 302}
    else:
        assert (answer.status, answer.json["code"]) == (403, "network_not_allowed")
    assert host.post("/predict", {"features": [0, 0]}).status == 200, "predictions are for everybody"


@pytest.mark.parametrize("path", ["/metrics", "/admin/login/"])
def test_proxies_with_their_own_headers_are_trusted_alone(host, load, settings, path):
    settings.MLAPI_ADMIN_CIDR = [ip_network("203.0.113.7/32")]
    settings.TRUSTED_PROXIES, settings.PROXY_HEADERS = 1, "X-Mlapi"
    load(constant(1))
    assert host.get(path, **{"X-Mlapi-For": "203.0.113.7", "X-Forwarded-For": "198.51.100.1"}).status == 200
    assert host.get(path, **{"X-Mlapi-For": "198.51.100.1", "X-Forwarded-For": "203.0.113.7"}).status == 403
    assert host.get(path, **{"X-Forwarded-For": "203.0.113.7"}).status == 403


@pytest.mark.django_db(transaction=True)
def test_a_request_leaves_no_database_connection_behind():
    made = []

    def keep(connection, **_):
        made.append(connection)

    connection_created.connect(keep)
    try:
        client = AsgiClient(DjangoHost(process.admission, threads=1))
        assert client.get("/admin/", Cookie="sessionid=" + "x" * 32).status == 302
    finally:
        connection_created.disconnect(keep)
    assert [connection.connection for connection in made] == [None]


def test_a_static_file_is_served_in_pieces(settings, tmp_path):
    (tmp_path / "large.js").write_bytes(b"x" * 200_000)
    settings.STATIC_ROOT = tmp_path
    answer = AsgiClient(DjangoHost(process.admission, threads=1)).get("/static/large.js")
    assert (answer.status, len(answer.body)) == (200, 200_000)
