"""Install locked requirements into a virtual environment: `python requirements/install.py ENVIRONMENT LOCK …`.

A file that ends in `.in` is not a lock: what it names is installed after the locks, as it is and without hashes, in
versions that fit the service's lock. So packages of one's own (requirements/own.in) change no version that is pinned.

The machine's own pip installs one pinned package: uv, which has no dependencies. uv installs the locks. So the result
depends neither on the version of the machine's pip nor on what the package index has released since. Only the standard
library is used, since nothing else is installed yet.
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
# pip's option, uv's variable. uv reads neither pip's files nor its variables.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def main(arguments: list[str]) -> int:
    """Install the locks named on the command line; return the exit status."""
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
    """Return the environment that holds the locked uv, made first if it is missing or older than its lock.

    Raises:
        subprocess.CalledProcessError: the environment cannot be made, or uv cannot be installed.
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
    """Install `locks` into `environment`, which is made first if it is missing.

    Raises:
        subprocess.CalledProcessError: uv failed; its output says why.
    """
    uv = tools / SCRIPTS / "uv"
    python = environment / SCRIPTS / "python"
    if not python.exists():
        command: list[str | Path] = [uv, "venv", "--quiet", "--python", sys.executable, environment]
        subprocess.run(command, check=True, env=variables(tools))
    # A hash pins the file, whichever index serves it.
    options = ("--require-hashes", "--index-strategy", "unsafe-best-match")
    _pip_install(tools, environment, *options, *(f"--requirement={lock.absolute()}" for lock in locks))


def install_own(tools: Path, environment: Path, inputs: list[Path]) -> None:
    """Install what the files `inputs` name into `environment`, if they name anything.

    Raises:
        subprocess.CalledProcessError: uv failed; its output says why.
    """
    named = [path for path in inputs if any(map(is_requirement, path.read_text().splitlines()))]
    if named:
        pinned = f"--constraint={ROOT / 'requirements.txt'}"
        # Paths in them are relative to the checkout. A folder is installed again each time, whatever its version.
        _pip_install(tools, environment, "--refresh", pinned, *(f"--requirement={path.absolute()}" for path in named))


def is_requirement(line: str) -> bool:
    """Return whether a line of a requirements file is more than a comment."""
    return bool(line.partition("#")[0].strip())


def _pip_install(tools: Path, environment: Path, *arguments: str) -> None:
    command: list[str | Path] = [
        *(tools / SCRIPTS / "uv", "pip", "install", "--python", environment.absolute() / SCRIPTS / "python"),
        *arguments,
    ]
    subprocess.run(command, check=True, env=variables(tools), cwd=ROOT)


def variables(tools: Path) -> dict[str, str]:
    """Return the environment for uv, with pip's options."""
    return {**os.environ, **uv_variables(pip_options(tools), os.environ)}


def pip_options(tools: Path) -> dict[str, str]:
    """Return pip's options for installing, from its files and the environment, the strongest source last.

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
    """Translate pip's options into uv's variables; a variable that is set already stays as it is.

    Local indexes of extra packages are left out: the locks name nothing that only such an index has.
    """
    variables = {}
    for option, variable in PIP_TO_UV.items():
        words = [word for word in options.get(option, "").split() if not word.startswith("file:")]
        if words and variable not in environment:
            variables[variable] = " ".join(words)
    return variables


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
