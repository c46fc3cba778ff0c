"""The registry in a fresh Django project, as docs/django-app.md says, word for word."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.databases import ROOT
from tests.support.estimators import save

FRAME = pd.DataFrame({"age": [20.0, 30, 40, 50], "income": [1.0, 2, 3, 4]})
PEOPLE = """from django.contrib.auth.models import AbstractUser

class Person(AbstractUser):
    pass
"""
BUILD = "from setuptools import setup; setup()"


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs/django-app.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture
def package(tmp_path) -> Path:
    """Return a directory with what an installation of the package holds, and nothing else of the checkout."""
    checkout = tmp_path / "checkout"
    for name in ("mlapi", "models_registry"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "requirements").mkdir()
    for name in ("pyproject.toml", "requirements/service.in"):
        shutil.copy(ROOT / name, checkout / name)
    built = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, "-q", "build", "--build-lib", str(built)],
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    return built


@pytest.mark.timeout(400)
def test_page_works_word_for_word(package, tmp_path):
    install, act, ask = blocks("sh")
    settings, view, address = blocks("python")
    (answer,) = blocks("json")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(package),
    }

    def run(command: str, directory: Path) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    _, *start = install.splitlines()
    run("; ".join(start), tmp_path)
    project = tmp_path / "shop"
    with (project / "shop" / "settings.py").open("a") as file:
        file.write(settings)
    save(LogisticRegression().fit(FRAME, ["a", "b", "a", "b"]), project / "model.joblib")
    said = run(act, project)
    assert "System check identified no issues" in said
    assert "churn" in said
    (project / "shop/views.py").write_text(view)
    with (project / "shop/urls.py").open("a") as file:
        file.write(address)
    (body,) = re.findall(r"-d '(.*)'", ask)
    request = (
        "from django.test import Client; "
        f"print(Client().post('/predict', '{body}', 'application/json', headers={{'host': 'localhost'}}).json())"
    )
    (project / "request.py").write_text(request)
    assert run("python manage.py shell --verbosity 0 < request.py", project).strip() == str(json.loads(answer))
    # The pages of the admin work without the HTTP face.
    page = (
        "from django.test import Client; from django.contrib.auth.models import User; c = Client(); "
        "c.force_login(User.objects.create_superuser('ann')); "
        "print([c.get(p, headers={'host': 'localhost'}).status_code for p in ('/admin/', "
        "'/admin/models_registry/registeredmodel/', '/admin/models_registry/registeredmodel/1/change/', "
        "'/admin/models_registry/modelversion/1/change/')])"
    )
    assert run(f'python manage.py shell --verbosity 0 -c "{page}"', project).strip() == "[200, 200, 200, 200]"
    # A user model of the project's own.
    (project / "people").mkdir()
    (project / "people/__init__.py").touch()
    (project / "people/models.py").write_text(PEOPLE)
    with (project / "shop" / "settings.py").open("a") as file:
        file.write("INSTALLED_APPS.append('people')\nAUTH_USER_MODEL = 'people.Person'\n")
    assert "System check identified no issues" in run("python manage.py check", project)
