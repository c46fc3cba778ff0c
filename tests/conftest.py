"""Fixtures that every part of the suite may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "new_service", "service", "admin_client", "client"}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "database: touches the registry's database; runs on PostgreSQL too")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what touches the database, so that the second run, on PostgreSQL, is all of that and nothing else."""
    for item in items:
        uses = DATABASE_FIXTURES & set(getattr(item, "fixturenames", ()))
        if uses or item.get_closest_marker("django_db") is not None:
            item.add_marker(pytest.mark.database)


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Return a maker of services in processes of their own; they end with the test."""
    from tests.support.databases import new_database
    from tests.support.service import Service

    started: list[Service] = []

    def make(name: str = "service", **environment: str) -> Service:
        url = environment.pop("DATABASE_URL", None) or new_database(tmp_path / name)
        service = Service(tmp_path / name, DATABASE_URL=url, **environment)
        started.append(service)
        return service.migrate()

    yield make
    for service in started:
        service.kill()


@pytest.fixture(scope="session")
def s3() -> Iterator[object]:
    """Return an S3 server on loopback."""
    from tests.support.s3 import CREDENTIALS, s3_server

    with s3_server() as server:
        before = {name: os.environ.get(name) for name in server.environment()}
        os.environ.update(CREDENTIALS | {"AWS_ENDPOINT_URL_S3": server.endpoint})
        yield server
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def storage_directory(tmp_path: Path, settings: object) -> Path:
    """Return an empty storage that the registry in this process uses, with a cache of its own."""
    directory = tmp_path / "storage"
    directory.mkdir()
    settings.MODELS_STORAGE = directory.as_uri()  # type: ignore[attr-defined]
    settings.MODELS_CACHE = tmp_path / "cache"  # type: ignore[attr-defined]
    return directory
