"""How pip's settings reach uv."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "requirements/install.py"
spec = importlib.util.spec_from_file_location("install", SCRIPT)
assert spec and spec.loader
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ({}, {}, {}),
        ({"index-url": "https://mirror.example/simple"}, {}, {"UV_DEFAULT_INDEX": "https://mirror.example/simple"}),
        ({"index-url": "https://mirror.example/simple"}, {"UV_DEFAULT_INDEX": "https://own.example"}, {}),
        ({"extra-index-url": "https://a.example file:///b https://c.example"}, {},
         {"UV_INDEX": "https://a.example https://c.example"}),
        ({"cert": "/etc/ssl/own.pem", "timeout": "180"}, {}, {"SSL_CERT_FILE": "/etc/ssl/own.pem"}),
        ({"trusted-host": "mirror.example"}, {}, {"UV_INSECURE_HOST": "mirror.example"}),
    ],
)  # fmt: skip
def test_pip_settings_become_uv_variables(
    options: dict[str, str], environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert install.uv_variables(options, environment) == expected


def test_pip_files_and_environment_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://global.example\ncert = /global.pem\n"
        "[install]\nindex-url = https://install.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_CERT", "/environment.pem")
    options = install.pip_options(SCRIPT.parents[1] / ".venv-uv")
    assert options["index-url"] == "https://install.example"
    assert options["cert"] == "/environment.pem"
