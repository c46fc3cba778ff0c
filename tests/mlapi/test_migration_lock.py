"""Several `migrate` at once: one does it, the others wait and find it done."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.databases import ROOT, migrated_database, new_database
from tests.support.warm import warm_service


@pytest.mark.database
def test_processes_that_migrate_at_once_wait_for_each_other(tmp_path):
    environment = {**os.environ, "DATABASE_URL": new_database(tmp_path), "MLAPI_VAR": str(tmp_path / "var")}
    environment["DJANGO_SETTINGS_MODULE"] = "mlapi.settings"
    command = warm_service().command("manage.py", "migrate")
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=150)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(outputs)
    assert sum("Applying models_registry.0001_initial" in output for output in outputs) == 1


@pytest.mark.database
def test_concurrent_first_starts_make_one_account(tmp_path):
    environment = {**os.environ, "DATABASE_URL": migrated_database(tmp_path), "MLAPI_VAR": str(tmp_path / "var")}
    environment["DJANGO_SETTINGS_MODULE"] = "mlapi.settings"
    processes = [
        subprocess.Popen(
            warm_service().command("manage.py", "ensure_admin"),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=150)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(outputs)
    assert sum("Admin account" in output for output in outputs) == 1
