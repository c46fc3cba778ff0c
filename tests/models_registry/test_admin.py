"""The admin: who may do what, each act, and what people are told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.authtoken.models import Token

from models_registry import services
from models_registry.admin.access import GroupAdmin as AccessGroupAdmin
from models_registry.admin.access import take_over
from models_registry.models import Activation, ApiKey, Lease, ModelVersion, RegisteredModel, Replica
from models_registry.services.rollout import ModelReport
from tests.support.registry import SCHEMA, version

pytestmark = pytest.mark.django_db

VIEW = ("view_registeredmodel", "view_modelversion", "view_activation", "view_replica")
ADVICE = "Trained with scikit-learn 1.4.2, served with 1.9.1."


def logged_in(*codenames: str, name: str = "ann") -> Client:
    """Return a browser of a member of staff with these permissions of the registry."""
    user = User.objects.create_user(name, password="x", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="models_registry", codename__in=codenames)
    )
    client = Client(enforce_csrf_checks=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:models_registry_{name}", args=args)


def told(response) -> str:
    """Return what the user is told after an act."""
    return " ".join(map(str, get_messages(response.wsgi_request)))


def replica(
    model: RegisteredModel, pid: int, number: int | None, *, generation: int, state="serving", **values
) -> None:
    serving = model.versions.get(number=number).pk if number else None
    report = ModelReport(model.pk, state, generation, serving, **({"desired_generation": model.generation} | values))
    services.report_replica(f"r{pid}", host="box", pid=pid, started_at=timezone.now(), reports=[report], changed=True)


@pytest.fixture
def digits() -> RegisteredModel:
    """Return a model with version 1 active, 2 ready and 3 rejected."""
    first = version("digits", 1, metrics={"accuracy": 0.9})
    version("digits", 2, metrics={"accuracy": 0.95})
    version("digits", 3, "rejected", reason="It names os.system.")
    services.activate(first, by="bob", reason="the first")
    return services.get_model("digits")


def number(model: RegisteredModel) -> int:
    model.refresh_from_db()
    assert model.active_version is not None
    return model.active_version.number


# Who may do what

ACTS = {
    "activate": ("activate_modelversion", lambda m: page("modelversion_activate", m.versions.get(number=2).pk)),
    "roll back": ("activate_modelversion", lambda m: page("registeredmodel_roll_back", m.pk)),
    "deactivate": ("activate_modelversion", lambda m: page("registeredmodel_deactivate", m.pk)),
    "archive": ("activate_modelversion", lambda m: page("registeredmodel_archive", m.pk)),
    "restore": ("activate_modelversion", lambda m: page("registeredmodel_restore", m.pk)),
    "discover": ("publish_modelversion", lambda m: page("registeredmodel_discover")),
    "check again": ("publish_modelversion", lambda m: page("modelversion_check_again", m.versions.get(number=3).pk)),
    "delete": ("publish_modelversion", lambda m: page("modelversion_delete_rejected", m.versions.get(number=3).pk)),
    "card": ("change_registeredmodel", lambda m: page("registeredmodel_card", m.pk)),
    "notes": ("change_registeredmodel", lambda m: page("modelversion_notes", m.versions.get(number=1).pk)),
    "settings": ("change_registeredmodel", lambda m: page("registeredmodel_settings", m.pk)),
}


@pytest.mark.parametrize("act", ACTS)
def test_act_needs_its_own_permission(act, digits, storage_directory):
    needed, url = ACTS[act]
    others = {permission for permission, _ in ACTS.values()} - {needed}
    before = (Activation.objects.count(), list(ModelVersion.objects.values_list("state", flat=True)))
    refused = logged_in(*VIEW, *others).post(url(digits), {"seen_generation": 1, "policy": "latest"})
    assert refused.status_code == 403
    assert (Activation.objects.count(), list(ModelVersion.objects.values_list("state", flat=True))) == before
    digits.refresh_from_db()
    assert digits.policy == "manual"
    allowed = logged_in(*VIEW, needed, name="bea").post(url(digits), {"seen_generation": 1, "policy": "latest"})
    assert allowed.status_code == 302


@pytest.mark.parametrize("act", ["discover", "check again", "settings"])
def test_an_act_is_no_get(act, digits):
    client = logged_in(*VIEW, *(permission for permission, _ in ACTS.values()))
    assert client.get(ACTS[act][1](digits)).status_code == 405


def test_a_confirmation_changes_nothing_by_being_looked_at(digits):
    client = logged_in(*VIEW, "activate_modelversion")
    assert client.get(ACTS["activate"][1](digits)).status_code == 200
    client.get(ACTS["roll back"][1](digits))
    assert number(digits) == 1
    assert Activation.objects.count() == 1


def test_an_act_needs_the_token_of_its_form(digits):
    client = logged_in(*VIEW, "activate_modelversion")
    client.handler.enforce_csrf_checks = True
    assert client.post(ACTS["activate"][1](digits), {"seen_generation": 1}).status_code == 403
    assert number(digits) == 1


@pytest.mark.parametrize("name", ["registeredmodel", "modelversion", "activation", "replica"])
def test_nothing_is_added_edited_or_deleted_by_hand(name, digits, admin_client):
    replica(digits, 1, 1, generation=1)
    rows = {
        "registeredmodel": digits.pk,
        "modelversion": digits.versions.get(number=1).pk,
        "activation": digits.activations.get().pk,
        "replica": "r1",
    }
    assert admin_client.get(page(f"{name}_add")).status_code == 403
    assert admin_client.post(page(f"{name}_delete", rows[name]), {"post": "yes"}).status_code == 403
    assert admin_client.post(page(f"{name}_change", rows[name]), {"name": "x", "pid": 7}).status_code in (403, 405)
    body = {"action": "delete_selected", "_selected_action": [rows[name]], "post": "yes"}
    admin_client.post(page(f"{name}_changelist"), body)
    assert (RegisteredModel.objects.count(), ModelVersion.objects.count(), Replica.objects.count()) == (1, 3, 1)
    assert Activation.objects.count() == 1


def test_a_viewer_sees_everything_and_no_button(digits):
    version("digits", 4, override_reason=ADVICE)
    client = logged_in(*VIEW)
    shown = client.get(page("registeredmodel_change", digits.pk)).content.decode()
    digest = digits.versions.get(number=1).digest[:12]
    for word in ("0.95", "It names os.system.", "the first", ADVICE, "100 bytes", digest):
        assert word in shown
    pages = [shown, client.get(page("registeredmodel_changelist")).content.decode()]
    pages += [client.get(page("modelversion_change", item.pk)).content.decode() for item in digits.versions.all()]
    for content in pages:
        for act in ("/activate/", "/roll-back/", "/discover/", "/check-again/", "/settings/"):
            assert act not in content


@pytest.mark.parametrize(
    ("permission", "shown", "hidden"),
    [("activate_modelversion", "/activate/", "/check-again/"), ("publish_modelversion", "/check-again/", "/activate/")],
)
def test_each_permission_shows_its_own_buttons(permission, shown, hidden, digits):
    client = logged_in(*VIEW, permission)
    urls = [page("registeredmodel_change", digits.pk)]
    urls += [page("modelversion_change", item.pk) for item in digits.versions.all()]
    content = " ".join(client.get(url).content.decode() for url in urls)
    assert shown in content
    assert hidden not in content


def test_buttons_show_to_those_who_may_press_them(digits, admin_client):
    services.activate(digits.versions.get(number=2), by="bob")
    shown = admin_client.get(page("registeredmodel_change", digits.pk)).content.decode()
    for name, pk in (("activate", 1), ("check_again", 3)):
        assert page(f"modelversion_{name}", digits.versions.get(number=pk).pk) in shown
    assert page("registeredmodel_roll_back", digits.pk) in shown
    assert page("registeredmodel_deactivate", digits.pk) in shown
    assert page("modelversion_activate", digits.versions.get(number=2).pk) not in shown, "it is active"
    assert page("modelversion_activate", digits.versions.get(number=3).pk) not in shown, "it is rejected"


def test_somebody_who_may_not_look_is_refused(digits):
    client = logged_in("activate_modelversion", "publish_modelversion", "override_check")
    for url in (
        page("registeredmodel_changelist"),
        page("registeredmodel_change", digits.pk),
        page("registeredmodel_live", digits.pk),
        page("modelversion_change", digits.versions.first().pk),
        ACTS["activate"][1](digits),
    ):
        assert client.get(url).status_code == 403, url
    assert "can log in" in client.get("/admin/").content.decode()


# Activate and roll back


def test_a_confirmation_says_what_changes(digits, admin_client):
    replica(digits, 1, 1, generation=1)
    replica(digits, 2, 1, generation=1)
    target = digits.versions.get(number=2)
    wider = [*SCHEMA["inputs"][1:], {"name": "city", "type": "string"}]
    ModelVersion.objects.filter(pk=target.pk).update(schema={**SCHEMA, "inputs": wider})
    shown = admin_client.get(page("modelversion_activate", target.pk)).content.decode()
    assert "digits: version 1 → version 2, on 2 live replicas." in shown
    assert re.search(r"accuracy.*?0\.9<.*?0\.95<", shown, re.DOTALL)
    assert "It takes &#x27;city&#x27;" in shown
    assert "It no longer takes &#x27;x0&#x27;" in shown


def test_a_confirmation_warns_where_no_replica_is_live(digits, admin_client):
    shown = admin_client.get(ACTS["activate"][1](digits)).content.decode()
    assert "as soon as a replica is live (none is now)" in shown


def test_a_confirmed_activation_is_recorded_with_person_and_reason(digits):
    client = logged_in(*VIEW, "activate_modelversion")
    response = client.post(ACTS["activate"][1](digits), {"seen_generation": 1, "reason": "weekly retrain"})
    assert response.url == page("registeredmodel_change", digits.pk)
    assert "Activated digits version 2" in told(response)
    last = Activation.objects.first()
    assert (last.version.number, last.activated_by, last.reason, last.kind) == (
        2,
        "ann",
        "weekly retrain",
        "activation",
    )


def test_a_confirmed_rollback_goes_to_the_version_before(digits):
    services.activate(digits.versions.get(number=2), by="bob")
    client = logged_in(*VIEW, "activate_modelversion")
    shown = client.get(page("registeredmodel_roll_back", digits.pk)).content.decode()
    assert "digits: version 2 → version 1" in shown
    response = client.post(page("registeredmodel_roll_back", digits.pk), {"seen_generation": 2, "reason": "too slow"})
    assert "Rolled back to digits version 1" in told(response)
    last = Activation.objects.first()
    assert (number(digits), last.kind, last.reason) == (1, "rollback", "too slow")


def test_confirmed_deactivation_is_described_and_rolled_back(digits):
    replica(digits, 1, 1, generation=1)
    replica(digits, 2, 1, generation=1)
    client = logged_in(*VIEW, "activate_modelversion")
    url = page("registeredmodel_deactivate", digits.pk)
    shown = client.get(url).content.decode()
    assert "digits: version 1 → no active version, on 2 live replicas." in shown
    assert "requests for it are refused" in shown
    assert Activation.objects.count() == 1
    response = client.post(url, {"seen_generation": 1, "reason": "its sensor is gone"})
    assert "Deactivated digits; it is put down on 2 live replicas." in told(response)
    last = Activation.objects.first()
    assert (last.version, last.kind, last.reason, last.activated_by) == (
        None,
        "deactivation",
        "its sensor is gone",
        "ann",
    )
    assert "there is nothing to change" in client.get(url).content.decode()

    shown = live(client, digits)
    assert "2 of 2 live replicas still serve one" in shown
    assert 'data-complete="no"' in shown
    services.report_replica("r1", host="box", pid=1, started_at=timezone.now(), reports=[], changed=True)
    assert "1 of 2 live replicas still serves one" in live(client, digits)
    services.report_replica("r2", host="box", pid=2, started_at=timezone.now(), reports=[], changed=True)
    shown = live(client, digits)
    assert "nothing is served. Activate a ready version below, or roll back." in shown
    assert "by ann: its sensor is gone" in shown
    assert 'data-complete="yes"' in shown

    for name in ("registeredmodel_changelist", "activation_changelist"):
        assert "deactivat" in client.get(page(name)).content.decode().lower()
    shown = client.get(page("registeredmodel_change", digits.pk)).content.decode()
    assert "Roll back to version 1" in shown
    assert url not in shown, "it is deactivated already"
    assert (
        "digits: no active version → version 1"
        in client.get(page("registeredmodel_roll_back", digits.pk)).content.decode()
    )
    client.post(page("registeredmodel_roll_back", digits.pk), {"seen_generation": 2})
    assert number(digits) == 1


@pytest.mark.parametrize("act", ["activate", "roll back", "deactivate"])
def test_stale_confirmation_changes_nothing_and_names_the_first(act, digits):
    services.activate(version("digits", 4), by="bob")
    client = logged_in(*VIEW, "activate_modelversion")
    seen = re.search(r'name="seen_generation" value="(\d+)"', client.get(ACTS[act][1](digits)).content.decode())
    services.activate(version("digits", 5), by="carla")
    response = client.post(ACTS[act][1](digits), {"seen_generation": seen[1]})
    assert response.status_code == 302
    assert "another activation came first. Active now is version 5 by carla" in told(response)
    assert number(digits) == 5


def test_activating_the_active_version_is_harmless(digits):
    client = logged_in(*VIEW, "activate_modelversion")
    url = page("modelversion_activate", digits.versions.get(number=1).pk)
    assert "there is nothing to change" in client.get(url).content.decode()
    assert "was active already" in told(client.post(url, {"seen_generation": 0}))
    assert Activation.objects.count() == 1


@pytest.mark.parametrize(
    "values", [{}, {"seen_generation": "x"}, {"seen_generation": "9" * 30}, {"seen_generation": -1}]
)
def test_a_confirmation_without_what_was_seen_is_refused(values, digits, admin_client):
    response = admin_client.post(ACTS["activate"][1](digits), values)
    assert "This confirmation is not complete" in response.content.decode()
    assert number(digits) == 1


@pytest.mark.parametrize(
    ("state", "sentence"),
    [("rejected", "It answers nothing."), ("found", "its check has not ended"), ("missing", "it is missing")],
)
def test_unready_version_cannot_be_activated_and_says_why(state, sentence, digits, admin_client):
    url = page("modelversion_activate", version("digits", 9, state).pk)
    shown = admin_client.get(url).content.decode()
    assert sentence in shown
    assert "Activate version 9" not in shown
    assert "digits 9" in told(admin_client.post(url, {"seen_generation": 1}))
    assert number(digits) == 1


def test_a_model_without_a_version_before_cannot_roll_back(digits, admin_client):
    response = admin_client.get(page("registeredmodel_roll_back", digits.pk))
    assert "nothing to roll back to" in told(response)
    assert "/roll-back/" not in admin_client.get(page("registeredmodel_change", digits.pk)).content.decode()


# Against the check's advice


def test_overruling_the_check_needs_its_permission(digits):
    target = version("digits", 4, override_reason=ADVICE)
    client = logged_in(*VIEW, "activate_modelversion")
    url = page("modelversion_activate", target.pk)
    shown = client.get(url).content.decode()
    assert ADVICE in shown
    assert "override_check" in shown
    assert "all the same" not in shown
    response = client.post(url, {"seen_generation": 1, "reason": "I insist", "override": "on"})
    assert "override_check" in told(response)
    assert number(digits) == 1


@pytest.mark.parametrize("values", [{"reason": "urgent"}, {"override": "on"}, {"override": "on", "reason": "  "}])
def test_overruling_the_check_needs_a_reason_and_a_tick(values, digits):
    target = version("digits", 4, override_reason=ADVICE)
    client = logged_in(*VIEW, "activate_modelversion", "override_check")
    response = client.post(page("modelversion_activate", target.pk), {"seen_generation": 1, **values})
    assert "required" in response.content.decode()
    assert number(digits) == 1


def test_overruled_check_is_in_the_history_for_rollback(digits):
    target = version("digits", 4, override_reason=ADVICE)
    client = logged_in(*VIEW, "activate_modelversion", "override_check")
    body = {"seen_generation": 1, "override": "on", "reason": "compared by hand"}
    client.post(page("modelversion_activate", target.pk), body)
    assert Activation.objects.first().overrides == ADVICE
    history = client.get(page("activation_changelist")).content.decode()
    assert ADVICE in history
    assert "compared by hand" in history
    services.activate(digits.versions.get(number=2), by="bob", seen_generation=2)
    other = logged_in(*VIEW, "activate_modelversion", name="bea")
    response = other.post(page("registeredmodel_roll_back", digits.pk), {"seen_generation": 3})
    assert "required" in response.content.decode(), "a reason is"
    other.post(page("registeredmodel_roll_back", digits.pk), {"seen_generation": 3, "reason": "2 is worse"})
    assert number(digits) == 4


# The rollout


def live(client: Client, model: RegisteredModel) -> str:
    return client.get(page("registeredmodel_live", model.pk)).content.decode()


def test_the_rollout_shows_each_replica_until_all_agree(digits, admin_client):
    runs = {"form": "compiled", "text": "ONNX, float64: 9 × faster"}
    replica(digits, 1, 1, generation=1, runs=runs)
    replica(digits, 2, 1, generation=1)
    assert "All 2 live replicas serve version 1." in live(admin_client, digits)
    services.activate(digits.versions.get(number=2), by="bob")
    replica(digits, 1, 2, generation=2, runs=runs)
    shown = live(admin_client, digits)
    assert 'data-complete="no"' in shown
    assert "1 of 2 live replicas serve version 2." in shown
    assert "compiled" in shown
    assert "ONNX, float64: 9 × faster" in shown
    replica(digits, 2, 1, generation=1, state="failed", reason="no memory is left to load it")
    shown = live(admin_client, digits)
    assert "no memory is left to load it" in shown
    assert "1 failed" in shown
    replica(digits, 2, 2, generation=2)
    assert 'data-complete="yes"' in live(admin_client, digits)


def test_the_rollout_warns_where_no_replica_is_live(digits, admin_client):
    replica(digits, 1, 1, generation=1)
    Replica.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    shown = live(admin_client, digits)
    assert "No replica is live" in shown
    assert 'data-complete="no"' in shown


def test_the_fragment_is_the_same_text_while_nothing_changes(digits, admin_client):
    replica(digits, 1, 1, generation=1)
    assert live(admin_client, digits) == live(admin_client, digits)


# Discovery, checking again, settings


def test_discovery_reports_found_missed_and_ignored(storage_directory, admin_client):
    version("gone", 1)
    (storage_directory / "digits").mkdir()
    (storage_directory / "digits" / "model.joblib").write_bytes(b"x")
    (storage_directory / "stray.joblib").write_bytes(b"x")
    words = told(admin_client.post(page("registeredmodel_discover")))
    assert "Found 1 version: digits 1. No replica is live" in words
    assert "No longer in the storage: 1 version: gone 1." in words
    assert "Ignored stray.joblib: lies in no model's folder" in words
    assert ModelVersion.objects.get(model__name="digits").published_by == ""


def test_missing_storage_is_reported_by_discovery(settings, tmp_path, admin_client):
    settings.MODELS_STORAGE = (tmp_path / "nowhere").as_uri()
    response = admin_client.post(page("registeredmodel_discover"))
    assert response.status_code == 302
    assert "nowhere" in told(response)


def test_list_of_models_shows_the_last_discovery(admin_client):
    shown = admin_client.get(page("registeredmodel_changelist")).content.decode()
    assert "Not looked into by a replica yet" in shown
    assert "publish_model digits model.joblib" in shown, "an empty registry says how to fill it"
    services.claim_lease("discovery", holder="r1", seconds=1)
    services.finish_lease("discovery", holder="r1", next_in_seconds=1, note="The bucket refuses to list.")
    shown = admin_client.get(page("registeredmodel_changelist")).content.decode()
    assert Lease.objects.get().done_at.strftime("%Y-%m-%d %H:%M:%S") in shown
    assert "The bucket refuses to list." in shown


def test_checking_again_puts_a_rejected_version_back_in_line(digits, admin_client):
    target = digits.versions.get(number=3)
    ModelVersion.objects.filter(pk=target.pk).update(report={"passed": False}, inspection={"globals": ["os.system"]})
    response = admin_client.post(page("modelversion_check_again", target.pk))
    assert "in line for its check again" in told(response)
    target.refresh_from_db()
    assert (target.state, target.reason, target.report, target.inspection) == ("found", "", None, None)
    assert target.digest, "what it is pinned to stays"


def test_only_a_rejected_version_is_checked_again(digits, admin_client):
    target = digits.versions.get(number=1)
    response = admin_client.post(page("modelversion_check_again", target.pk))
    assert "Only a rejected version can be checked again" in told(response)
    target.refresh_from_db()
    assert target.state == "ready"


def test_settings_are_changed_one_by_one(digits, admin_client):
    url = page("registeredmodel_settings", digits.pk)
    body = {"policy": "latest", "description": "Handwritten digits"}
    words = told(admin_client.post(url, body))
    assert words == "digits: policy is latest, acceleration is off, the description is new."
    digits.refresh_from_db()
    assert (digits.policy, digits.acceleration, digits.description) == ("latest", False, "Handwritten digits")
    assert told(admin_client.post(url, body)).endswith("digits: nothing changed.")
    assert "Policy:" in told(admin_client.post(url, {**body, "policy": "whatever"}))


# History


@pytest.fixture
def march(digits) -> RegisteredModel:
    """Return digits with version 1 live from 1 March, 2 from 10 March."""
    services.activate(digits.versions.get(number=2), by="bob", reason="better")
    for generation, day in ((1, 1), (2, 10)):
        digits.activations.filter(generation=generation).update(activated_at=datetime(2026, 3, day, 12, tzinfo=UTC))
    return digits


def test_history_says_that_nothing_was_live(march, admin_client):
    services.deactivate(services.get_model("digits"), by="bob")
    march.activations.filter(generation=3).update(activated_at=datetime(2026, 3, 20, 12, tzinfo=UTC))
    for moment, answer in (("2026-03-20T11:59:59", "digits version 2."), ("2026-03-20T12:00", "digits (no version).")):
        shown = admin_client.get(page("activation_changelist"), {"live_at": moment}).content.decode()
        assert answer in " ".join(shown.split())


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        ("2026-03-01T11:59:59", "Nothing was live"),
        ("2026-03-01T12:00:00", "digits version 1."),
        ("2026-03-10T11:59:59", "digits version 1."),
        ("2026-03-10T12:00", "digits version 2."),
        ("2030-01-01", "digits version 2."),
        ("2026-02-31T00:00:00", "is not a valid time"),
        ("soon", "is not a valid time"),
        ("0001-01-01T00:00+14:00", "is not a valid time"),
    ],
)
def test_history_says_what_was_live_at_a_moment(moment, answer, march, admin_client):
    shown = admin_client.get(page("activation_changelist"), {"live_at": moment}).content.decode()
    assert answer in " ".join(shown.split())


def test_history_gives_from_until_by_whom_and_why(march, admin_client):
    shown = admin_client.get(page("activation_changelist")).content.decode()
    for word in ("2026-03-01 12:00:00 UTC", "2026-03-10 12:00:00 UTC", "now", "bob", "better", "after version 1"):
        assert word in shown
    assert shown.count("2026-03-10 12:00:00 UTC") == 2, "the end of one is the beginning of the next"


# A version's page


def test_a_version_shows_all_that_the_check_saw(admin_client):
    target = version(
        "digits",
        inspection={
            "format": "joblib",
            "globals": ["sklearn.linear_model._base.LinearRegression"],
            "called": [],
            "versions": {"scikit-learn": ["1.4.2"]},
            "claimed_bytes": 2_500_000,
            "outline": ["Pipeline", "  scale: StandardScaler"],
            "problems": [],
            "version_verdict": "Trained with another scikit-learn.",
        },
        report={
            "passed": True,
            "load_seconds": 0.25,
            "row_milliseconds": 0.5,
            "warnings": ["It is slow."],
            "versions": {"numpy": "2.4.6"},
            "acceleration": {"kind": "onnx64", "description": "ONNX, float64: 24 × faster"},
        },
        sample={"instances": [[1.5, 2.0]], "predictions": [7]},
        sample_is_own=True,
        override_reason=ADVICE,
        published_by="ann",
    )
    shown = admin_client.get(page("modelversion_change", target.pk)).content.decode()
    for word in (
        target.digest,
        "digits/model.joblib",
        "100 bytes",
        "published",
        "LinearRegression",
        "1.4.2",
        "2.5 MB",
        "  scale: StandardScaler",
        "Trained with another scikit-learn.",
        "250 ms",
        "500 µs",
        "It is slow.",
        "numpy 2.4.6",
        "ONNX, float64: 24 × faster",
        "x0",
        "1.5",
        "these are the ones of its first validation",
        ADVICE,
    ):
        assert word in shown, word


def test_a_rejected_version_says_why_before_anything_else(digits, admin_client):
    shown = admin_client.get(page("modelversion_change", digits.versions.get(number=3).pk)).content.decode()
    assert shown.index("It names os.system.") < shown.index("SHA-256")


def test_artifacts_own_words_are_shown_as_text(admin_client):
    hostile = "<script>alert(1)</script>"
    target = version(
        "digits",
        state="rejected",
        reason=hostile,
        metrics={hostile: 1},
        description=hostile,
        storage_key=f"digits/{hostile}.joblib",
        inspection={
            "globals": [hostile],
            "outline": [hostile],
            "problems": [hostile],
            "versions": {hostile: [hostile]},
        },
        sample={"instances": [{hostile: hostile}], "predictions": [hostile]},
        report={hostile: {hostile: hostile}},
    )
    for url in (
        page("modelversion_change", target.pk),
        page("modelversion_changelist"),
        page("registeredmodel_change", target.model_id),
    ):
        content = admin_client.get(url).content.decode()
        assert hostile not in content
        assert "&lt;script&gt;alert(1)" in content


def test_version_page_refreshes_until_its_verdict_only(digits):
    client = logged_in(*VIEW)
    for state, complete in (("found", "no"), ("checking", "no"), ("ready", "final"), ("rejected", "final")):
        ModelVersion.objects.filter(number=3).update(state=state)
        url = page("modelversion_live", digits.versions.get(number=3).pk)
        response = client.get(url)
        assert "no-store" in response["Cache-Control"]
        assert f'data-complete="{complete}"' in response.content.decode()
        assert url in client.get(page("modelversion_change", digits.versions.get(number=3).pk)).content.decode()
    assert logged_in(name="bea").get(url).status_code == 403


def test_a_version_whose_check_is_postponed_says_why(digits):
    ModelVersion.objects.filter(number=3).update(state="found", reason="The disk is full.")
    content = logged_in(*VIEW).get(page("modelversion_change", digits.versions.get(number=3).pk)).content.decode()
    assert "Its validation is postponed.</strong> The disk is full." in content
    assert "within seconds" not in content


# Every page


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("registeredmodel_changelist", ["Models"]),
        ("registeredmodel_change", ["Models", "digits"]),
        ("registeredmodel_deactivate", ["Models", "digits"]),
        ("modelversion_changelist", ["Versions"]),
        ("modelversion_change", ["Versions", "digits 1"]),
        ("activation_changelist", ["History"]),
        ("activation_change", ["History", "digits: version 1"]),
        ("replica_changelist", ["Replicas"]),
        ("replica_change", ["Replicas", "box:1"]),
        ("apikey_add", ["API keys"]),
        ("apikey_change", ["API keys", "web shop (mlapi_key…)"]),
    ],
)
def test_breadcrumbs_use_sidebar_words_and_real_names(name, way, digits, admin_client):
    replica(digits, 1, 1, generation=1)
    key, _ = services.create_key("web shop", by="ann")
    ApiKey.objects.update(prefix="mlapi_key")
    rows = {
        "registeredmodel": digits.pk,
        "modelversion": digits.versions.get(number=1).pk,
        "activation": digits.activations.get().pk,
        "replica": "r1",
        "apikey": key.pk,
    }
    kind, view = name.split("_", 1)
    shown = admin_client.get(page(name, *([rows[kind]] if view not in ("changelist", "add") else [])))
    header = re.search(r'<h1 class="reg-way.*?</h1>', shown.content.decode(), re.DOTALL)
    steps = re.findall(r"<a href=[^>]*>([^<]+)</a>", header[0])
    assert steps == ["Model registry", *way]


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("auth_user_changelist", ["Users"]),
        ("auth_user_add", ["Users"]),
        ("auth_user_change", ["Users", "ann"]),
        ("auth_user_delete", ["Users", "ann"]),
        ("auth_user_history", ["Users", "ann"]),
        ("auth_user_password_change", ["Users", "ann"]),
        ("auth_group_changelist", ["Groups"]),
        ("auth_group_add", ["Groups"]),
        ("auth_group_change", ["Groups", "a few"]),
        ("auth_group_delete", ["Groups", "a few"]),
        ("authtoken_tokenproxy_changelist", ["API tokens"]),
        ("authtoken_tokenproxy_add", ["API tokens"]),
        ("authtoken_tokenproxy_delete", ["API tokens", "Token of ann"]),
    ],
)
def test_djangos_pages_have_the_same_first_breadcrumb(address, way, admin_client):
    user = User.objects.create_user("ann")
    group = Group.objects.create(name="a few")
    Token.objects.create(user=user)
    row = {"auth_user": user.pk, "auth_group": group.pk, "authtoken_tokenproxy": user.pk}
    of = address.rsplit("_", 2 if address.endswith("password_change") else 1)[0]
    is_of_a_row = not address.endswith(("changelist", "add"))
    shown = admin_client.get(reverse(f"admin:{address}", args=[row[of]] if is_of_a_row else []))
    assert shown.status_code == 200
    header = re.search(r'<h1 class="reg-way.*?</h1>', shown.content.decode(), re.DOTALL)
    links = re.findall(r"<a href=\"([^\"]*)\"[^>]*>([^<]+)</a>", header[0])
    assert [text for _, text in links] == ["Model registry", *way]
    assert all(admin_client.get(link).status_code in (200, 302) for link, _ in links)


def test_a_projects_own_pages_of_users_stay():
    class OwnPage(UserAdmin):
        pass

    site = AdminSite(name="theirs")
    site.register(User, OwnPage)
    site.register(Group, GroupAdmin)
    take_over(site)
    assert type(site.get_model_admin(User)) is OwnPage
    assert type(site.get_model_admin(Group)) is AccessGroupAdmin
    assert not site.is_registered(Token)


@pytest.mark.parametrize("name", ["registeredmodel", "modelversion", "activation", "replica"])
def test_lists_answer_empty_searched_and_filtered(name, admin_client):
    empty = admin_client.get(page(f"{name}_changelist"))
    assert empty.status_code == 200
    assert "reg-empty" in empty.content.decode()
    first = version("digits", 1)
    services.activate(first, by="ann")
    replica(first.model, 1, 1, generation=1)
    assert "reg-empty" not in admin_client.get(page(f"{name}_changelist")).content.decode()
    if name != "replica":
        assert "Nothing matches" in admin_client.get(page(f"{name}_changelist"), {"q": "zzz"}).content.decode()


def test_unknown_rows_and_huge_numbers_are_no_server_error(admin_client):
    for url in (
        page("registeredmodel_change", 10**30),
        page("modelversion_change", "x"),
        page("registeredmodel_live", 10**30),
        page("modelversion_activate", 10**30),
        page("registeredmodel_roll_back", 77),
    ):
        assert admin_client.get(url).status_code in (302, 404), url


def test_the_overview_shows_what_is_live(digits, admin_client):
    replica(digits, 1, 1, generation=1)
    shown = admin_client.get("/admin/").content.decode()
    assert "The one live replica serves version 1." in shown
    assert "the first" in shown


@pytest.mark.parametrize("url", ["/admin/auth/user/", "/admin/auth/group/", "/admin/authtoken/tokenproxy/"])
def test_access_is_managed_in_the_same_look(url, admin_client):
    content = admin_client.get(url).content.decode()
    assert "unfold" in content
