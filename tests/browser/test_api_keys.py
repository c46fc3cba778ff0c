"""Making and revoking a key in the admin, in a real browser, under the page's content security policy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from models_registry import services
from tests.browser.conftest import PHONE

HIDDEN_PIXELS = "(box => box.scrollWidth - box.clientWidth)(document.getElementById('api-key'))"
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_key_is_made_seen_once_and_revoked(open_page):
    services.register_model("digits")
    services.register_model("penguins")
    page: Page = open_page("manage_apikey", "view_apikey")
    refused: list[str] = []
    page.on(
        "console", lambda message: refused.append(message.text) if "Content Security Policy" in message.text else None
    )
    page.goto("/admin/")
    page.get_by_role("link", name=re.compile("API keys$")).first.click()
    expect(page.get_by_text("No API key yet")).to_be_visible()
    page.goto("/admin/models_registry/apikey/add/")
    page.get_by_label("Name").fill("web shop")
    page.get_by_label("digits").check()
    page.get_by_label("Rate per minute").fill("60")
    page.get_by_role("button", name="Create the key").click()
    key = page.locator("#api-key").inner_text()
    assert services.get_key(key).model_names == ["digits"]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_visible()
    page.set_viewport_size(PHONE)
    assert page.evaluate(HIDDEN_PIXELS) == 0, "the key goes on where nobody sees it"
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("cell", name="in use")).to_be_visible()
    assert key not in page.content()
    page.get_by_role("link", name="web shop").click()
    page.get_by_role("button", name="Revoke permanently").click()
    expect(page.get_by_text("is revoked. Replicas refuse it")).to_be_visible()
    expect(page.get_by_role("cell", name="revoked")).to_be_visible()
    assert refused == []
