"""Several `migrate` at once: one does it, the others wait and find it done."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.databases import ROOT, new_database


@pytest.mark.database
def test_processes_that_migrate_at_once_wait_for_each_other(tmp_path):
    environment = {**os.environ, "DATABASE_URL": new_database(tmp_path), "MLAPI_VAR": str(tmp_path / "var")}
    environment["DJANGO_SETTINGS_MODULE"] = "mlapi.settings"
    command = [sys.executable, "manage.py", "migrate"]
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
def test_processes_that_make_the_first_account_at_once_make_one(tmp_path):
    environment = {**os.environ, "DATABASE_URL": new_database(tmp_path), "MLAPI_VAR": str(tmp_path / "var")}
    environment["DJANGO_SETTINGS_MODULE"] = "mlapi.settings"
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "ensure_admin"],
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
