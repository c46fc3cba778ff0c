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
WRONG_BODIES = ["{}", "[]", "null", "x", "", '{"instances": 5}', '{"instances": [{"age": 1}]}', '"instances"', "[1]"]
PAGES = """
from django.contrib.auth.models import User
from django.test import Client

client = Client(headers={"host": "localhost"})
client.force_login(User.objects.create_superuser("ann"))
model = "/admin/models_registry/registeredmodel/"
pages = ["/admin/", model, f"{model}1/change/", f"{model}1/live/", "/admin/models_registry/modelversion/1/change/"]
found = [client.get(page) for page in pages]
words = [page.content.decode() for page in found]
print([page.status_code for page in found], any("No replica" in text or "live replica" in text for text in words))
print("This project has no service, so no replica loads version 1." in words[2], 'data-complete="yes"' in words[3])
upload = client.get("/admin/models_registry/modelversion/upload/", follow=True)
print(upload.status_code, "publish_model NAME FILE" in upload.content.decode())
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
    install, begin, act, serve, ask = blocks("sh")
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

    # The installation itself is replaced by `package`, because it would load 80 packages.
    make, _ = install.splitlines()
    run(make, tmp_path)
    run(begin, tmp_path)
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
    assert serve.strip() == "python manage.py runserver"
    wrong = (
        "from django.test import Client; "
        f"print([Client().post('/predict', body, 'application/json', headers={{'host': 'localhost'}}).status_code "
        f"for body in {WRONG_BODIES!r}])"
    )
    (project / "wrong.py").write_text(wrong)
    assert run("python manage.py shell --verbosity 0 < wrong.py", project).strip() == str([400] * len(WRONG_BODIES))
    # The pages of the admin work without the HTTP face.
    (project / "pages.py").write_text(PAGES)
    assert run("python manage.py shell --verbosity 0 -c 'exec(open(\"pages.py\").read())'", project).splitlines() == [
        "[200, 200, 200, 200, 200] False",
        "True True",
        "200 True",
    ]
    # A user model of the project's own.
    (project / "people").mkdir()
    (project / "people/__init__.py").touch()
    (project / "people/models.py").write_text(PEOPLE)
    with (project / "shop" / "settings.py").open("a") as file:
        file.write("INSTALLED_APPS.append('people')\nAUTH_USER_MODEL = 'people.Person'\n")
    assert "System check identified no issues" in run("python manage.py check", project)
