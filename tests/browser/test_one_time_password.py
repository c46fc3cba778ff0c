"""The way from the one-time password to the admin, in a real browser."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, expect

from mlapi.sign_in.models import OneTimePassword

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_first_administrator_sets_a_password_by_keyboard(chromium: Browser, live_server, width):
    OneTimePassword.objects.create(user=User.objects.create_superuser("admin", password="given-at-the-start"))
    context = chromium.new_context(base_url=live_server.url, viewport={"width": width, "height": 844})
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto("/admin/models_registry/modelversion/")
    page.keyboard.type("admin")
    page.get_by_label("Password").fill("given-at-the-start")
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_text("You signed in with a one-time password.")).to_be_visible()
    page.goto("/admin/")
    expect(page.get_by_text("You signed in with a one-time password.")).to_be_visible()
    page.go_back()
    expect(page.locator("#id_new_password1")).to_be_focused()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.type("quite-my-own-9")
    page.locator("#id_new_password2").fill("another")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The two password fields didn’t match.")).to_be_visible()
    page.locator("#id_new_password1").fill("quite-my-own-9")
    page.locator("#id_new_password2").fill("quite-my-own-9")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live_server.url}/admin/models_registry/modelversion/")
    expect(page.get_by_text("Your password is set.")).to_be_visible()
    context.close()
