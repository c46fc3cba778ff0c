"""Copies of the requests for a shadow: what starts it, what ends it, what is refused, and what is counted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from models_registry import services
from models_registry.errors import ActivationConflict, NotActivatable, NotShadowable, RequestError
from models_registry.models import RegisteredModel, Shadow, ShadowWindow, State
from models_registry.monitoring.buckets import SECONDS
from models_registry.monitoring.usage_retention import keep_in_bounds
from models_registry.services.shadows import ShadowCounts
from tests.support.registry import SCHEMA, three_versions, version

pytestmark = pytest.mark.django_db
MINUTE = timezone.now().replace(second=0, microsecond=0)


@pytest.fixture
def model() -> RegisteredModel:
    return three_versions()


def start(model: RegisteredModel, number: int = 2, percent: float = 20, **given) -> Shadow | None:
    return services.start_shadow(services.get_version(model, number), percent=percent, by="x", **given)


def latency(bucket: int, count: int) -> list[int]:
    return [count if index == bucket else 0 for index in range(len(SECONDS) + 1)]


def test_workers_read_the_running_shadow(model):
    shadow = start(model)
    share = services.read_shadows()["m"]
    assert (share.shadow_id, share.number, share.active_number, share.percent) == (shadow.pk, 2, 1, 20)


def test_the_same_shadow_again_changes_nothing(model):
    assert start(model) is not None
    assert start(model) is None
    assert model.shadows.count() == 1


@pytest.mark.parametrize(("number", "percent"), [(3, 20), (2, 50)], ids=["another version", "another share"])
def test_a_new_shadow_ends_the_first(model, number, percent):
    start(model)
    start(model, number, percent)
    now = services.current_shadow(model)
    assert (now.version.number, now.percent) == (number, percent)
    assert model.shadows.exclude(ended_at=None).get().ended_reason == "Another shadow or share was set."


def test_ending_keeps_who_and_why(model):
    start(model)
    ended = services.end_shadow(model, by="y", reason="enough seen")
    assert (ended.ended_by, ended.ended_reason) == ("y", "enough seen")
    assert services.read_shadows() == {}
    assert services.end_shadow(model, by="y") is None


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda model: services.activate(services.get_version(model, 2), by="y"), "version 2 was activated"),
        (lambda model: services.activate(services.get_version(model, 3), by="y"), "version 3 was activated"),
        (lambda model: services.deactivate(model, by="y"), "the model was deactivated"),
    ],
    ids=["the shadow", "a third version", "none"],
)
def test_another_active_version_ends_the_shadow(model, act, reason):
    start(model)
    act(services.get_model("m"))
    ended = model.shadows.get()
    assert (ended.ended_by, ended.ended_reason) == ("y", f"Meanwhile {reason}.")
    assert services.current_shadow(model) is None


def test_the_active_version_again_keeps_the_shadow(model):
    start(model)
    services.activate(services.get_version(services.get_model("m"), 1), by="y")
    assert services.current_shadow(model) is not None


def test_a_shadow_moves_no_pointer(model):
    start(model)
    assert services.get_model("m").generation == model.generation
    assert services.read_desired_state().others == {}


@pytest.mark.parametrize("state", [State.FOUND, State.CHECKING, State.REJECTED, State.MISSING])
def test_a_version_that_is_not_ready_is_refused(model, state):
    version(number=4, state=state)
    with pytest.raises(NotActivatable):
        start(model, 4)


def test_version_without_a_schema_is_refused(model):
    version(number=4, state=State.FOUND, schema=None)
    with pytest.raises(NotActivatable, match="found"):
        start(model, 4)


def test_version_with_a_warning_needs_an_override(model):
    version(number=4, override_reason="No sample.")
    with pytest.raises(NotActivatable, match="No sample"):
        start(model, 4)
    assert start(model, 4, override=True, reason="known").overrides == "No sample."


def test_the_active_version_is_refused(model):
    with pytest.raises(NotShadowable, match="compared with itself"):
        start(model, 1)


def test_without_an_active_version_there_is_nothing_to_copy():
    version(number=1)
    with pytest.raises(NotShadowable, match="no active version"):
        start(services.get_model("m"), 1)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": [*SCHEMA["inputs"], {"name": "x2", "type": "float"}]},
        {"inputs": SCHEMA["inputs"][:1]},
        {"inputs": SCHEMA["inputs"][::-1]},
        {"inputs": [SCHEMA["inputs"][0], {"name": "x1", "type": "string"}]},
        {"kind": "classifier"},
        {"outputs": 2},
    ],
    ids=["more", "fewer", "order", "type", "kind", "outputs"],
)
def test_schema_that_requests_do_not_fit_is_refused(model, change):
    version(number=4, schema={**SCHEMA, **change})
    with pytest.raises(NotShadowable, match="cannot take the requests of version 1"):
        start(model, 4)


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan")])
def test_a_share_out_of_range_is_refused(model, percent):
    with pytest.raises(RequestError, match="share"):
        start(model, percent=percent)


def test_a_decision_upon_an_older_state_is_refused(model):
    with pytest.raises(ActivationConflict):
        start(model, seen_generation=0)


def test_the_publisher_needs_a_second_person(model, settings):
    settings.MODELS_FOUR_EYES = True
    version(number=4, published_by="x")
    with pytest.raises(NotActivatable, match="MODELS_FOUR_EYES"):
        start(model, 4)


def test_figures_add_up_over_replicas_and_minutes(model):
    shadow = start(model)
    for replica, minute in (("a", MINUTE), ("a", MINUTE), ("b", MINUTE), ("a", MINUTE + timedelta(minutes=1))):
        found = ShadowCounts(rows=10, agreed=7, errors=1, dropped=2, latency=latency(12, 10))
        services.record_shadow_counts(replica, minute, {shadow.pk: found, 999_999: found})
    figures = services.shadow_figures(shadow)
    assert (figures.rows, figures.agreed, figures.differed, figures.errors, figures.dropped) == (40, 28, 8, 4, 8)
    assert figures.agreement == 0.7
    assert figures.agreement_interval[0] < 0.7 < figures.agreement_interval[1]
    assert SECONDS[11] * 1000 <= figures.p50_milliseconds <= figures.p99_milliseconds <= SECONDS[12] * 1000
    assert ShadowWindow.objects.count() == 3


def test_old_windows_are_deleted(model):
    shadow = start(model)
    services.record_shadow_counts("a", MINUTE - timedelta(days=15), {shadow.pk: ShadowCounts(rows=1)})
    services.record_shadow_counts("a", MINUTE, {shadow.pk: ShadowCounts(rows=2)})
    keep_in_bounds(timezone.now())
    assert [window.rows for window in ShadowWindow.objects.all()] == [2]


def test_the_command_starts_and_ends_it(model, capsys):
    call_command("shadow_model", "m", "2", "--percent", "30")
    assert services.current_shadow(model).percent == 30
    call_command("shadow_model", "m", "--off")
    assert services.current_shadow(model) is None
    call_command("shadow_model", "m", "--off")
    told = capsys.readouterr().out
    assert "m 2: shadow with copies of 30 % of the requests." in told
    assert "version 2 gets no more copies" in told and "no shadow is running" in told


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["m"], "--off"),
        (["m", "--off", "--percent", "5"], "leave --percent"),
        (["m", "3", "--off"], "is version 2"),
        (["m", "9"], "no version 9"),
        (["m", "1"], "compared with itself"),
    ],
)
def test_the_command_refuses_in_a_sentence(model, arguments, match):
    start(model)
    with pytest.raises(CommandError, match=match):
        call_command("shadow_model", *arguments)
