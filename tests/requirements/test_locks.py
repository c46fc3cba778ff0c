"""Each lock installs whatever the index has released since, with uv and with the pip of the machine's Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements.local_index import installed_in, with_digests, write_wheels

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv-uv/bin"
ENVIRONMENTS = {
    "requirements.txt": ".venv",
    "requirements/signing.txt": ".venv",
    "requirements/otel.txt": ".venv",
    "requirements/encoders.txt": ".venv",
    "requirements/dev.txt": ".venv",
    "requirements/aws-tools.txt": ".venv-aws",
    "requirements/checkov.txt": ".venv-checkov",
    "requirements/clients.txt": ".venv-clients",
    "requirements/mlflow.txt": ".venv-mlflow",
    "requirements/bench-peers.txt": ".venv-bench-peers",
    "requirements/bench-mlserver.txt": ".venv-bench-mlserver",
    "requirements/uv.txt": ".venv-uv",
}
PIP = (
    TOOLS / "python",
    "-m",
    "pip",
    "--isolated",
    "install",
    "--dry-run",
    "--ignore-installed",
    "--quiet",
    "--require-hashes",
)
UV = (TOOLS / "uv", "--no-config", "pip", "install", "--dry-run", "--quiet", "--no-cache", "--require-hashes")


def test_every_lock_has_its_environment() -> None:
    locks = {str(path.relative_to(ROOT)) for path in ROOT.glob("requirements/*.txt")}
    assert locks | {"requirements.txt"} == set(ENVIRONMENTS)


@pytest.mark.parametrize("lock", ENVIRONMENTS)
def test_lock_installs_beside_newer_releases(lock: str, tmp_path: Path) -> None:
    digests = write_wheels(tmp_path, installed_in(ROOT / ENVIRONMENTS[lock]))
    local_lock = tmp_path / "lock.txt"
    local_lock.write_text(with_digests((ROOT / lock).read_text(), digests))
    subprocess.run([TOOLS / "uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "empty"], check=True)
    uv = (*UV, "--python", tmp_path / "empty/bin/python", "--no-index", "--find-links", tmp_path)
    pip = (*PIP, "--disable-pip-version-check", "--index-url", (tmp_path / "simple").as_uri())
    # pip takes the newest release of what it does not see pinned.
    for command in ((*uv, "-r", local_lock), (*pip, "-r", local_lock)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
