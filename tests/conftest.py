"""Fixtures that every part of the suite may use."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import execnet
import pytest
from django.apps import AppConfig, apps
from django.db import connections
from django.db.models.signals import post_migrate
from django.dispatch import receiver
from xdist import is_xdist_worker
from xdist.scheduler import LoadScopeScheduling

from models_registry.artifacts import sandbox
from tests.support.databases import copy_migrated
from tests.support.warm import TEST_LIBRARIES, WarmServer, warm_service

# The headless shell takes half of the processor time.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), "chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Tests that share nothing with others of their module: each may run in any process.
ALONE = (
    "tests/e2e/",
    "tests/docker/test_prepare.py",
    "tests/docker/test_serve.py",
    "tests/mlapi/test_openapi.py::test_schemathesis",
    "tests/requirements/test_locks.py",
)
# Modules that share one service: they run one after the other in one process.
TOGETHER = ("tests/mlapi/worker/",)
# What takes longest is begun first, so that no process is idle at the end.
FIRST = (
    "tests/e2e/test_proofs.py",
    "tests/e2e/test_readme.py",
    "tests/e2e/",
    "tests/cloudformation/",
    "tests/browser/",
    "tests/docker/",
    "tests/mlapi/test_openapi.py::test_schemathesis",
    "tests/models_registry/test_mlflow_registry.py",
    "tests/artifacts/test_old_versions.py",
    "tests/agent/",
    "tests/requirements/",
)
# What touches the database and is not run on PostgreSQL: pages in a browser, whose views and services are.
ANY_DATABASE = "tests/browser/"
DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "new_service", "service", "admin_client", "client"}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "database: touches the registry's database; runs on PostgreSQL too")
    config.addinivalue_line("markers", "any_database: shows the same on whichever database; not run on PostgreSQL too")
    # Starting it takes two seconds of a processor, and some modules need it minutes after others.
    sandbox.server.idle_seconds = 900


class ByModuleOrAlone(LoadScopeScheduling):
    """A module's tests share its fixtures; those with processes of their own share none, and go each by itself."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ALONE):
            return nodeid
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByModuleOrAlone | None:
    """Spread the tests over processes where `--dist loadscope` asks for it."""
    return ByModuleOrAlone(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_xdist_setupnodes(specs: list[execnet.XSpec]) -> None:
    """Fork the processes of xdist from one that has imported the libraries: importing takes most of their start."""
    server = WarmServer(sys.executable, TEST_LIBRARIES)
    # The processes share this one, too.
    warm_service()
    specs[:] = [execnet.XSpec(f"{spec}//python={shlex.join(server.command())}") for spec in specs]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what touches the database, so that the second run, on PostgreSQL, is all of that and nothing else."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        uses = DATABASE_FIXTURES & fixtures or item.get_closest_marker("django_db") is not None
        is_the_same = item.nodeid.startswith(ANY_DATABASE) or item.get_closest_marker("any_database") is not None
        if uses and not is_the_same:
            item.add_marker(pytest.mark.database)
    items.sort(
        key=lambda item: next((place for place, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))
    )


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest, django_db_modify_db_settings: None) -> bool:
    """Let each process of xdist take a copy of one migrated database: migrating takes seconds."""
    if not is_xdist_worker(request):
        return bool(request.config.getvalue("reuse_db"))
    name = connections["default"].settings_dict["TEST"]["NAME"]
    copy_migrated(Path(name) if connections["default"].vendor == "sqlite" else name)
    return True


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Return a maker of services in processes of their own; they end with the test."""
    from tests.support.service import Service

    started: list[Service] = []

    def make(name: str = "service", **environment: str) -> Service:
        started.append(Service(tmp_path / name, **environment))
        return started[-1]

    yield make
    for service in started:
        service.kill()


@pytest.fixture
def postgresql_directory() -> Iterator[Path]:
    """Return an empty directory for a PostgreSQL server's data."""
    from tests.support import postgresql

    with postgresql.postgresql_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def s3() -> Iterator[object]:
    """Return an S3 server on loopback."""
    from tests.support.s3 import CREDENTIALS, s3_server

    with s3_server() as server:
        before = {name: os.environ.get(name) for name in server.environment()}
        os.environ.update(CREDENTIALS | {"AWS_ENDPOINT_URL_S3": server.endpoint})
        yield server
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture
def storage_directory(tmp_path: Path, settings: object) -> Path:
    """Return an empty storage that the registry in this process uses, with a cache of its own."""
    directory = tmp_path / "storage"
    directory.mkdir()
    settings.MODELS_STORAGE = directory.as_uri()  # type: ignore[attr-defined]
    settings.MODELS_CACHE = tmp_path / "cache"  # type: ignore[attr-defined]
    return directory


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """Return a running browser."""
    # The loop of Playwright runs in this thread until the module ends: Django takes it for an asynchronous context, and
    # other modules could start no loop of their own.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")
    if before is not None:
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@receiver(post_migrate)
def make_groups(sender: AppConfig, using: str, **_: object) -> None:
    """Make the groups of people again where a test that empties every table took them away."""
    if sender.label == "models_registry":
        editor = SimpleNamespace(connection=connections[using])
        import_module("models_registry.migrations.0012_groups_for_people").make_groups(apps, editor)
        import_module("models_registry.migrations.0025_groups_know_batches_and_the_log").add_permissions(apps, editor)
