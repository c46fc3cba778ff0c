"""Drift, quality, the shadow and the settings of the prediction log, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from models_registry import services
from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema
from models_registry.inference.capture import Capture, CapturedCall
from models_registry.inference.ground_truth import Label, LabelBatch
from models_registry.inference.runtime import Runtime
from models_registry.monitoring.usage import Usage, write_usage
from models_registry.monitoring.value_counts import ValueCounts
from models_registry.services.shadows import ShadowCounts
from tests.browser.test_usage_pages import VIEW, has_no_sideways_scroll
from tests.mlapi.test_prediction_log import Log
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = np.random.default_rng(2).normal(0, 5, (300, 2)).round(3)
LOOKS = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])


@pytest.fixture
def model(tmp_path, settings):
    """Return a model whose second feature has moved; 200 of its 300 logged rows have a label."""
    found = version("m", 1, sample={"instances": ROWS.tolist(), "predictions": ROWS[:, 0].tolist()})
    services.activate(found, by="bob")
    version("m", 2)
    log = Log(tmp_path, runtime=(runtime := Runtime()))
    settings.MODELS_LOG_STORAGE = log.directory.as_uri()
    answer = Prediction(ROWS[:, 0])
    moved = ROWS + np.array([0, 10])
    now = datetime.now(UTC)
    call = CapturedCall("m", 1, Schema.from_json(found.schema), Capture(100), moved, 300, answer, at=now)
    runtime.captured.offer(call, "r")
    labels = tuple(Label("r", row, float(value) + 1) for row, value in enumerate(ROWS[:200, 0]))
    runtime.ground_truth.offer(LabelBatch("m", labels, now))
    log.writer.finish()
    return found.model


def look(open_page, model, width: int, scheme: str, *permissions: str) -> Page:
    page = open_page(*VIEW, *permissions, size={"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/admin/models_registry/registeredmodel/{model.pk}/change/")
    return page


def drawn(page: Page, title: str) -> list[float]:
    """Return the sums of the series that Chart.js drew under this title."""
    return page.evaluate(
        """title => {
            const figure = [...document.querySelectorAll(".reg-chart")]
                .find(one => one.querySelector("figcaption").textContent === title);
            return Chart.getChart(figure.querySelector("canvas")).data.datasets.map(
                set => set.data.reduce((sum, value) => sum + (value || 0), 0));
        }""",
        title,
    )


@LOOKS
def test_drift_and_quality_are_drawn(open_page, model, width, scheme):
    page = look(open_page, model, width, scheme)
    page.get_by_role("link", name="Drift", exact=True).click()
    expect(page.locator('tr[data-column="x1"]')).to_have_attribute("data-verdict", "changed")
    expect(page.locator('tr[data-column="x0"]')).to_have_attribute("data-verdict", "fine")
    assert drawn(page, "x1") == [pytest.approx(100, abs=0.1)] * 2
    page.locator('[data-plot="x1"] summary').click()
    expect(page.locator('[data-plot="x1"] tbody tr').first).to_be_visible()
    assert has_no_sideways_scroll(page)
    page.get_by_role("link", name="Quality", exact=True).click()
    expect(page.locator('tr[data-version="1"]')).to_contain_text("200 (66.7 %)")
    assert drawn(page, "MAE") == [1]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert has_no_sideways_scroll(page)


@LOOKS
def test_drift_from_windows_is_drawn(open_page, model, width, scheme):
    active = model.active_version
    (stored,) = services.prepare_bins([active.pk]).values()
    moved = ROWS + np.array([0, 10])
    counted = tuple(tuple(counts.tolist()) for counts in stored.bins.count(moved, ROWS[:, 0]))
    usage = Usage(requests=3, rows=300, features=ValueCounts(stored.pk, counted, rows=300, dropped=20))
    write_usage("r", timezone.now().replace(second=0, microsecond=0), {("m", 1): usage})
    page = look(open_page, model, width, scheme)
    page.get_by_role("link", name="Drift", exact=True).click()
    expect(page.locator("#drift-basis")).to_contain_text("20 more rows were not counted")
    expect(page.locator('tr[data-column="x1"]')).to_have_attribute("data-verdict", "changed")
    expect(page.locator('tr[data-column="x0"]')).to_contain_text("Jensen-Shannon distance over bins")
    assert drawn(page, "x1") == [pytest.approx(100, abs=0.1)] * 2
    assert has_no_sideways_scroll(page)


@LOOKS
def test_shadow_is_started_watched_and_ended(open_page, model, width, scheme):
    page = look(open_page, model, width, scheme, "activate_modelversion")
    page.get_by_role("link", name="Shadow", exact=True).click()
    page.get_by_label("Share of the requests, %").fill("25")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#change")).to_have_text("m: version 2 gets copies of 25 % of the requests.")
    page.get_by_role("button", name="Start the shadow").click()
    expect(page.locator("#shadow-agreement")).to_have_text("–")
    counts = ShadowCounts(rows=10, agreed=9, errors=1, dropped=3)
    services.record_shadow_counts("r", timezone.now(), {services.current_shadow(model).pk: counts})
    # The page takes it up by itself.
    expect(page.locator("#shadow-agreement")).to_contain_text("9 of 10 rows")
    expect(page.locator("#shadow-dropped")).to_contain_text("3 rows")
    assert has_no_sideways_scroll(page)
    page.get_by_role("link", name="End the shadow").click()
    page.get_by_label("Reason").fill("enough seen")
    page.get_by_role("button", name="End the shadow").click()
    expect(page.locator('tr[data-ended="2"]')).to_contain_text("enough seen")
    assert has_no_sideways_scroll(page)


@LOOKS
def test_log_is_switched_on_with_a_column_left_out(open_page, model, width, scheme):
    page = look(open_page, model, width, scheme, "change_registeredmodel")
    page.get_by_role("link", name="Settings of the prediction log").click()
    page.get_by_label("Log predictions").check(force=True)
    page.get_by_label("Excluded columns").fill("x9")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("alert")).to_contain_text("which no version of m has")
    page.get_by_label("Excluded columns").fill("x1")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("The settings of m's prediction log are saved.")).to_be_visible()
    model.refresh_from_db()
    assert (model.capture_percent, model.capture_exclude) == (10, ["x1"])
    assert has_no_sideways_scroll(page)
