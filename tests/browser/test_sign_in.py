"""Signing in at a real OpenID Connect provider, against the whole service, by hand and in a browser."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect

from tests.support.identity_provider import Browser, identity_provider, settings_for
from tests.support.service import Service
from tests.support.waiting import eventually

SIZES = [pytest.param({"width": 1280, "height": 800}, id="1280"), pytest.param({"width": 390, "height": 844}, id="390")]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
PASSWORD = secrets.token_urlsafe(12)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with identity_provider() as url:
        yield url


def started(directory: Path, issuer: str) -> Service:
    service = Service(directory, DJANGO_SUPERUSER_PASSWORD=PASSWORD, **settings_for(issuer))
    service.environment["MLAPI_STATIC"] = str(directory / "static")
    service.manage_all(
        ["migrate", "--verbosity", 0], ["collectstatic", "--no-input", "--verbosity", 0], ["ensure_admin"]
    )
    return service.start(until_ready=False)


@pytest.fixture(scope="module")
def service(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = started(tmp_path_factory.mktemp("sign-in"), issuer)
    try:
        wait_until_live(service)
        yield service
    finally:
        service.kill()


def wait_until_live(service: Service) -> None:
    def is_live() -> bool:
        try:
            return service.get("/health/live")[0] == 200
        except OSError:
            return False

    eventually(is_live, seconds=60, saying=service.log())


@pytest.fixture
def browser(service: Service) -> Browser:
    return Browser(service.url)


def test_person_signs_in_at_the_provider(browser, service):
    page = browser.sign_in("00u1", target="/admin/models_registry/replica/")
    assert (page.status_code, page.url) == (200, f"{service.url}/admin/models_registry/replica/")
    assert "ann@example.com" in page.text


def test_person_without_an_admitted_group_is_told_so(browser):
    page = browser.sign_in("00u2")
    assert page.status_code == 403
    assert "none of its groups (sales) is admitted" in page.text
    assert browser.get("/admin/", follow=False).status_code == 302


def test_provider_cannot_give_away_the_emergency_account(browser):
    page = browser.sign_in("00u3")
    assert page.status_code == 403
    assert "belongs to another sign-in" in page.text


def test_emergency_account_signs_in_by_password(browser, service):
    page = browser.get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    done = browser.session.post(f"{service.url}/admin/login/", data=form, timeout=30)
    assert (done.status_code, done.url) == (200, f"{service.url}/admin/")
    assert any(event["username"] == "admin" for event in service.events("signed_in_by_password"))


def test_cancelled_sign_in_is_told_so(browser):
    page = browser.sign_in(deny=True)
    assert page.status_code == 401
    assert "did not sign you in" in page.text


@pytest.mark.parametrize("query", ["", "?code=x", "?code=x&state=made-up", "?error=access_denied", "?state=made-up"])
def test_callback_that_nobody_began_signs_nobody_in(browser, query):
    assert browser.get(f"/admin/sign-in/callback/{query}").status_code == 401
    assert browser.get("/admin/", follow=False).status_code == 302


def test_callback_counts_once(browser):
    page = browser.sign_in("00u1")
    callback = next(step.url for step in page.history if "/callback/" in step.url)
    assert (
        Browser(browser.service_url).session.get(callback, headers={"Accept": "text/html"}, timeout=30).status_code
        == 401
    )


def test_request_to_the_provider_is_bound_to_the_browser(browser):
    asked = parse_qs(urlsplit(browser.get("/admin/sign-in/", follow=False).headers["Location"]).query)
    assert {"state", "code_challenge"} <= set(asked)
    assert asked["code_challenge_method"] == ["S256"]
    assert set(asked["scope"][0].split()) == {"openid", "profile", "email"}


@pytest.mark.parametrize("target", ["https://evil.example.com/", "//evil.example.com/", "javascript:alert(1)"])
def test_sign_in_leads_to_no_other_site(browser, service, target):
    assert browser.sign_in("00u1", target=target).url == f"{service.url}/admin/"


def test_no_other_page_of_the_library_is_there(browser):
    for path in ("/accounts/login/", "/accounts/signup/", "/admin/signup/", "/admin/socialaccount/socialapp/"):
        assert browser.get(path, follow=False).status_code in {302, 404}, path
        assert "/admin/login/" in browser.get(path, follow=False).headers.get("Location", "/admin/login/")


def test_provider_that_is_away_leaves_the_password(tmp_path):
    with identity_provider() as gone:
        service = started(tmp_path, gone)
    try:
        wait_until_live(service)
        browser = Browser(service.url)
        page = browser.get("/admin/sign-in/")
        assert (page.status_code, page.headers["Retry-After"]) == (503, "60")
        assert "Example ID cannot be reached" in page.text
        assert browser.get("/admin/login/").status_code == 200
    finally:
        service.kill()


@pytest.mark.parametrize("size", SIZES)
def test_login_page_leads_to_the_provider_and_back(chromium: Chromium, service, size):
    context = chromium.new_context(base_url=service.url, viewport=size)
    context.set_default_timeout(15_000)
    context.route(lambda url: not re.match(r"http://(localhost|127\.0\.0\.1):", url), lambda route: route.abort())
    page: Page = context.new_page()
    refused: list[str] = []
    page.on("pageerror", lambda error: refused.append(str(error)))
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        page.goto("/admin/")
        button = page.get_by_role("link", name="Sign in with Example ID")
        expect(button).to_be_visible()
        expect(page.get_by_label("Password")).to_be_hidden()
        page.get_by_text("Sign in with a password instead").click()
        expect(page.get_by_label("Password")).to_be_visible()
        assert page.evaluate(OVERFLOW) == 0
        button.click()
        page.get_by_role("button", name="00u1").click()
        expect(page).to_have_url(f"{service.url}/admin/")
        page.goto("/admin/sign-in/callback/")
        expect(page.get_by_text("did not sign you in")).to_be_visible()
        assert page.evaluate(OVERFLOW) == 0
        assert refused == []
    finally:
        context.close()
