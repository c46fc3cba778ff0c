"""A candidate is tried and compared before it is active, in a real browser."""

from __future__ import annotations

import pandas as pd
import pytest
from playwright.sync_api import expect
from sklearn.linear_model import LogisticRegression

from models_registry import services
from models_registry.artifacts.manifest import Sample
from tests.browser.test_upload import page
from tests.browser.test_usage_pages import has_no_sideways_scroll
from tests.support.estimators import save

__all__ = ["page"]

pytestmark = pytest.mark.django_db(transaction=True)
FRAME = pd.DataFrame({"age": [20.0, 30, 40, 50]})


@pytest.fixture
def candidate(storage_directory, tmp_path):
    """Return version 2 of a model, validated, beside version 1, which is active and not loaded."""
    for number, labels in enumerate((["b", "b", "a", "a"], ["a", "a", "b", "b"]), start=1):
        artifact = save(LogisticRegression().fit(FRAME, labels), tmp_path / f"{number}.joblib")
        sample = Sample(tuple(FRAME.to_dict("records")))
        version = services.publish("churn", artifact, by="t", sample=sample, metrics={"accuracy": number / 10})
        services.check_version(version)
        if number == 1:
            services.activate(version, by="t")
    return version


def test_from_the_version_to_an_answer_and_to_the_comparison(page, candidate):
    page.goto(f"/admin/models_registry/modelversion/{candidate.pk}/change/")
    page.get_by_role("link", name="Try it").click()
    expect(page.locator("#prediction")).to_have_text("a", timeout=30_000)
    expect(page.locator("#served")).to_contain_text("version 2")
    expect(page.get_by_text("Version 2 is tried in a sandbox")).to_be_visible()
    table = {"name": "rows.csv", "mimeType": "text/csv", "buffer": b"age\n20\n50\n"}
    page.locator("#csv").set_input_files(table)
    expect(page.locator("#table tbody td:first-child")).to_have_text(["a", "b"], timeout=30_000)
    assert has_no_sideways_scroll(page)

    page.goto(f"/admin/models_registry/modelversion/{candidate.pk}/change/")
    page.get_by_role("link", name="Compare it").click()
    expect(page.get_by_text("4 of 4 predictions differ.")).to_be_visible(timeout=30_000)
    assert has_no_sideways_scroll(page)
