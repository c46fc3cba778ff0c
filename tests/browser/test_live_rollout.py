"""The flow that everything is for, with the real thing on both ends: Chromium, gunicorn's workers, and clients."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, expect

from tests.support.estimators import constant, save
from tests.support.waiting import eventually


@pytest.mark.timeout(300)
def test_a_click_on_activate_reaches_every_worker(chromium: Browser, new_service, tmp_path):
    service = new_service(
        WEB_WORKERS="2",
        MODELS_DISCOVERY_SECONDS="3600",
        MLAPI_STATIC=str(tmp_path / "static"),
        DJANGO_SUPERUSER_PASSWORD="opens",
    )
    service.manage_all(
        ["collectstatic", "--no-input", "--verbosity", "0", "--ignore", "redoc"],
        ["ensure_admin"],
        ["publish_model", "m", save(constant(1), tmp_path / "1.joblib"), "--activate"],
    )
    service.start().wait_until_served("m", 1, replicas=2)
    # Somebody copies a file; nobody types a command from here on.
    save(constant(2), service.storage / "m" / "model.joblib")
    context = chromium.new_context(base_url=service.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("opens")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Models").first.click()
    page.get_by_role("button", name="Look for new versions").click()
    expect(page.get_by_text("Found 1 version: m 2.")).to_be_visible()
    page.get_by_role("link", name="m", exact=True).click()
    found = page.locator('tr[data-version="2"]')
    eventually(lambda: page.reload() and "Ready" in (found.text_content() or ""), seconds=60, poll=1)
    found.get_by_role("link", name="Activate").click()
    expect(page.locator("#change")).to_have_text("m: version 1 → version 2, on 2 live replicas.")
    page.get_by_label("Reason").fill("it answers two")
    page.get_by_role("button", name="Activate version 2").click()
    expect(page.locator("#rollout-text")).to_have_text("All 2 live replicas serve version 2.")
    for _ in range(10):
        assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 2
    page.get_by_role("link", name="Roll back").click()
    page.get_by_label("Reason").fill("it should answer one")
    page.get_by_role("button", name="Roll back to version 1").click()
    expect(page.locator("#rollout-text")).to_have_text("All 2 live replicas serve version 1.")
    assert service.post("/predict", {"features": [0, 0]})[1]["prediction"] == 1
    page.get_by_role("link", name="History").first.click()
    expect(page.get_by_text("it should answer one")).to_be_visible()
    expect(page.get_by_text("it answers two")).to_be_visible()
    # The playground says what answers, and since when people want it.
    page.goto("/")
    expect(page.locator("#served")).to_contain_text("version 1 · activated")
    context.close()
    reasons = json.dumps(service.list_models())
    assert "rejected" not in reasons
