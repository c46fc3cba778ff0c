"""A model's shadow and the settings of its prediction log in the admin."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from models_registry import services
from models_registry.models import Shadow
from models_registry.monitoring.buckets import SECONDS
from models_registry.services.shadows import ShadowCounts
from tests.models_registry.test_admin import logged_in, page, told
from tests.support.registry import SCHEMA, three_versions, version

pytestmark = pytest.mark.django_db

VIEW = "view_registeredmodel"
ACTIVATE = "activate_modelversion"


@pytest.fixture
def model():
    return three_versions()


def words(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def shadow_page(model, part: str = "shadow") -> str:
    return page(f"registeredmodel_{part}", model.pk)


def start(client, model, number=2, percent="20", **given):
    address = f"{shadow_page(model, 'start_shadow')}?version={number}&percent={percent}"
    return client.post(address, {"reason": "is it as good", "seen_generation": model.generation, **given})


def test_shadow_is_confirmed_started_and_ended(model):
    client = logged_in(VIEW, ACTIVATE)
    asked = client.get(f"{shadow_page(model, 'start_shadow')}?version=2&percent=12.5")
    assert "m: version 2 gets copies of 12.5 % of the requests." in words(asked)
    assert services.current_shadow(model) is None
    answer = start(client, model, percent="12.5")
    assert told(answer) == "Version 2 gets copies of 12.5 % of the requests."
    shadow = services.current_shadow(model)
    assert (shadow.version.number, shadow.percent, shadow.started_by, shadow.reason) == (
        2,
        12.5,
        "ann",
        "is it as good",
    )
    assert "Nothing has changed" in told(start(client, model, percent="12.5"))
    assert client.get(shadow_page(model, "end_shadow")).status_code == 200
    assert services.current_shadow(model) is not None
    client.post(shadow_page(model, "end_shadow"), {"reason": "enough seen"})
    shadow.refresh_from_db()
    assert (shadow.ended_by, shadow.ended_reason) == ("ann", "enough seen")
    assert "Nothing has changed" in told(client.post(shadow_page(model, "end_shadow")))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"state": "rejected"}, "was rejected"),
        ({"state": "found"}, "cannot be activated yet"),
        ({"schema": {**SCHEMA, "inputs": SCHEMA["inputs"][:1]}}, "cannot take the requests of version 1"),
        ({"published_by": "ann (API)"}, "another person must"),
    ],
)
def test_unfit_shadow_is_refused_with_its_reason(values, reason, model, settings):
    settings.MODELS_FOUR_EYES = True
    version(number=4, **values)
    client = logged_in(VIEW, ACTIVATE)
    asked = client.get(f"{shadow_page(model, 'start_shadow')}?version=4&percent=20")
    assert reason in words(asked)
    assert b"Start the shadow<" not in asked.content
    assert start(client, model, 4).status_code == 200
    assert not Shadow.objects.exists()


@pytest.mark.parametrize(
    "query", ["version=1&percent=20", "version=9&percent=20", "version=2&percent=101", "", "version=2&percent=nan"]
)
def test_wrong_choice_is_shown_beside_its_field(query, model):
    client = logged_in(VIEW, ACTIVATE)
    answer = client.post(f"{shadow_page(model, 'start_shadow')}?{query}", {"seen_generation": model.generation})
    assert answer.status_code == 200
    assert answer.context["start_form"].errors
    assert not Shadow.objects.exists()


def test_decision_upon_an_older_state_is_refused(model):
    client = logged_in(VIEW, ACTIVATE)
    assert "another activation came first" in told(start(client, model, seen_generation=model.generation - 1))
    assert not Shadow.objects.exists()


@pytest.mark.parametrize(
    ("permissions", "given", "starts"),
    [
        ((), {"override": "on"}, False),
        (("override_check",), {}, False),
        (("override_check",), {"override": "on", "reason": ""}, False),
        (("override_check",), {"override": "on"}, True),
    ],
)
def test_advice_needs_the_permission_a_reason_and_an_override(permissions, given, starts, model):
    version(number=4, override_reason="No sample.")
    start(logged_in(VIEW, ACTIVATE, *permissions), model, 4, **given)
    assert [shadow.overrides for shadow in Shadow.objects.all()] == (["No sample."] if starts else [])


@pytest.mark.parametrize("part", ["start_shadow", "end_shadow"])
@pytest.mark.parametrize("permission", ["change_registeredmodel", "publish_modelversion"])
def test_shadow_needs_the_permission_of_a_canary(part, permission, model):
    services.start_shadow(services.get_version(model, 2), by="bob")
    client = logged_in(VIEW, permission)
    query = "?version=3&percent=20"
    assert client.post(shadow_page(model, part) + query, {"seen_generation": model.generation}).status_code == 403
    assert services.current_shadow(model).version.number == 2
    seen = client.get(shadow_page(model))
    assert (seen.status_code, b"End the shadow" in seen.content, b"Start another" in seen.content) == (
        200,
        False,
        False,
    )


def test_figures_are_those_of_the_counts(model):
    shadow = services.start_shadow(services.get_version(model, 2), by="bob")
    bucket = SECONDS.index(0.001)
    latency = [40 if index == bucket else 0 for index in range(len(SECONDS) + 1)]
    for replica in ("a", "b"):
        counts = ShadowCounts(rows=200, agreed=180, errors=5, dropped=7, latency=latency)
        services.record_shadow_counts(replica, timezone.now(), {shadow.pk: counts})
    answer = logged_in(VIEW).get(shadow_page(model, "shadow_live"))
    parts = dict(re.findall(r'<dd id="shadow-(\w+)">(.*?)</dd>', answer.content.decode(), re.S))
    found = {name: " ".join(re.sub(r"<[^>]+>", " ", text).split()) for name, text in parts.items()}
    lower, upper = wilson(360, 400, 2.5758293035489004)
    assert found["agreement"] == (
        f"90 % 360 of 400 rows; between {100 * lower:.3g} % and {100 * upper:.3g} % with a confidence of 99 %"
    )
    assert [found[name].split(" row")[0] for name in ("differed", "errors", "dropped")] == ["30", "10", "14"]
    # All times are in one bucket: a quantile is that part of its width.
    below, width = SECONDS[bucket - 1], SECONDS[bucket] - SECONDS[bucket - 1]
    p50, p99 = (f"{1000 * (below + share * width):.4g}" for share in (0.5, 0.99))
    assert found["latency"].startswith(f"p50 {p50} ms, p99 {p99} ms")


def wilson(hits: int, total: int, z: float) -> tuple[float, float]:
    """Return Wilson's interval, written out."""
    share, square = hits / total, z * z
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = z / (1 + square / total) * (share * (1 - share) / total + square / (4 * total * total)) ** 0.5
    return centre - half, centre + half


def test_shadow_that_fails_says_why(model):
    shadow = services.start_shadow(services.get_version(model, 2), by="bob")
    services.note_shadow_problem(shadow, "The process crashed.")
    assert "The shadow gave no answers in its last run. The process crashed." in words(
        logged_in(VIEW).get(shadow_page(model))
    )


@pytest.mark.parametrize("case", ["no active version", "no other version"])
def test_page_says_what_a_shadow_needs(case):
    first = version("n", 1)
    if case == "no other version":
        services.activate(first, by="bob")
    text = words(logged_in(VIEW, ACTIVATE).get(shadow_page(first.model)))
    assert ("Activate one first" if case == "no active version" else "There is no other version") in text


# The settings of the prediction log

GOOD = {"is_on": "on", "percent": "25", "sides": "both", "excluded": "x0", "hashed": "x1"}


def save(model, *, permissions=(VIEW, "change_registeredmodel"), **given):
    answer = logged_in(*permissions).post(page("registeredmodel_capture", model.pk), {**GOOD, **given})
    model.refresh_from_db()
    return answer


def test_settings_are_those_of_the_api(model):
    assert save(model).status_code == 302
    assert (model.capture_percent, model.capture) == (25, "both")
    assert model.capture_exclude == ["x0", {"column": "x1", "hash": True}]
    form = logged_in(VIEW, "change_registeredmodel", name="bob").get(page("registeredmodel_capture", model.pk))
    assert form.context["form"].initial == {
        "is_on": True,
        "percent": 25,
        "sides": "both",
        "excluded": "x0",
        "hashed": "x1",
    }


def test_log_is_switched_off(model):
    services.set_capture(model, by="bob", percent=50)
    save(model, is_on="", percent="50")
    assert model.capture_percent == 0


@pytest.mark.parametrize(
    ("given", "told_why"),
    [
        ({"percent": "0"}, "Give a share above 0"),
        ({"percent": ""}, "Give a share above 0"),
        ({"percent": "101"}, "less than or equal to 100"),
        ({"percent": "-1"}, "greater than or equal to 0"),
        ({"percent": "nan"}, "Enter a number"),
        ({"sides": "all"}, "Select a valid choice"),
        ({"excluded": "agee"}, "which no version of m has"),
        ({"hashed": "agee"}, "which no version of m has"),
        ({"hashed": "x0"}, "x0 is in both lists"),
        ({"excluded": "x" * 1001}, "is longer than 1000 characters"),
        ({"excluded": "x0\0"}, "Null characters are not allowed"),
    ],
)
def test_wrong_settings_are_refused_and_stay_in_the_form(given, told_why, model):
    answer = save(model, **given)
    assert answer.status_code == 200
    assert told_why in words(answer)
    assert (model.capture_percent, model.capture_exclude) == (0, [])


def test_settings_need_the_permission_to_change(model):
    assert save(model, permissions=(VIEW, ACTIVATE)).status_code == 403
    assert model.capture_percent == 0
