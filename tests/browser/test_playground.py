"""The playground in a real browser: draw, choose, type, copy, and read the version that answered."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import joblib
import pandas as pd
import pytest
from playwright.sync_api import expect
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from mlapi import replica
from mlapi.openapi import document
from models_registry import demo
from models_registry.artifacts.manifest import Manifest
from models_registry.artifacts.sample import ranges
from models_registry.inference.api_key_cache import ApiKeyCache, HeldKey
from tests.mlapi.conftest import load  # noqa: F401 - the fixture that serves an estimator by hand
from tests.support.live import live_service

DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 375, "height": 800}


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Return the demo's models, trained once: name -> estimator and manifest."""
    directory = tmp_path_factory.mktemp("demo")
    paths = {name: write(directory) for name, write in demo.MODELS.items()}
    return {
        name: (joblib.load(path), json.loads(path.with_name(path.name + ".manifest.json").read_text()))
        for name, path in paths.items()
    }


@pytest.fixture
def serve(load, demos):  # noqa: F811
    """Return a function that serves a model of the demo."""

    def serve_demo(name, number=1):
        model, manifest = demos[name]
        read = Manifest.from_json(manifest)
        loaded = load(model, name, number=number, declared=read.inputs, example=manifest["sample"]["instances"][0])
        snapshot = replica.runtime.snapshot
        ranged = replace(loaded, ranges=ranges(read.sample, loaded.schema), description=read.description)
        replica.runtime.snapshot = replace(snapshot, models={**snapshot.models, name: ranged})

    return serve_demo


@pytest.fixture
def look(chromium):
    """Return a way to open the playground; an error of a script or a file from elsewhere fails the test."""
    contexts, problems = [], []

    def open_it(url, size=DESKTOP, scheme="light", path="/"):
        context = chromium.new_context(
            viewport=size, color_scheme=scheme, permissions=["clipboard-read", "clipboard-write"]
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
        page.on("request", lambda request: None if request.url.startswith(url) else problems.append(request.url))
        page.goto(f"{url}{path}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not problems


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_digits_are_drawn_by_pointer_and_by_keyboard(serve, look):
    serve("digits", number=3)
    with live_service() as url:
        page = look(url)
        prediction = page.locator("#prediction")
        expect(prediction).to_have_text("2")
        expect(page.locator(".bars li")).to_have_count(10)
        expect(page.locator("#by")).to_contain_text("version 3, loaded")
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#snippet")).to_contain_text("0, 0, 0, 0, 0, 0, 0, 0,\n  0, 0")
        box = page.get_by_role("grid").bounding_box()
        unit = box["width"] / 8
        page.mouse.move(box["x"] + 4 * unit, box["y"] + 0.6 * unit)
        page.mouse.down()
        page.mouse.move(box["x"] + 4 * unit, box["y"] + 7.4 * unit, steps=3)
        page.mouse.up()
        expect(prediction).to_have_text("1")
        expect(page.get_by_role("gridcell", name="row 4, column 4: 13 of 16")).to_be_visible()
        page.get_by_role("gridcell", name="row 8, column 4").focus()
        for key in ("Home", "ArrowUp", "ArrowRight", " ", "ArrowRight", "+", "+"):
            page.keyboard.press(key)
        expect(page.get_by_role("gridcell", name="row 7, column 2: 16 of 16")).to_be_visible()
        expect(page.get_by_role("gridcell", name="row 7, column 3: 4 of 16")).to_be_focused()
        page.get_by_role("button", name="Erase").click()
        page.mouse.click(box["x"] + 1.5 * unit, box["y"] + 6.5 * unit)
        expect(page.get_by_role("gridcell", name="row 7, column 2: 0 of 16")).to_be_visible()
        page.get_by_role("button", name="Example").click()
        expect(prediction).to_have_text("2")


def test_schema_makes_the_form_and_changes_update_answers(serve, look):
    serve("penguins")
    with live_service() as url:
        page = look(url)
        expect(page.locator("#prediction")).to_have_text("Adelie")
        island = page.get_by_label("island")
        assert island.locator("option").all_inner_texts() == ["Biscoe", "Dream", "Torgersen"]
        island.select_option(label="Biscoe")
        for name, value in (("bill_length_mm", "50"), ("flipper_length_mm", "225"), ("body_mass_g", "5600")):
            page.get_by_label(name).fill(value)
        expect(page.locator("#prediction")).to_have_text("Gentoo")
        slider = page.locator(".field:has(#input-3) input[type=range]")
        assert 0 < float(slider.get_attribute("min")) < 17 < float(slider.get_attribute("max")) < 40
        slider.fill("14.1")
        expect(page.get_by_label("bill_depth_mm")).to_have_value("14.1")
        expect(page.locator("#snippet")).to_contain_text('"bill_depth_mm": 14.1')
        row = {"island": "Biscoe", "sex": "female", "bill_length_mm": 50, "bill_depth_mm": 14.1}
        row |= {"flipper_length_mm": 225, "body_mass_g": 5600}
        told = post(f"{url}/models/penguins/predict", {"features": row, "probabilities": True})
        best = page.locator(".likeliest")
        expect(best).to_contain_text(f"{told['probabilities']['Gentoo'] * 100:.1f}".replace("100.0", "99.9"))


@pytest.mark.parametrize(
    ("size", "scheme"), [({"width": 1280, "height": 900}, "light"), ({"width": 390, "height": 844}, "dark")]
)
def test_contributions_are_bars_that_add_up(load, look, size, scheme):  # noqa: F811
    rows = [[1.0, 2.0], [2.0, 5.0], [3.0, 1.0]]
    load(LinearRegression().fit(pd.DataFrame(rows, columns=["area", "years"]), [1.0, -4.0, 10.0]), "prices")
    load(KNeighborsClassifier(1).fit(rows, [0, 1, 0]), "neighbours")
    with live_service() as url:
        page = look(url, size, scheme, "/#prices")
        page.get_by_label("area").fill("2")
        page.get_by_label("years").fill("3")
        expect(page.locator(".moves li")).to_have_count(0)
        page.get_by_label("Explain").check()
        told = post(f"{url}/models/prices/predict", {"features": [2, 3], "explain": True})["explanation"]
        lines = page.locator(".moves li")
        expect(lines).to_have_count(2)
        shares = {line.locator(".class").inner_text(): line.locator(".share") for line in lines.all()}
        for name, value in told["contributions"].items():
            assert float(shares[name].get_attribute("title")) == pytest.approx(value)
        expect(page.locator("li.down .class")).to_have_text("years")
        page.get_by_label("area").fill("2.123456")
        expect(page.locator("li.up .share")).to_contain_text("≈")
        # Both at once: each answer draws the bars anew.
        left, right = page.evaluate(
            "['down', 'up'].map(side => document.querySelector(`li.${side} .fill`).getBoundingClientRect().toJSON())"
        )
        assert left["x"] + left["width"] <= right["x"] + 0.5
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        expect(page.locator("#snippet")).to_contain_text("explain")
        page.get_by_label("Model", exact=True).select_option("neighbours")
        expect(page.locator("#explanation")).to_contain_text("KNeighborsClassifier")
        expect(page.get_by_label("Explain")).to_be_disabled()
        expect(page.locator("#result")).to_be_visible()


def test_snippets_are_copied_and_work(serve, look):
    serve("penguins")
    with live_service() as url:
        page = look(url)
        page.get_by_label("body_mass_g").fill("4000")
        expect(page.locator("#snippet")).to_contain_text("4000")
        for language in ("curl", "Python"):
            page.get_by_role("tab", name=language).click()
            page.get_by_role("button", name="Copy").click()
            expect(page.get_by_role("button", name="Copied")).to_be_visible()
            text = page.evaluate("navigator.clipboard.readText()")
            command = ["bash", "-c", text] if language == "curl" else [sys.executable, "-c", text]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert "Adelie" in done.stdout
            expect(page.get_by_role("button", name="Copy")).to_be_visible()


def test_error_shows_at_its_field_until_corrected(serve, look):
    serve("penguins")
    with live_service() as url:
        page = look(url)
        expect(page.locator("#prediction")).to_have_text("Adelie")
        mass = page.get_by_label("body_mass_g")
        mass.fill("1e39")
        expect(page.get_by_role("alert")).to_contain_text("feature 'body_mass_g': expected a number")
        expect(mass).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#prediction")).to_be_hidden()
        mass.fill("4000")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator("#prediction")).to_have_text("Adelie")
        expect(mass).to_have_attribute("aria-invalid", "false")


def test_new_version_is_shown_without_a_reload(serve, look):
    serve("penguins", number=1)
    with live_service() as url:
        page = look(url)
        expect(page.locator("#served")).to_contain_text("version 1")
        page.get_by_label("body_mass_g").fill("4100")
        expect(page.locator("#by")).to_contain_text("version 1, loaded")
        serve("penguins", number=2)
        page.get_by_label("body_mass_g").fill("4200")
        expect(page.locator("#by")).to_contain_text("version 2")
        expect(page.locator("#served")).to_contain_text("version 2")
        expect(page.get_by_label("body_mass_g")).to_have_value("4200")


def test_key_is_asked_for_where_predictions_need_one(serve, look, settings):
    serve("penguins")
    settings.MLAPI_REQUIRE_API_KEY = True
    held = HeldKey(1, "test", "k")
    replica.runtime.keys = ApiKeyCache({hashlib.sha256(b"secret-key").digest(): held})
    try:
        with live_service() as url:
            page = look(url)
            expect(page.get_by_role("alert")).to_contain_text("An API key is required")
            expect(page.locator("#snippet")).to_contain_text("X-API-Key: $MLAPI_KEY")
            page.get_by_label("API key").fill("wrong")
            expect(page.get_by_role("alert")).to_contain_text("401 · invalid_api_key")
            page.get_by_label("API key").fill("secret-key")
            expect(page.locator("#prediction")).to_have_text("Adelie")
            assert "secret-key" not in page.locator("#snippet").inner_text()
    finally:
        replica.runtime.keys = None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_everything_within_its_width(serve, load, look, scheme):  # noqa: F811
    serve("digits")
    serve("penguins")
    rows = [{"a": 1, "c": "x"}, {"a": 5, "c": "y"}]
    load(make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, [0, 1]), "r" * 60, example=rows[0])
    with live_service() as url:
        page = look(url, PHONE, scheme)
        for name in ("digits", "penguins", "r" * 60):
            page.get_by_label("Model").select_option(name)
            expect(page.locator("#snippet")).to_contain_text(f"/models/{name}/predict")
            expect(page.locator("#by")).to_contain_text("version 1")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        page.get_by_label("features, as JSON").fill("{oops")
        expect(page.locator("#json-problem")).to_contain_text("not valid JSON")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(1")
        assert dark is (scheme == "dark")


def test_address_names_the_model_and_nothing_served_is_explained(serve, look):
    with live_service() as url:
        empty = look(url)
        expect(empty.get_by_role("status").first).to_contain_text("publish_model")
        serve("digits")
        serve("penguins")
        page = look(url, path="/#penguins")
        expect(page.get_by_label("Model")).to_have_value("penguins")
        page.get_by_label("Model").select_option("digits")
        assert page.url.endswith("/#digits")
        link = page.get_by_role("link", name="in the admin")
        expect(link).to_have_attribute("href", "/admin/models_registry/registeredmodel/named/digits/")


def test_docs_page_draws_the_models(serve, look):
    serve("penguins")
    with live_service() as url:
        page = look(url, path="/docs")
        expect(page.get_by_text("/models/penguins/predict", exact=True)).to_be_visible()
        expect(page.locator("body")).not_to_contain_text("Failed to load")
        links = page.get_by_role("navigation", name="Service").get_by_role("link")
        assert links.all_inner_texts() == ["Playground", "Models", "Admin"]
        links.first.click()
        expect(page.get_by_label("Model")).to_have_value("penguins")
        assert links.all_inner_texts() == ["API", "Models", "Admin"]


@pytest.mark.parametrize(
    ("description", "said"),
    [("weekly retrain", "weekly retrain."), ("Is it warm?", "Is it warm?"), ("(by hand.)", "(by hand.)"), ("", "")],
)
def test_docs_end_a_description_before_they_go_on(load, description, said):  # noqa: F811
    loaded = load(make_pipeline(LogisticRegression()).fit([[0], [1]], [0, 1]), "m", example=[0])
    snapshot = replica.runtime.snapshot
    described = document(replace(snapshot, models={"m": replace(loaded, description=description)}), [])
    assert described["tags"][0]["description"].startswith(f"{said} Version 1, sha256".strip())
    about = described["paths"]["/models/m/predict"]["post"]["description"]
    assert about.startswith(f"{said} A classifier that takes".strip())


def test_picture_of_the_docs_is_there_and_small():
    picture = Path(__file__).resolve().parents[2] / "docs" / "images" / "playground.png"
    assert 10_000 < picture.stat().st_size < 150_000
