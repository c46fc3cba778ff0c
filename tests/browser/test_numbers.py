"""Every page shows the numbers that the API answers, on a desk and on a phone."""

from __future__ import annotations

import numpy as np
import pytest
from django.urls import reverse
from playwright.sync_api import expect

from models_registry.templatetags import registry
from tests.artifacts.formats.test_onnx_inputs import copying
from tests.artifacts.formats.test_onnx_outputs import opened
from tests.browser.test_playground import look  # noqa: F401 - the fixture that opens a page
from tests.mlapi.conftest import load  # noqa: F401 - the fixture that serves an estimator by hand
from tests.support.live import live_service
from tests.support.registry import version

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


class Always:
    """Answers the same for every row."""

    n_features_in_ = 1

    def __init__(self, answer):
        self.answer = answer

    def predict(self, rows):
        return np.array([self.answer] * len(rows))


class Unsure(Always):
    """A classifier of two large whole numbers."""

    classes_ = np.array([2**53 + 1, 2**53 + 3])

    def predict_proba(self, rows):
        return np.array([[0.4274674, 0.5725326]] * len(rows))


ANSWERS = {
    "3534114.23": 3534114.23,
    "0.1234567890123": 0.1234567890123,
    "-1.7976931348623157e+308": -1.7976931348623157e308,
    "9007199254740993": 2**53 + 1,
    "9007199254740993, 0.30000000000000004": None,
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_predictions_are_shown_with_every_digit(load, look, size):  # noqa: F811
    for name, (text, answer) in enumerate(ANSWERS.items()):
        model = Always(answer) if answer is not None else Always(np.array([2**53 + 1, 0.1 + 0.2], dtype=object))
        load(model, f"m{name}", example=[1.0])
        with live_service() as url:
            page = look(url, size, path=f"/#m{name}")
            expect(page.locator("#prediction")).to_have_text(text)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{text} fits the page"


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_rounded_shares_say_so_and_labels_keep_their_digits(load, look, size):  # noqa: F811
    load(Unsure(2**53 + 3), example=[1.0])
    with live_service() as url:
        page = look(url, size)
        expect(page.locator("#prediction")).to_have_text("9007199254740995")
        best = page.locator(".likeliest")
        expect(best.locator(".class")).to_have_text("9007199254740995")
        expect(best.locator(".share")).to_have_text("≈\u202f57.3\u00a0%")
        expect(best.locator(".share")).to_have_attribute("title", "0.5725326")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_each_of_several_outputs_has_its_name(load, look, size):  # noqa: F811
    load(Always(np.array([0.5, 0.25])), example=[1.0])
    with live_service() as url:
        page = look(url, size)
        values = page.locator("#prediction .value")
        expect(values).to_have_text(["0.5", "0.25"])
        names = values.evaluate_all("found => found.map(value => getComputedStyle(value, '::before').content)")
        assert names == ['"Output 1: "', '"Output 2: "']
        rows = {"name": "rows.csv", "mimeType": "text/csv", "buffer": b"x0\n1\n2\n"}
        page.locator("#csv").set_input_files(rows)
        expect(page.locator("#table th")).to_have_text(["Output 1", "Output 2", "x0"])
        expect(page.locator("#table tbody tr").last.locator("td")).to_have_text(["0.5", "0.25", "2"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_large_integer_is_sent_as_typed(load, look, tmp_path):  # noqa: F811
    load(opened(tmp_path, copying("int64")), example=[2**53 + 1])
    with live_service() as url:
        page = look(url)
        expect(page.locator("#prediction")).to_have_text("9007199254740993")
        page.get_by_label("x0").fill("9007199254740995")
        expect(page.locator("#prediction")).to_have_text("9007199254740995")
        expect(page.locator("#snippet")).to_contain_text('{"features": [9007199254740995]}')


@pytest.mark.parametrize(
    ("text", "value"), [("51234.2", 51234.2), ("0.981", 0.981), ("12345678", 12345678), ("1e-09", 1e-9)]
)
def test_a_metric_has_every_digit(text, value):
    assert registry.number(value) == text


ROUNDED = [
    (registry.size, 2_500_000, "2.5 MB"),
    (registry.size, 3_456_789, "≈ 3.46 MB"),
    (registry.size, 1_234_567_890_123, "≈ 1,235 GB"),
    (registry.size, 999, "999 bytes"),
    (registry.seconds, 0.25, "250 ms"),
    (registry.seconds, 0.00041237, "≈ 412 µs"),
    (registry.seconds, 12.3456, "≈ 12.3 s"),
    (registry.seconds, 1234.0, "1,234 s"),
]


@pytest.mark.parametrize(("write", "value", "text"), ROUNDED)
def test_a_rounded_amount_says_so(write, value, text):
    assert write(value) == text


@pytest.mark.django_db(transaction=True)
def test_metrics_in_the_admin_are_exact(admin_client):
    made = version("m", metrics={"rmse": 51234.2})
    url = reverse("admin:models_registry_modelversion_change", args=[made.pk])
    assert "<strong>51234.2</strong>" in admin_client.get(url).content.decode()
