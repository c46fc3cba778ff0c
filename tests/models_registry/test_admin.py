"""The admin: who may do what, each act, and what people are told."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from models_registry import services
from models_registry.models import Activation, ModelVersion, RegisteredModel, Replica
from tests.models_registry.admin_pages import ADVICE, VIEW, logged_in, number, page, replica, told
from tests.support.registry import SCHEMA, version

pytestmark = pytest.mark.django_db


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
    assert "Deactivated digits. It is unloaded on 2 live replicas." in told(response)
    last = Activation.objects.first()
    assert (last.version, last.kind, last.reason, last.activated_by) == (
        None,
        "deactivation",
        "its sensor is gone",
        "ann",
    )
    assert "here is nothing to change" in client.get(url).content.decode()

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
    assert "here is nothing to change" in client.get(url).content.decode()
    assert "was active already" in told(client.post(url, {"seen_generation": 0}))
    assert Activation.objects.count() == 1


@pytest.mark.parametrize(
    "values", [{}, {"seen_generation": "x"}, {"seen_generation": "9" * 30}, {"seen_generation": -1}]
)
def test_a_confirmation_without_what_was_seen_is_refused(values, digits, admin_client):
    response = admin_client.post(ACTS["activate"][1](digits), values)
    assert "The form is incomplete" in response.content.decode()
    assert number(digits) == 1


@pytest.mark.parametrize(
    ("state", "sentence"),
    [("rejected", "It answers nothing."), ("found", "its validation has not ended"), ("missing", "it is missing")],
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
    assert "anyway" not in shown
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
