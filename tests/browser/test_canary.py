"""A canary in a real browser: started, watched, given back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from models_registry import services
from models_registry.models import Canary
from models_registry.monitoring.buckets import SECONDS
from models_registry.monitoring.usage import Usage, write_usage
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)

VIEW = ("view_registeredmodel", "view_modelversion", "view_activation", "view_replica", "activate_modelversion")


def usage(requests: int, *, errors: int, bucket: int) -> Usage:
    latency = [0] * (len(SECONDS) + 1)
    latency[bucket] = requests - errors
    return Usage(requests=requests, errors={"exception": errors}, latency=latency, labels={"yes": requests})


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_canary_is_started_watched_and_given_back(open_page, width, scheme):
    services.activate(version("digits", 1), by="bob")
    version("digits", 2)
    model = services.get_model("digits")
    page = open_page(*VIEW, size={"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/admin/models_registry/registeredmodel/{model.pk}/change/")
    page.locator('tr[data-version="2"]').get_by_role("link", name="Activate").click()
    page.get_by_label("Share of the requests, %").fill("10")
    page.get_by_label("Minutes until the canary becomes active").fill("30")
    page.get_by_role("button", name="Activate version 2").click()
    expect(page.locator("#canary")).to_contain_text("Canary: version 2 with 10 % of the requests")
    expect(page.locator("#canary")).to_contain_text("No replica is live.")

    Canary.objects.update(traffic_at=timezone.now() - timedelta(minutes=10))
    minute = (timezone.now() - timedelta(minutes=5)).replace(second=0, microsecond=0)
    figures = {("digits", 1): usage(900, errors=0, bucket=8), ("digits", 2): usage(100, errors=2, bucket=9)}
    write_usage("r", minute, figures)
    # The page takes it up by itself.
    expect(page.locator("#canary")).to_have_attribute("data-state", "serving")
    expect(page.locator("#canary")).to_contain_text("The model failed at 2 of 100 requests (2.00%)")
    expect(page.locator("#canary")).to_contain_text("2 errors; between")
    assert page.locator("#canary .reg-scroll").first.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    assert overflow(page) <= 0
    page.get_by_role("button", name="Roll back the canary").click()
    expect(page.get_by_text("Rolled back: all requests to digits go to version 1 again.")).to_be_visible()
    expect(page.get_by_text("Ended by hand")).to_be_visible()
    assert overflow(page) <= 0
