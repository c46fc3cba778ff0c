"""What the admin's tests share."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models_registry import services
from models_registry.models import RegisteredModel
from models_registry.services.rollout import ModelReport

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


def replica(
    model: RegisteredModel, pid: int, number: int | None, *, generation: int, state="serving", **values
) -> None:
    serving = model.versions.get(number=number).pk if number else None
    report = ModelReport(model.pk, state, generation, serving, **({"desired_generation": model.generation} | values))
    services.report_replica(f"r{pid}", host="box", pid=pid, started_at=timezone.now(), reports=[report], changed=True)


def number(model: RegisteredModel) -> int:
    model.refresh_from_db()
    assert model.active_version is not None
    return model.active_version.number


def told(response) -> str:
    """Return what the user is told after an act."""
    return " ".join(map(str, get_messages(response.wsgi_request)))
