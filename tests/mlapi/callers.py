"""Callers of the registry's API."""

from __future__ import annotations

import json
from pathlib import Path

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from models_registry import services
from models_registry.models import ModelVersion, Replica, ReplicaModel, State

PERMISSIONS = ("view_registeredmodel", "publish_modelversion", "activate_modelversion", "override_check")


class Caller:
    """A program with a token, and the permissions named."""

    def __init__(self, *permissions: str, name: str = "pipeline") -> None:
        user = User.objects.create_user(name)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.headers = {"Authorization": f"Token {Token.objects.create(user=user).key}"}
        self.client = Client(raise_request_exception=False)

    def get(self, path, **headers):
        return self.client.get(path, headers={**self.headers, **headers})

    def post(self, path, body=None, **headers):
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return self.client.post(path, content, content_type="application/json", headers={**self.headers, **headers})

    def put(self, path, body=None):
        return self.client.put(path, json.dumps(body), content_type="application/json", headers=self.headers)

    def delete(self, path, body=None):
        return self.client.delete(path, json.dumps(body or {}), content_type="application/json", headers=self.headers)

    def upload(self, name, path: Path, **fields):
        with path.open("rb") as content:
            return self.client.post(
                f"/api/models/{name}/versions", {"artifact": content, **fields}, headers=self.headers
            )


def version(number: int, name: str = "digits", **given) -> ModelVersion:
    model = services.register_model(name)
    values = {"state": State.READY, "digest": "0" * 64, "format": "joblib", "size_bytes": 1, **given}
    return ModelVersion.objects.create(
        model=model, number=number, storage_key=f"{name}/{number}.joblib", storage_version=str(number), **values
    )


def replica_serving(version: ModelVersion, *, state="serving", generation=1) -> None:
    now = timezone.now()
    one = Replica.objects.create(id="r1", host="h", pid=1, started_at=now, heartbeat_at=now)
    ReplicaModel.objects.create(
        replica=one, model=version.model, state=state, serving_version=version, generation=generation, since=now
    )
