"""Several rows of a list at once: asked first, and refused row by row."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from models_registry import services
from models_registry.admin.bulk import MAX_ROWS
from models_registry.models import ModelLimit, ModelVersion, RegisteredModel, State
from tests.models_registry.test_admin import VIEW, logged_in, page, told
from tests.support.registry import version

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def versions() -> list[ModelVersion]:
    """Return the ready version 1 of `churn`, its rejected versions 2 and 3, and a rejected version of `fraud`."""
    first = version("churn", 1)
    services.activate(first, by="ann")
    return [
        first,
        *(version(*which, State.REJECTED, reason="No model.") for which in (("churn", 2), ("churn", 3), ("fraud", 1))),
    ]


def run(client, kind: str, action: str, rows, **more):
    body = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return client.post(page(f"{kind}_changelist"), body)


def states() -> list[str]:
    return list(ModelVersion.objects.order_by("pk").values_list("state", flat=True))


def test_the_question_names_each_row_and_changes_nothing(versions):
    client = logged_in(*VIEW, "publish_modelversion")
    asked = run(client, "modelversion", "delete_rejected", versions)
    assert [str(row) for row in asked.context["allowed"]] == ["churn 2", "churn 3", "fraud 1"]
    assert "churn 1 is active. Only a rejected version" in asked.content.decode()
    assert states() == ["ready", "rejected", "rejected", "rejected"]


def test_the_yes_deletes_what_may_be_deleted(versions):
    client = logged_in(*VIEW, "publish_modelversion")
    answer = run(client, "modelversion", "delete_rejected", versions, confirmed="yes")
    assert states() == ["ready", "deleted", "deleted", "deleted"]
    assert "Deleted: churn 2, churn 3, fraud 1." in told(answer)
    assert "churn 1 is active" in told(answer)


def test_row_changed_since_the_question_is_refused_alone(versions):
    client = logged_in(*VIEW, "publish_modelversion")
    run(client, "modelversion", "delete_rejected", versions[1:])
    services.recheck(versions[1], by="bea")
    answer = run(client, "modelversion", "delete_rejected", versions[1:], confirmed="yes")
    assert "churn 2 is found. Only a rejected version" in told(answer)
    assert "Deleted: churn 3, fraud 1." in told(answer)


def test_rights_limited_to_a_model_are_kept(versions):
    client = logged_in(*VIEW, "publish_modelversion")
    ModelLimit.objects.create(user=User.objects.get(username="ann"), pattern="churn")
    run(client, "modelversion", "delete_rejected", versions, confirmed="yes")
    assert states() == ["ready", "deleted", "deleted", "rejected"]


@pytest.mark.parametrize(("kind", "action"), [("modelversion", "delete_rejected"), ("registeredmodel", "archive")])
def test_an_act_on_rows_needs_its_right(versions, kind, action):
    rows = ModelVersion.objects.all() if kind == "modelversion" else RegisteredModel.objects.all()
    client = logged_in(*VIEW)
    assert f'<option value="{action}"' not in client.get(page(f"{kind}_changelist")).content.decode()
    run(client, kind, action, rows, confirmed="yes")
    assert states() == ["ready", "rejected", "rejected", "rejected"]
    assert not RegisteredModel.objects.exclude(archived_at=None).exists()


def test_models_are_archived_together(versions):
    client, models = logged_in(*VIEW, "activate_modelversion"), list(RegisteredModel.objects.order_by("name"))
    asked = run(client, "registeredmodel", "archive", models).content.decode()
    assert f'name="seen_{models[0].pk}" value="1"' in asked
    services.deactivate(services.get_model("churn"), by="bea")
    seen = {f"seen_{model.pk}": model.generation for model in models}
    answer = run(client, "registeredmodel", "archive", models, confirmed="yes", **seen)
    assert "churn: another change came first." in told(answer)
    assert "Archived: fraud." in told(answer)
    assert list(RegisteredModel.objects.exclude(archived_at=None)) == [models[1]]


def test_too_many_rows_are_refused_at_once(versions):
    ModelVersion.objects.bulk_create(
        ModelVersion(model=versions[0].model, number=n, storage_key=f"churn/{n}", format="joblib", size_bytes=1)
        for n in range(10, 10 + MAX_ROWS)
    )
    answer = run(
        logged_in(*VIEW, "publish_modelversion"), "modelversion", "delete_rejected", versions, select_across="1"
    )
    assert f"More than {MAX_ROWS} rows are selected" in told(answer)
