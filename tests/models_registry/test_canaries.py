"""A share of the traffic for a candidate: what starts it, what ends it, and what is refused."""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from models_registry import services
from models_registry.errors import ActivationConflict, NoCanary, NotActivatable, NotSplittable, RequestError
from models_registry.models import Activation, Canary, RegisteredModel, Replica, State
from models_registry.monitoring.usage import Usage, write_usage
from models_registry.services.rollout import ModelReport
from tests.support.registry import SCHEMA, three_versions, version

pytestmark = pytest.mark.django_db

CLASSIFIER = {**SCHEMA, "kind": "classifier", "classes": ["a", "b"], "methods": ["predict", "predict_proba"]}


@pytest.fixture
def model() -> RegisteredModel:
    return three_versions()


def start(model: RegisteredModel, number: int = 2, percent: float = 10, **given) -> Canary | None:
    return services.start_canary(services.get_version(model, number), percent=percent, by="x", **given)


def replica(name: str, model: RegisteredModel, *, candidate: str = "", reason: str = "", digest: str = "") -> None:
    """Have a live replica report that it serves the active version, and how far it is with version 2."""
    told = {"2": {"state": candidate, "digest": digest or f"{2:064x}", "reason": reason}} if candidate else {}
    report = ModelReport(
        model_id=model.pk,
        state="serving",
        generation=model.generation,
        serving_version_id=model.active_version_id,
        others=told,
    )
    services.report_replica(name, host=name, pid=1, started_at=timezone.now(), reports=[report], changed=True)


def test_traffic_starts_when_every_replica_has_loaded_the_candidate(model):
    start(model)
    replica("a", model, candidate="serving")
    replica("b", model, candidate="loading")
    services.watch_canaries()
    assert services.read_desired_state().splits == {}
    assert [other.number for other in services.read_desired_state().others.values()] == [2]
    replica("b", model, candidate="serving")
    services.watch_canaries()
    split = services.read_desired_state().splits["m"]
    assert (split.candidate, split.percent) == (2, 10)


@pytest.mark.parametrize(
    "told",
    [{}, {"candidate": "failed", "reason": "No memory."}, {"candidate": "serving", "digest": "f" * 64}],
    ids=["not read", "failed", "other bytes"],
)
def test_traffic_waits_for_a_replica_without_the_candidate(model, told):
    canary = start(model)
    replica("a", model, candidate="serving")
    replica("b", model, **told)
    services.watch_canaries()
    canary.refresh_from_db()
    assert canary.traffic_at is None
    reason = {item.replica: item.reason for item in services.candidate_replicas(canary)}["b:1"]
    assert reason == told.get("reason", "")


def test_a_silent_replica_does_not_hold_the_traffic_up(model):
    start(model)
    replica("a", model, candidate="serving")
    replica("b", model)
    Replica.objects.filter(pk="b").update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert len(services.open_traffic()) == 1


def test_without_a_replica_no_traffic_starts(model):
    start(model)
    assert services.open_traffic() == []


@pytest.mark.parametrize(
    "change", [services.open_traffic, lambda: services.end_canary(services.get_model("m"), by="x")]
)
def test_a_change_of_a_canary_locks_the_model_first(model, change):
    start(model)
    replica("a", model, candidate="serving")
    with CaptureQueriesContext(connection) as queries:
        assert change()
    written = [found[1] for item in queries if (found := re.match(r'UPDATE "models_registry_(\w+)"', item["sql"]))]
    assert written[0] == "registeredmodel"
    assert "canary" in written


def test_new_share_applies_at_once_and_keeps_the_salt(model):
    start(model)
    replica("a", model, candidate="serving")
    services.watch_canaries()
    before = services.read_desired_state().splits["m"]
    start(model, percent=50)
    after = services.read_desired_state().splits["m"]
    assert (after.percent, after.salt) == (50, before.salt)
    assert [(item.percent, item.outcome) for item in model.canaries.all()] == [(50, ""), (10, "superseded")]


def test_the_same_canary_again_changes_nothing(model):
    assert start(model, bake_minutes=5) is not None
    assert start(model, bake_minutes=5) is None
    assert model.canaries.count() == 1


def test_another_candidate_takes_the_place_of_the_first(model):
    start(model)
    start(model, 3)
    assert [other.number for other in services.read_desired_state().others.values()] == [3]
    assert services.require_canary(model).version.number == 3


def test_promotion_makes_the_candidate_active(model):
    start(model, reason="weekly retrain")
    activation = services.promote(services.get_model("m"), by="y")
    assert (activation.version.number, activation.kind, activation.reason) == (2, "promotion", "weekly retrain")
    assert (model.canaries.get().outcome, model.canaries.get().ended_by) == ("promoted", "y")
    assert services.get_model("m").canary is None
    assert services.rollback_target(services.get_model("m")).number == 1


def test_a_promotion_needs_a_canary(model):
    with pytest.raises(NoCanary, match="--traffic-percent"):
        services.promote(model, by="x")


def test_ending_gives_all_traffic_back(model):
    start(model)
    ended = services.end_canary(services.get_model("m"), by="y", reason="enough seen")
    assert (ended.outcome, ended.ended_by, ended.ended_reason) == ("ended", "y", "enough seen")
    assert services.read_desired_state().others == {}
    assert services.end_canary(services.get_model("m"), by="y") is None


@pytest.mark.parametrize(
    ("act", "outcome", "active"),
    [
        (lambda model: services.activate(services.get_version(model, 2), by="y"), "promoted", 2),
        (lambda model: services.activate(services.get_version(model, 3), by="y"), "superseded", 3),
        (lambda model: services.activate(services.get_version(model, 1), by="y"), "ended", 1),
        (lambda model: services.deactivate(model, by="y"), "superseded", None),
    ],
    ids=["the candidate", "a third version", "the active version", "none"],
)
def test_an_activation_ends_the_canary(model, act, outcome, active):
    start(model)
    act(services.get_model("m"))
    assert model.canaries.get().outcome == outcome
    now = services.get_model("m")
    assert (now.active_version and now.active_version.number, now.canary) == (active, None)


def test_a_canary_moves_no_pointer(model):
    start(model)
    assert services.get_model("m").generation == model.generation
    assert Activation.objects.count() == 1


def test_a_decision_upon_an_older_state_is_refused(model):
    stale = services.get_version(services.get_model("m"), 2)
    services.activate(services.get_version(services.get_model("m"), 3), by="y")
    with pytest.raises(ActivationConflict, match="another activation came first"):
        services.start_canary(stale, percent=10, by="x")


@pytest.mark.parametrize("state", [State.FOUND, State.CHECKING, State.REJECTED, State.MISSING])
def test_a_version_that_is_not_ready_is_refused(model, state):
    version(number=4, state=state)
    with pytest.raises(NotActivatable, match="m 4"):
        start(model, 4)


def test_version_with_a_warning_needs_an_override(model):
    version(number=4, override_reason="Written by a newer release.")
    with pytest.raises(NotActivatable, match="newer release"):
        start(model, 4)
    canary = start(model, 4, override=True, reason="tried at home")
    assert canary.overrides == "Written by a newer release."
    assert services.promote(services.get_model("m"), by="y").overrides == "Written by a newer release."


def test_with_four_eyes_the_publisher_neither_starts_nor_promotes(model, settings):
    settings.MODELS_FOUR_EYES = True
    version(number=4, published_by="ann (API)")
    candidate = services.get_version(services.get_model("m"), 4)
    with pytest.raises(NotActivatable, match="another person"):
        services.start_canary(candidate, percent=10, by="ann")
    services.start_canary(candidate, percent=10, by="bob")
    with pytest.raises(NotActivatable, match="another person"):
        services.promote(services.get_model("m"), by="ann")
    assert services.promote(services.get_model("m"), by="bob").version.number == 4


def test_the_active_version_is_no_candidate(model):
    with pytest.raises(NotSplittable, match="is active"):
        start(model, 1)


def test_without_an_active_version_there_is_nothing_to_split():
    with pytest.raises(NotSplittable, match="no active version"):
        services.start_canary(version("n", 1), percent=10, by="x")


def _changed(**given):
    return {**SCHEMA, "inputs": [{**SCHEMA["inputs"][0], **given}, SCHEMA["inputs"][1]]}


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        (_changed(name="age"), "takes 'age'"),
        ({**SCHEMA, "inputs": SCHEMA["inputs"][:1]}, "no longer takes 'x1'"),
        ({**SCHEMA, "inputs": SCHEMA["inputs"][::-1]}, "another order"),
        (_changed(type="string"), "'x0' has the type string; the active version takes float"),
        (_changed(type="integer"), "'x0' has the type integer; the active version takes float"),
        (_changed(categories=[1.0], closed=True), "only its trained categories"),
        (CLASSIFIER, "is a classifier"),
        ({**SCHEMA, "outputs": 2}, "2 outputs"),
    ],
)
def test_a_schema_that_active_callers_cannot_satisfy_is_refused(model, candidate, sentence):
    version(number=4, schema=candidate)
    with pytest.raises(NotSplittable, match=sentence):
        start(model, 4)


@pytest.mark.parametrize(
    ("active", "candidate", "sentence"),
    [
        (_changed(nullable=True), SCHEMA, "no longer be null"),
        (_changed(optional=True, nullable=True), _changed(nullable=True), "no longer be omitted"),
        (
            _changed(type="string", categories=["a", "b"], closed=True),
            _changed(type="string", categories=["a"], closed=True),
            "no longer takes 'b'",
        ),
        (CLASSIFIER, {**CLASSIFIER, "methods": ["predict"]}, "does not offer 'predict_proba'"),
    ],
)
def test_a_narrower_schema_is_refused(active, candidate, sentence):
    services.activate(version("n", 1, schema=active), by="x")
    with pytest.raises(NotSplittable, match=sentence):
        services.start_canary(version("n", 2, schema=candidate), percent=10, by="x")


@pytest.mark.parametrize(
    ("active", "candidate"),
    [
        (SCHEMA, _changed(nullable=True)),
        (SCHEMA, _changed(type="any")),
        (_changed(type="integer"), SCHEMA),
        (_changed(type="string", categories=["a"], closed=True), _changed(type="string", categories=["a", "b"])),
        (CLASSIFIER, {**CLASSIFIER, "classes": ["a", "b", "c"]}),
    ],
)
def test_a_wider_schema_is_taken(active, candidate):
    services.activate(version("n", 1, schema=active), by="x")
    assert services.start_canary(version("n", 2, schema=deepcopy(candidate)), percent=10, by="x")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"percent": -1}, "0 to 100"),
        ({"percent": 100.5}, "0 to 100"),
        ({"percent": float("nan")}, "0 to 100"),
        ({"bake_minutes": 0}, "more than 0"),
        ({"bake_minutes": 1e9}, "more than 0"),
        ({"guardrails": {"speed": 1}}, "known are error_rate"),
        ({"guardrails": {"error_rate": 2}}, "expected 0 to 1"),
        ({"guardrails": {"error_rate": "low"}}, "must be a number"),
        ({"guardrails": {"label_shift": 0.1}}, "not a classifier"),
    ],
)
def test_a_value_out_of_range_is_refused(model, given, sentence):
    with pytest.raises(RequestError, match=sentence):
        start(model, **given)
    assert model.canaries.count() == 0


# By command


def test_the_commands_start_end_and_promote_a_canary(model, capsys):
    start(model)
    call_command("activate_model", "m", "1")
    assert "its canary has ended" in capsys.readouterr().out
    start(services.get_model("m"), 3)
    call_command("promote_model", "m")
    assert "m 3: active (generation 2)." in capsys.readouterr().out


def test_a_bake_time_without_a_share_is_refused(model):
    with pytest.raises(CommandError, match="--traffic-percent"):
        call_command("activate_model", "m", "2", "--bake", "5")


# In the admin


@pytest.fixture
def pages(admin_client, model):
    """Return a function that reads the model's page, after an act where one is named."""

    def read(act: str = "", **form: object) -> str:
        if act:
            assert (
                admin_client.post(f"/admin/models_registry/registeredmodel/{model.pk}/{act}/", form).status_code == 302
            )
        return admin_client.get(f"/admin/models_registry/registeredmodel/{model.pk}/change/").content.decode()

    return read


def test_an_activation_in_the_admin_may_take_a_share(admin_client, model, pages):
    page = f"/admin/models_registry/modelversion/{services.get_version(model, 2).pk}/activate/"
    assert 'name="traffic_percent"' in admin_client.get(page).content.decode()
    form = {"seen_generation": 1, "traffic_percent": "12.5", "bake_minutes": "30", "reason": "tried on a few"}
    assert admin_client.post(page, form).status_code == 302
    canary = services.require_canary(model)
    assert (canary.percent, canary.bake_minutes, canary.reason, canary.started_by) == (
        12.5,
        30,
        "tried on a few",
        "admin",
    )
    assert "version 2 with 12.5 % of the requests" in pages()
    assert "No replica is live." in pages()


def test_all_requests_in_the_admin_are_an_activation(admin_client, model):
    page = f"/admin/models_registry/modelversion/{services.get_version(model, 2).pk}/activate/"
    admin_client.post(page, {"seen_generation": 1, "traffic_percent": "100"})
    assert services.get_model("m").active_version.number == 2


def test_the_buttons_promote_and_roll_back(model, pages):
    start(model)
    assert "Promote version 2" in pages() and "Roll back the canary" in pages()
    assert "Rolled back: all requests to m go to version 1 again." in pages("end-canary")
    assert "Ended by hand" in pages()
    start(services.get_model("m"), 3)
    assert "Promoted: all requests to m now go to version 3." in pages("promote")
    assert "Start one: python3 manage.py activate_model m" in pages("promote")


def test_the_page_shows_both_versions_with_intervals(model, pages):
    start(model)
    Canary.objects.update(traffic_at=timezone.now() - timedelta(minutes=10))
    minute = (timezone.now() - timedelta(minutes=5)).replace(second=0, microsecond=0)
    write_usage("r", minute, {("m", 1): Usage(requests=900), ("m", 2): Usage(requests=100, errors={"exception": 1})})
    page = pages()
    assert "1 error; between" in page
    assert "The model failed at 1 of 100 requests (1.00%); the limit is 1.00%." in page
    assert "It waits for more: 0 of 100 observations." in page


def test_the_buttons_need_the_permission(client, django_user_model, model):
    start(model)
    client.force_login(django_user_model.objects.create_user("reader", is_staff=True))
    for act in ("promote", "end-canary"):
        assert client.post(f"/admin/models_registry/registeredmodel/{model.pk}/{act}/").status_code == 403
    assert services.current_canary(model) is not None


def test_policy_latest_begins_with_a_canary(model, pages):
    page = pages("settings", policy="latest", latest_percent="5", latest_bake_minutes="15")
    assert "new versions start with 5 %" in page
    now = services.get_model("m")
    assert (now.latest_percent, now.latest_bake_minutes) == (5, 15)
