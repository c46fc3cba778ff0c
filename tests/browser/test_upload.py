"""Uploading a model in a real browser, through the application with its streamed uploads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from sklearn.linear_model import LogisticRegression

from models_registry import services
from models_registry.models import ModelVersion
from tests.browser.test_usage_pages import has_no_sideways_scroll
from tests.support.estimators import save
from tests.support.live import live_service

pytestmark = pytest.mark.django_db(transaction=True)
RIGHTS = ("view_registeredmodel", "view_modelversion", "publish_modelversion", "try_modelversion")
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(params=[("desktop", "light"), ("phone", "dark")], ids="-".join)
def page(request, chromium: Browser, storage_directory) -> Iterator[Page]:
    """Return a page of a publisher's, of the whole service."""
    size, scheme = request.param
    user = User.objects.create_user("ann", password="opens", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=RIGHTS))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    with live_service() as url:
        context = chromium.new_context(base_url=url, viewport=SIZES[size], color_scheme=scheme)
        context.set_default_timeout(10_000)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        context.close()
    assert not problems


def test_from_an_empty_registry_to_a_ready_version(page, tmp_path):
    frame = pd.DataFrame({"age": [20.0, 30, 40, 50]})
    artifact = save(LogisticRegression().fit(frame, ["a", "b", "a", "b"]), tmp_path / "churn model.joblib")
    (tmp_path / "sample.csv").write_text("age,prediction\n20,a\n")
    frame.to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "model.h5").write_bytes(b"x")

    page.goto("/admin/")
    page.get_by_role("link", name="Upload one").click()
    expect(page.get_by_role("heading", name="Upload a model")).to_be_visible()
    assert has_no_sideways_scroll(page)
    expect(page.locator("#notebook-code")).to_contain_text("publish(model, X_test")

    page.get_by_label("Artifact").set_input_files(tmp_path / "model.h5")
    expect(page.get_by_text("model.h5 ends in .h5; expected .joblib")).to_be_visible()
    expect(page.get_by_text("export it as ONNX with model.export or tf2onnx")).to_be_visible()
    page.get_by_role("button", name="Upload and validate").click()
    expect(page.get_by_label("Artifact")).to_be_focused()

    page.get_by_label("Artifact").set_input_files(artifact)
    expect(page.get_by_text("ends in .h5")).to_be_hidden()
    expect(page.get_by_label("Model", exact=True)).to_have_value("churn-model")
    page.get_by_label("Model", exact=True).fill("my model")
    page.get_by_label("Model", exact=True).blur()
    page.get_by_label("Sample").set_input_files(tmp_path / "sample.csv")
    expect(page.get_by_text("Try my-model.")).to_be_visible()
    page.get_by_label("Reference").set_input_files(tmp_path / "model.h5")
    expect(page.get_by_text("model.h5 ends in .h5; expected .csv, .parquet")).to_be_visible()
    page.get_by_label("Reference").set_input_files(tmp_path / "train.csv")
    expect(page.get_by_text("expected .csv, .parquet")).to_be_hidden()
    page.get_by_label("Model", exact=True).fill("churn")
    page.get_by_label("Description").fill("the first")
    page.get_by_role("button", name="Upload and validate").click()

    expect(page.get_by_role("heading", name="churn version 1")).to_be_visible()
    expect(page.locator("[aria-current=step]")).to_have_text("Inspection")
    services.check_next("test")
    expect(page.get_by_text("Published with expected predictions")).to_be_visible()
    version = ModelVersion.objects.get()
    assert (version.state, version.description, version.published_by) == ("ready", "the first", "ann")
    assert version.sample["predictions"] == ["a"]
    assert (version.reference["name"], version.reference["rows"]) == ("reference.csv", 4)
    expect(page.get_by_text("reference.csv, 4 rows")).to_be_visible()
    assert has_no_sideways_scroll(page)


def test_refusal_is_shown_and_the_form_kept(page, tmp_path):
    artifact = save(LogisticRegression().fit(np.eye(2), [0, 1]), tmp_path / "model.joblib")
    (tmp_path / "sample.csv").write_text("age,prediction\n")
    page.goto("/admin/models_registry/modelversion/upload/?model=churn")
    expect(page.get_by_label("Model", exact=True)).to_have_value("churn")
    page.get_by_label("Artifact").set_input_files(artifact)
    page.get_by_label("Sample").set_input_files(tmp_path / "sample.csv")
    page.get_by_role("button", name="Upload and validate").click()
    expect(page.locator("#upload-problem")).to_contain_text("needs a header and at least one row")
    expect(page.get_by_role("button", name="Upload and validate")).to_be_enabled()
    assert not ModelVersion.objects.exists()
