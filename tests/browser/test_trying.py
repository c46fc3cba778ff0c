"""A candidate is tried and compared before it is active, in a real browser."""

from __future__ import annotations

import pandas as pd
import pytest
from playwright.sync_api import expect
from sklearn.linear_model import LogisticRegression

from models_registry import services
from tests.browser.test_upload import page
from tests.browser.test_usage_pages import has_no_sideways_scroll
from tests.support.registry import ready_version

__all__ = ["page"]

pytestmark = pytest.mark.django_db(transaction=True)
FRAME = pd.DataFrame({"age": [20.0, 30, 40, 50]})


@pytest.fixture
def candidate(storage_directory, tmp_path):
    """Return version 2 of a model, validated, beside version 1, which is active and not loaded."""
    first, second = (
        ready_version(
            LogisticRegression().fit(FRAME, labels),
            tmp_path,
            "churn",
            sample={"instances": FRAME.to_dict("records"), "predictions": labels},
            metrics={"accuracy": 0.9},
        )
        for labels in (["b", "b", "a", "a"], ["a", "a", "b", "b"])
    )
    services.activate(first, by="t")
    return second


def test_version_page_leads_to_answer_and_comparison(page, candidate):
    page.goto(f"/admin/models_registry/modelversion/{candidate.pk}/change/")
    page.get_by_role("link", name="Try it").click()
    expect(page.locator("#prediction")).to_have_text("a", timeout=30_000)
    expect(page.locator("#served")).to_contain_text("version 2")
    expect(page.get_by_text("Version 2 runs in a sandbox")).to_be_visible()
    expect(page.get_by_role("link", name="Use the active version")).to_be_visible()
    table = {"name": "rows.csv", "mimeType": "text/csv", "buffer": b"age\n20\n50\n"}
    page.locator("#csv").set_input_files(table)
    expect(page.locator("#table tbody td:first-child")).to_have_text(["a", "b"], timeout=30_000)
    assert has_no_sideways_scroll(page)

    page.goto(f"/admin/models_registry/modelversion/{candidate.pk}/change/")
    page.get_by_role("link", name="Compare it").click()
    expect(page.get_by_text("4 of 4 predictions differ.")).to_be_visible(timeout=30_000)
    assert has_no_sideways_scroll(page)

    services.deactivate(services.get_model("churn"), by="t")
    page.goto("/?version=2#churn")
    expect(page.locator("#prediction")).to_have_text("a", timeout=30_000)
    expect(page.get_by_role("link", name="Use the active version")).to_have_count(0)
