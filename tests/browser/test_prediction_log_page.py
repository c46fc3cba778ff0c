"""The newest logged requests, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from playwright.sync_api import expect

from models_registry.artifacts.prediction import Prediction
from models_registry.artifacts.schema import Schema
from models_registry.inference.capture import Capture, CapturedCall
from models_registry.inference.runtime import Runtime
from tests.browser.test_usage_pages import SIZES, VIEW, has_no_sideways_scroll
from tests.mlapi.test_prediction_log import Log
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_logged_rows_are_shown_and_filtered(size, scheme, open_page, tmp_path, settings):
    model = version("digits", 1).model
    log = Log(tmp_path, runtime=(runtime := Runtime()))
    settings.MODELS_LOG_STORAGE = log.directory.as_uri()
    schema = Schema.from_json(model.versions.get().schema)
    for number in (1, 2):
        answer = Prediction(np.array([float(number)] * 2))
        inputs = np.full((2, 2), 1_821_200.28 + number)
        call = CapturedCall("digits", 1, schema, Capture(100), inputs, 2, answer, at=datetime.now(UTC))
        runtime.captured.offer(call, f"request-{number}")
        log.writer.finish()
    page = open_page(*VIEW, "view_predictionlog", size=SIZES[size])
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/admin/models_registry/registeredmodel/{model.pk}/change/")
    page.get_by_role("link", name="Prediction log", exact=True).click()
    rows = page.locator("#log-rows tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("request-2")
    page.get_by_label("Prediction").fill("1.0")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("request-1")
    value = rows.first.get_by_text("1821201.28").first
    assert value.evaluate("cell => cell.clientHeight - parseFloat(getComputedStyle(cell).lineHeight)") < 20
    assert has_no_sideways_scroll(page)
