"""The image built and run for real: its size, its user, its start, its end, and the cheapest profile end to end."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.docker.conftest import BASE, BUILDAH
from tests.docker.running import answer, image_config, start
from tests.support.s3 import S3Server
from tests.support.service import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(1200)

BUDGET_MB = 700  # of what the image adds to its base


def served(port: int) -> dict[str, int]:
    """Return the models that the service has loaded, by name."""
    status, reply = answer(port, "/health")
    return dict(reply["models"]) if status == 200 else {}


def save_model(path: Path) -> Path:
    rows, labels = load_iris(return_X_y=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(LogisticRegression(max_iter=500).fit(rows, labels), path)
    return path


def size_mb(image: str) -> float:
    listed = json.loads(subprocess.check_output([*BUILDAH, "images", "--json", image]))
    number, unit = str(listed[0]["size"]).split()
    return float(number) * {"MB": 1, "GB": 1000}[unit]


def test_image_stays_within_its_budget(image: str) -> None:
    assert size_mb(image) - size_mb(BASE) < BUDGET_MB


def test_image_has_user_volume_health_check_but_no_tools(image: str, root_file_system: Path) -> None:
    config = image_config(image)
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Volumes"] == {"/tmp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "docker/healthcheck.py"]  # type: ignore[index]
    # on Fargate the volume over /tmp takes this mode and owner
    assert (root_file_system / "tmp").stat().st_mode & 0o7777 == 0o1777
    libraries = root_file_system / "venv/lib/python3.11/site-packages"
    assert not [name for name in ("pip", "troposphere", "pytest", "moto") if (libraries / name).exists()]
    assert not [name for name in ("gcc", "make", "curl", "git") if (root_file_system / "usr/bin" / name).exists()]
    assert not (root_file_system / "app/tests").exists()
    # by which ONNX's operators on text work
    assert (root_file_system / "usr/lib/locale/en_US.utf8/LC_CTYPE").is_file()


def test_cheapest_profile_serves_uploads_and_drains(
    root_file_system: Path, image: str, s3: S3Server, tmp_path: Path
) -> None:
    bucket, port = s3.bucket("image-models"), free_port()
    process = start(
        root_file_system,
        image,
        log=tmp_path / "log",
        PORT=str(port),
        MODELS_STORAGE=f"s3://{bucket}/models",
        MODELS_POLICY="latest",
        MODELS_DISCOVERY_SECONDS="1",
        DATABASE_URL="sqlite:////tmp/registry.sqlite3",
        DJANGO_ALLOWED_HOSTS="balancer.example",
        DJANGO_SECRET_KEY="a-secret-of-the-test-and-of-nobody-else-0123456789",
        DJANGO_SUPERUSER_PASSWORD="first-password",
        DRAIN_SECONDS="8",
        WEB_WORKERS="1",
        **s3.environment(),
    )
    try:
        eventually(lambda: answer(port, "/health")[0] == 200, seconds=90, saying=f"see {tmp_path}/log")
        assert "Admin account: user admin" in (tmp_path / "log").read_text()
        s3.client.upload_file(str(save_model(tmp_path / "model.joblib")), bucket, "models/iris/model.joblib")
        eventually(lambda: "iris" in served(port), seconds=90, saying=f"see {tmp_path}/log")

        check = start(
            root_file_system, image, "python", "docker/healthcheck.py", log=tmp_path / "check", PORT=str(port)
        )
        assert check.wait(timeout=30) == 0, (tmp_path / "check").read_text()

        process.send_signal(signal.SIGTERM)
        eventually(lambda: "serving for another 8 s" in (tmp_path / "log").read_text())
        assert answer(port, "/health/live")[0] == 200  # the balancer has not let go yet
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


def test_sagemaker_serves_the_mounted_model_on_8080(root_file_system: Path, image: str, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model" / "iris.joblib").parent
    model.chmod(0o755)
    process = start(root_file_system, image, "serve", models=model, log=tmp_path / "log", WEB_WORKERS="1")
    try:
        eventually(lambda: answer(8080, "/ping")[0] == 200, seconds=90, saying=f"see {tmp_path}/log")
        body = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
        status, reply = eventually(
            lambda: (found := answer(8080, "/invocations", body))[0] == 200 and found,
            seconds=90,
            saying=f"see {tmp_path}/log",
        )
        assert (status, next(iter(reply.values()))) == (200, [0])
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_health_check_fails_where_nothing_answers(root_file_system: Path, image: str, tmp_path: Path) -> None:
    check = start(
        root_file_system, image, "python", "docker/healthcheck.py", log=tmp_path / "log", PORT=str(free_port())
    )
    assert check.wait(timeout=30) == 1
