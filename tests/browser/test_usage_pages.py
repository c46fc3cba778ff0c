"""Charts of a model's usage, and the overview's states, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from models_registry import services
from models_registry.monitoring.usage import Usage, write_usage
from tests.browser.conftest import Replicas
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)

VIEW = ("view_registeredmodel", "view_modelversion", "view_activation", "view_replica")
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 800}}


def latency(milliseconds_index: int, count: int) -> list[int]:
    counts = [0] * 35
    counts[milliseconds_index] = count
    return counts


@pytest.fixture
def digits():
    """Return a model whose version 2 fails at a tenth of what it is asked."""
    first = version("digits", 1)
    version("digits", 2)
    services.activate(first, by="bob")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for index in range(20):
        write_usage(
            "r1",
            now - timedelta(minutes=index),
            {
                ("digits", 1): Usage(30, 0, 30, {}, latency(8, 30), 0.06, {"3": 10, "7": 20}),
                ("digits", 2): Usage(10, 0, 9, {"exception": 6}, latency(12, 4), 0.1, {"3": 4}),
            },
        )
    return services.get_model("digits")


def has_no_sideways_scroll(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def chart_sums(page: Page) -> dict[str, list[float]]:
    """Return the sums of the series that Chart.js drew, by title."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".reg-chart")].map(figure => [
            figure.querySelector("figcaption").textContent,
            Chart.getChart(figure.querySelector("canvas")).data.datasets.map(
                set => set.data.reduce((sum, value) => sum + (value || 0), 0)),
        ]))"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_model_page_charts_show_what_was_written(open_page, digits, size, scheme):
    page = open_page(*VIEW, size=SIZES[size])
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/?window=24h")
    row = page.locator('tr[data-usage="2"]')
    expect(row).to_contain_text("200")
    expect(row).to_contain_text("120 (60 %)")
    sums = chart_sums(page)
    assert sums["Requests"] == [200, 600]
    assert sums["Errors"] == [120, 0]
    assert [round(total, 1) for total in sums["Predictions by label, %"]] == [100, 100]
    assert has_no_sideways_scroll(page)
    page.get_by_role("link", name="Month").click()
    expect(page.get_by_role("link", name="Month")).to_have_attribute("aria-current", "true")
    expect(page.locator('tr[data-usage="1"]')).to_contain_text("600")


@pytest.mark.parametrize("size", SIZES)
def test_overview_says_which_model_needs_help(open_page, digits, size):
    calm = version("calm", 1)
    services.activate(calm, by="bob")
    page = open_page(*VIEW, size=SIZES[size])
    with Replicas(digits, (11,)).beating() as replicas:
        replicas.serve(11, 1)
        page.goto("/admin/")
        rows = page.locator("tr[data-model]")
        expect(rows).to_have_count(2)
        expect(rows.first).to_have_attribute("data-state", "act")
        expect(rows.first).to_contain_text("120 of 800 requests failed in the last hours (15.0%).")
        expect(rows.first.get_by_role("img")).to_have_attribute("aria-label", "800 requests in 24 hours")
        assert has_no_sideways_scroll(page)
