"""Tasks of a user in the admin, in a real browser."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from models_registry import services
from models_registry.models import Activation, ModelVersion, RegisteredModel
from models_registry.services.rollout import ModelReport
from tests.browser.conftest import PHONE, Replicas
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)

VIEW = ("view_registeredmodel", "view_modelversion", "view_activation", "view_replica")


@pytest.fixture
def digits() -> RegisteredModel:
    """Return a model with version 1 active, 2 ready and 3 rejected."""
    first = version("digits", 1, metrics={"accuracy": 0.9})
    version("digits", 2, metrics={"accuracy": 0.95})
    version("digits", 3, "rejected", reason="It uses names that are not on the list of trusted names: os.system.")
    services.activate(first, by="bob", reason="the first")
    return services.get_model("digits")


def row_of(page: Page, pid: int):
    return page.locator(f'tr[data-replica="box:{pid}"]')


def go(page: Page, entry: str) -> None:
    if page.url == "about:blank":
        page.goto("/admin/")
    page.get_by_role("link", name=re.compile(rf"{entry}$")).first.click()


def test_logging_in_leads_to_what_is_live(open_page, digits):
    page = open_page(*VIEW)
    page.context.clear_cookies()
    page.goto("/admin/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password").fill("opens")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Active models")).to_be_visible()
    expect(page.get_by_role("link", name="Users")).to_have_count(0)


def test_from_an_empty_registry_to_a_found_version(open_page, storage_directory):
    page = open_page(*VIEW, "publish_modelversion")
    go(page, "Models")
    expect(page.get_by_text("python3 manage.py publish_model digits model.joblib")).to_be_visible()
    (storage_directory / "digits").mkdir()
    (storage_directory / "digits" / "model.joblib").write_bytes(b"x")
    page.get_by_role("button", name="Look for new versions").click()
    expect(page.get_by_text("Found 1 version: digits 1.")).to_be_visible()
    page.get_by_role("link", name="digits", exact=True).click()
    expect(page.locator('tr[data-version="1"]')).to_contain_text("Found")


def test_activate_watch_the_rollout_arrive_and_roll_back(open_page, digits):
    page = open_page(*VIEW, "activate_modelversion")
    with Replicas(digits, (11, 12)).beating() as replicas:
        for pid in replicas.pids:
            replicas.serve(pid, 1)
        go(page, "Models")
        page.get_by_role("link", name="digits", exact=True).click()
        expect(page.locator("#rollout-text")).to_have_text("All 2 live replicas serve version 1.")

        page.locator('tr[data-version="2"]').get_by_role("link", name="Activate").click()
        expect(page.locator("#change")).to_have_text("digits: version 1 → version 2, on 2 live replicas.")
        page.get_by_label("Reason").fill("accuracy is up")
        page.get_by_role("button", name="Activate version 2").click()
        expect(page.locator("#rollout-text")).to_have_text("0 of 2 live replicas serve version 2.")

        # Nobody reloads from here on.
        page.evaluate("window.isTheSamePage = true")
        replicas.serve(11, 2, text="ONNX, float64: 9 × faster")
        expect(row_of(page, 11)).to_have_attribute("data-state", "serving", timeout=4_000)
        expect(row_of(page, 11)).to_contain_text("ONNX, float64: 9 × faster")
        expect(row_of(page, 11)).to_contain_text("version 2")
        expect(row_of(page, 12)).to_have_attribute("data-state", "loading")
        replicas.serve(12, 1, state="failed", reason="no memory is left to load it")
        expect(page.get_by_text("no memory is left to load it")).to_be_visible()
        replicas.serve(12, 2)
        expect(page.locator("#rollout-text")).to_have_text("All 2 live replicas serve version 2.")
        expect(page.locator("#live-status")).to_have_text("All 2 live replicas serve version 2.")
        assert page.evaluate("window.isTheSamePage")

        page.get_by_role("link", name="Roll back to version 1").click()
        expect(page.locator("#change")).to_contain_text("digits: version 2 → version 1")
        page.get_by_label("Reason").fill("too slow")
        page.get_by_role("button", name="Roll back to version 1").click()
        expect(page.get_by_text("Rolled back to digits version 1")).to_be_visible()
    last, before = Activation.objects.all()[:2]
    assert [(item.version.number, item.kind, item.reason, item.activated_by) for item in (before, last)] == [
        (2, "activation", "accuracy is up", "ann"),
        (1, "rollback", "too slow", "ann"),
    ]


def test_deactivation_is_followed_on_replicas_and_rolled_back(open_page, digits):
    page = open_page(*VIEW, "activate_modelversion")
    with Replicas(digits, (11, 12)).beating() as replicas:
        for pid in replicas.pids:
            replicas.serve(pid, 1)
        page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/")
        page.get_by_role("link", name="Deactivate").click()
        expect(page.locator("#change")).to_have_text("digits: version 1 → no active version, on 2 live replicas.")
        expect(page.locator("#content")).to_contain_text("you can roll back at any time")
        page.get_by_label("Reason").fill("its sensor is gone")
        page.get_by_role("button", name="Deactivate").click()
        text = page.locator("#rollout-text")
        expect(text).to_have_text("No version is active; 2 of 2 live replicas still serve one.")
        expect(page.locator("#content")).to_contain_text("by ann: its sensor is gone")

        # Nobody reloads from here on.
        page.evaluate("window.isTheSamePage = true")
        expect(row_of(page, 11)).to_contain_text("still serving")
        replicas.put_down(11)
        expect(row_of(page, 11)).to_contain_text("unloaded", timeout=4_000)
        expect(text).to_have_text("No version is active; 1 of 2 live replicas still serves one.")
        expect(row_of(page, 12)).to_contain_text("version 1")
        replicas.put_down(12)
        expect(text).to_contain_text("No version is active, so nothing is served.")
        expect(page.locator("#live-status")).to_have_text("No version is active.")
        assert page.evaluate("window.isTheSamePage")

        go(page, "History")
        expect(page.get_by_role("link", name="digits: no active version")).to_be_visible()
        page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/")
        expect(page.get_by_role("link", name="Deactivate")).to_have_count(0)
        page.get_by_role("link", name="Roll back to version 1").click()
        expect(page.locator("#content")).to_contain_text(
            "No version is served now. Each replica answers as soon as it has"
        )
        page.get_by_role("button", name="Roll back to version 1").click()
        expect(text).to_have_text("0 of 2 live replicas serve version 1.")
        for pid in replicas.pids:
            replicas.serve(pid, 1)
        expect(text).to_have_text("All 2 live replicas serve version 1.")
    last, before = Activation.objects.all()[:2]
    assert [(item.version_id, item.kind, item.activated_by) for item in (before, last)] == [
        (None, "deactivation", "ann"),
        (digits.versions.get(number=1).pk, "rollback", "ann"),
    ]


def test_a_stale_confirmation_says_who_came_first(open_page, digits):
    page = open_page(*VIEW, "activate_modelversion")
    page.goto(f"/admin/models_registry/modelversion/{digits.versions.get(number=2).pk}/activate/")
    services.activate(version("digits", 4), by="carla")
    page.get_by_role("button", name="Activate version 2").click()
    expect(page.get_by_text("another activation came first")).to_be_visible()
    expect(page.locator('tr[data-version="4"]')).to_contain_text("active")


def test_an_open_page_says_when_somebody_else_activates(open_page, digits):
    page = open_page(*VIEW)
    page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/")
    services.activate(digits.versions.get(number=2), by="carla")
    expect(page.get_by_text("The active version has changed since this page was opened.")).to_be_visible()
    expect(page.locator('tr[data-version="2"]')).to_contain_text("active")


def test_keyboard_focus_survives_a_rollout_update(open_page, digits):
    page = open_page(*VIEW)
    with Replicas(digits, (11,)).beating() as replicas:
        page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/")
        page.locator("#version-2").focus()
        replicas.serve(11, 1)
        expect(row_of(page, 11)).to_have_attribute("data-state", "serving")
        expect(page.locator("#version-2")).to_be_focused()


def test_rejected_version_is_rechecked_from_the_models_page(open_page, digits):
    page = open_page(*VIEW, "publish_modelversion")
    page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("waits for validation again")).to_be_visible()
    assert ModelVersion.objects.get(number=3).state == "found"


def test_version_page_polls_only_until_the_verdict(open_page, digits):
    target = digits.versions.get(number=3)
    page = open_page(*VIEW, "publish_modelversion", "activate_modelversion")
    page.goto(f"/admin/models_registry/modelversion/{target.pk}/change/")
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("The version waits for validation")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/live/" in request.url else None)

    # Nobody reloads from here on.
    page.evaluate("window.isTheSamePage = true")
    ModelVersion.objects.filter(pk=target.pk).update(state="checking", claimed_by="r1", claimed_at=timezone.now())
    expect(page.get_by_text(re.compile("The validation is running on r1. Its current step started"))).to_be_visible(
        timeout=4_000
    )
    ModelVersion.objects.filter(pk=target.pk).update(state="ready", checked_at=timezone.now())
    expect(page.get_by_role("link", name="Activate", exact=True)).to_be_visible()
    expect(page.locator("#live-status")).to_have_text("digits 3: Ready.")
    expect(page.get_by_text("The validation is running")).to_have_count(0)
    assert page.evaluate("window.isTheSamePage")
    until_the_verdict = len(asked)
    page.wait_for_timeout(2_500)  # more than twice as long as it waits between two questions
    assert len(asked) == until_the_verdict >= 2


def test_verdict_is_overruled_with_tick_and_reason(open_page, digits):
    target = version("digits", 4, override_reason="Trained with scikit-learn 1.4.2, served with 1.9.1.")
    page = open_page(*VIEW, "activate_modelversion", "override_check")
    page.goto(f"/admin/models_registry/modelversion/{target.pk}/change/")
    page.get_by_role("link", name="Activate", exact=True).click()
    page.get_by_label("Reason").fill("compared by hand")
    page.get_by_label("Activate against the validation's advice").check()
    page.get_by_role("button", name="Activate anyway").click()
    expect(page.get_by_text("Activated digits version 4")).to_be_visible()
    go(page, "History")
    expect(page.get_by_text("Against the validation's advice: Trained with scikit-learn 1.4.2")).to_be_visible()


def test_history_answers_what_was_live(open_page, digits):
    at = digits.activations.get().activated_at
    page = open_page(*VIEW)
    go(page, "History")
    page.get_by_label("Active versions at").fill(at.replace(year=at.year + 1, microsecond=0, tzinfo=None).isoformat())
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#live-answer")).to_contain_text("digits version 1.")


def test_settings_are_saved(open_page, digits):
    page = open_page(*VIEW, "change_registeredmodel")
    page.goto(f"/admin/models_registry/registeredmodel/{digits.pk}/change/")
    page.get_by_label("Policy").select_option("latest")
    page.get_by_label("Acceleration").uncheck(force=True)
    page.get_by_label("Description").fill("Handwritten digits")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("policy is latest, acceleration is off, description changed")).to_be_visible()


def test_somebody_who_may_only_look_sees_no_button(open_page, digits):
    page = open_page(*VIEW)
    for url in (
        "registeredmodel/",
        f"registeredmodel/{digits.pk}/change/",
        *(f"modelversion/{item.pk}/change/" for item in digits.versions.all()),
    ):
        page.goto(f"/admin/models_registry/{url}")
        expect(page.locator("#content")).to_contain_text("digits")
        act = re.compile(r"\bActivate\b|Roll back|Check again|Look for|Save", re.IGNORECASE)
        assert page.locator("#content").get_by_role("button", name=act).count() == 0
        assert page.locator("#content").get_by_role("link", name=act).count() == 0


def test_phone_lists_grow_and_replica_names_few_models(open_page, digits):
    page = open_page(*VIEW, size=PHONE)
    services.set_description(digits, "It says what the model is for, and from what data. " * 6, by="bob")
    others = [services.activate(version(f"m{index:02}", 1), by="bob").model for index in range(51)]
    reports = [ModelReport(model.pk, "serving", 1, model.active_version_id) for model in others]
    reports.append(ModelReport(digits.pk, "failed", 0, None, "no memory is left to load it"))
    now = timezone.now()
    services.report_replica("box-11", host="box", pid=11, started_at=now, reports=reports, changed=True)
    for path in ("registeredmodel", "modelversion", "activation", "replica"):
        page.goto(f"/admin/models_registry/{path}/")
        assert page.locator("#result_list td").count() > 0
        assert page.evaluate(CUT_BELOW) == [], path
    serves = page.locator('td[data-label="Serves"]')
    expect(serves).to_contain_text(re.compile("^digits nothing.*no memory is left.*m00 version 1.*m03 version 1"))
    expect(serves.get_by_text("m04")).to_be_hidden()
    serves.get_by_text("and 47 more").click()
    expect(serves.get_by_text("m50 version 1")).to_be_visible()
    assert page.evaluate(CUT_BELOW) == []


def test_a_publisher_writes_a_card_and_notes(open_page, digits):
    page = open_page(*VIEW, "change_registeredmodel")
    go(page, "Models")
    page.get_by_role("link", name="digits", exact=True).click()
    page.get_by_role("link", name="Write a card").click()
    page.get_by_role("textbox", name="Model card").fill(
        "# Purpose\n\nReads *digits*. ![curve](https://example.org/roc.png)"
    )
    page.get_by_role("button", name="Save the card").click()
    expect(page.locator("#card").get_by_role("heading", name="Purpose")).to_be_visible()
    expect(page.locator("#card")).to_contain_text("Reads digits. curve")
    page.locator("#version-1").click()
    page.get_by_role("textbox", name="Notes").fill("weak on sevens")
    page.get_by_role("button", name="Save notes").click()
    expect(page.get_by_text("The notes on digits 1 are saved.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Notes")).to_have_value("weak on sevens")


def test_nothing_overflows_a_phone(open_page, digits):
    long = "a-name-that-goes-on-and-on-" * 3
    version(long, 1, "rejected", reason="It names " + "x" * 150, storage_key=f"{long}/" + "k" * 200 + ".joblib")
    wide = {"instances": [[0.123456] * 64], "predictions": [1]}
    outline = ["Pipeline", f"  HistGradientBoostingClassifier of {'100 iterations × 3 classes, ' * 4}30 × D"]
    version("digits", 8, inspection={"outline": outline})
    target = version("digits", 9, sample=wide, override_reason="w" * 120, description="d" * 120)
    page = open_page(is_superuser=True, size=PHONE)
    with Replicas(digits, (11,)).beating() as replicas:
        replicas.serve(11, 1, state="failed", reason="r" * 200)
        paths = [f"models_registry/{name}/" for name in ("registeredmodel", "modelversion", "activation", "replica")]
        paths += [f"models_registry/registeredmodel/{model.pk}/change/" for model in RegisteredModel.objects.all()]
        paths += [f"models_registry/modelversion/{item.pk}/change/" for item in ModelVersion.objects.all()]
        paths += ["", f"models_registry/modelversion/{target.pk}/activate/"]
        for path in paths:
            page.goto(f"/admin/{path}")
            excess = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert excess <= 0, f"{path} is {excess} px wider than the phone"
            cut = page.evaluate(HIDDEN_TO_THE_RIGHT)
            assert cut == [], f"{path}: nobody can scroll to {cut}"
            assert page.evaluate(WIDER_CODE) == [], path


# Blocks of code whose lines do not all fit; no bar shows that they scroll.
WIDER_CODE = """() => [...document.querySelectorAll('.reg-code')].filter(element =>
  element.scrollWidth > element.clientWidth).map(element => element.textContent)"""

# Cells of a list that show a slice of what they hold.
CUT_BELOW = """() => [...document.querySelectorAll('#result_list td, #result_list th')].filter(element =>
  element.scrollHeight > element.clientHeight + 1).map(element => element.className.split(' ')[0])"""

# Elements that reach beyond the screen with no ancestor that scrolls sideways.
HIDDEN_TO_THE_RIGHT = """() => [...document.querySelectorAll('#content *')].filter(element => {
  const box = element.getBoundingClientRect();
  if (box.width < 2 || box.height < 2 || box.right <= window.innerWidth + 1) return false;
  if (!element.checkVisibility()) return false;
  for (let parent = element.parentElement; parent; parent = parent.parentElement)
    if (['auto', 'scroll'].includes(getComputedStyle(parent).overflowX)) return false;
  return true;
}).map(element => element.tagName + '.' + element.className).slice(0, 5)"""


def test_times_are_in_the_reader_s_zone(open_page, digits):
    digits.versions.filter(number=1).update(found_at="2026-01-31T23:30:00Z", checked_at="2026-07-01T10:00:00Z")
    page = open_page(*VIEW)
    cookies = page.context.cookies()
    page.goto("/admin/")
    with page.context.browser.new_context(timezone_id="America/New_York", base_url=page.url) as context:
        context.add_cookies(cookies)
        there = context.new_page()
        there.goto(f"/admin/models_registry/modelversion/{digits.versions.get(number=1).pk}/change/")
        found, checked = (there.locator(f'time[datetime^="{day}"]') for day in ("2026-01-31", "2026-07-01"))
        expect(found).to_have_text("2026-01-31 18:30:00 EST")
        expect(found).to_have_attribute("title", "2026-01-31 23:30:00 UTC")
        expect(checked).to_have_text("2026-07-01 06:00:00 EDT")
        # What is typed is in that zone too: the version was active from 12:00:00 UTC on.
        digits.activations.update(activated_at="2026-07-01T12:00:00Z")
        there.goto("/admin/models_registry/activation/")
        field = there.get_by_label("Active versions at (America/New_York)")
        for typed, answer in (
            ("2026-07-01T07:59:59", "No version was active at"),
            ("2026-07-01T08:00:00", "digits version 1."),
        ):
            field.fill(typed)
            field.press("Enter")
            expect(there.locator("#live-answer")).to_contain_text(answer)
            expect(there.locator("#live-answer")).to_contain_text(typed.replace("T", " "))
            expect(field).to_have_value(typed.removesuffix(":00") if typed.endswith(":00:00") else typed)


def open_palette(page: Page) -> None:
    """Press Ctrl+K once the page's scripts have run; the palette takes the next keys when it has the focus."""
    page.wait_for_load_state()
    page.keyboard.press("Control+k")
    expect(page.locator("#search-input-command")).to_be_focused()


def test_a_model_and_a_version_are_found_by_keyboard(open_page, digits):
    version("fraud", 1)
    page = open_page(*VIEW)
    page.goto("/admin/")
    for typed, heading in (("fra", "fraud"), ("digits/2", "digits version 2")):
        open_palette(page)
        page.keyboard.type(typed)
        expect(page.locator("#command-results li.active")).to_have_count(1)
        page.keyboard.press("Enter")
        page.wait_for_url("**/change/")
        expect(page.get_by_role("heading", name=heading).last).to_be_visible()
    # Enter before the palette has asked: a longer text than the one whose results are shown.
    version("fraud-eu", 1)
    open_palette(page)
    page.keyboard.type("fraud")
    expect(page.locator("#command-results li.active")).to_have_count(1)
    page.keyboard.type("-")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="fraud-eu").last).to_be_visible()
    open_palette(page)
    page.keyboard.type("nothing is called so")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No match.")).to_be_visible()
