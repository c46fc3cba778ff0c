"""Install locked requirements into a virtual environment: `python requirements/install.py ENVIRONMENT LOCK …`.

A file that ends in `.in` is not a lock. Its packages are installed after the locks and without hashes, in versions that
fit the service's lock. Therefore your own packages (requirements/own.in) cannot change a pinned version.

The machine's pip installs only uv, which is pinned and has no dependencies. uv installs the locks. Therefore the result
depends neither on the version of pip nor on later releases in the package index. This program uses only the standard
library, because nothing else is installed yet.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV_LOCK = ROOT / "requirements" / "uv.txt"
MIN_PYTHON = (3, 11)
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
# uv's variable for each of pip's options: uv reads neither pip's configuration files nor pip's variables.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def main(arguments: list[str]) -> int:
    """Install the files named on the command line; return the exit status."""
    if sys.version_info < MIN_PYTHON:
        print(f"Python 3.11 or newer is needed; found {sys.version.split()[0]}. Set PYTHON=python3.x.", file=sys.stderr)
        return 1
    if len(arguments) < 2:
        print("Usage: python requirements/install.py ENVIRONMENT LOCK …", file=sys.stderr)
        return 2
    environment, locks = Path(arguments[0]), [Path(lock) for lock in arguments[1:]]
    try:
        tools = ensure_uv(ROOT / ".venv-uv")
        install(tools, environment, [lock for lock in locks if lock.suffix != ".in"])
        install_own(tools, environment, [lock for lock in locks if lock.suffix == ".in"])
    except subprocess.CalledProcessError as error:
        print(
            f"The installation failed with status {error.returncode}: {' '.join(map(str, error.cmd))}", file=sys.stderr
        )
        return 1
    return 0


def ensure_uv(tools: Path) -> Path:
    """Return the environment with the locked uv; create it if it is missing or has another version.

    Raises:
        subprocess.CalledProcessError: the environment cannot be created, or uv cannot be installed.
    """
    stamp = tools / ".lock-digest"
    digest = hashlib.sha256(UV_LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest and (tools / SCRIPTS / "uv").exists():
        return tools
    print(f"Installing uv into {tools.name} …", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
    except subprocess.CalledProcessError:
        print("The module venv does not work. On Debian: apt-get install python3-venv", file=sys.stderr)
        raise
    pip: tuple[str | Path, ...] = (tools / SCRIPTS / "python", "-m", "pip", "--disable-pip-version-check")
    subprocess.run((*pip, "install", "--quiet", "--no-deps", "--require-hashes", "-r", UV_LOCK), check=True)
    stamp.write_text(digest)
    return tools


def install(tools: Path, environment: Path, locks: list[Path]) -> None:
    """Install `locks` into `environment`; create the environment if it is missing.

    Raises:
        subprocess.CalledProcessError: uv failed; its output gives the reason.
    """
    uv = tools / SCRIPTS / "uv"
    python = environment / SCRIPTS / "python"
    if not python.exists():
        command: list[str | Path] = [uv, "venv", "--quiet", "--python", sys.executable, environment]
        subprocess.run(command, check=True, env=variables(tools))
    # Any index may serve a file, because its hash is checked.
    options = ("--require-hashes", "--index-strategy", "unsafe-best-match")
    _pip_install(tools, environment, *options, *(f"--requirement={lock.absolute()}" for lock in locks))


def install_own(tools: Path, environment: Path, inputs: list[Path]) -> None:
    """Install the packages in the files `inputs` into `environment`; do nothing without packages.

    Raises:
        subprocess.CalledProcessError: uv failed; its output gives the reason.
    """
    named = [path for path in inputs if any(map(is_requirement, path.read_text().splitlines()))]
    if named:
        pinned = f"--constraint={ROOT / 'requirements.txt'}"
        # `--refresh`: a folder's content may change without a new version.
        _pip_install(tools, environment, "--refresh", pinned, *(f"--requirement={path.absolute()}" for path in named))


def is_requirement(line: str) -> bool:
    """Return whether a line of a requirements file names a package or an option."""
    return bool(line.partition("#")[0].strip())


def _pip_install(tools: Path, environment: Path, *arguments: str) -> None:
    command: list[str | Path] = [
        *(tools / SCRIPTS / "uv", "pip", "install", "--python", environment.absolute() / SCRIPTS / "python"),
        *arguments,
    ]
    subprocess.run(command, check=True, env=variables(tools), cwd=ROOT)


def variables(tools: Path) -> dict[str, str]:
    """Return the environment variables for uv, with pip's options."""
    return {**os.environ, **uv_variables(pip_options(tools), os.environ)}


def pip_options(tools: Path) -> dict[str, str]:
    """Return the options of `pip install`, from pip's configuration files and variables; variables win.

    Raises:
        subprocess.CalledProcessError: pip cannot read its configuration.
    """
    command: tuple[str | Path, ...] = (tools / SCRIPTS / "python", "-m", "pip", "config", "list")
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    options: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in options:
            options[section][option] = str(ast.literal_eval(value))
    return {**options["global"], **options["install"], **options[":env:"]}


def uv_variables(options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's options as uv's variables, without variables that `environment` already sets.

    Indexes in local directories are omitted, because all locked packages are in the other indexes.
    """
    variables = {}
    for option, variable in PIP_TO_UV.items():
        words = [word for word in options.get(option, "").split() if not word.startswith("file:")]
        if words and variable not in environment:
            variables[variable] = " ".join(words)
    return variables


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
