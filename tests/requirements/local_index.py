"""A directory of wheels without code that stands in for a package index: real names, versions and dependencies."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

KEPT_FIELDS = ("Requires-Dist", "Requires-Python", "Provides-Extra")


def installed_in(environment: Path) -> list[Distribution]:
    """Return what is installed in a virtual environment.

    Raises:
        ValueError: the environment has no site-packages.
    """
    (packages,) = environment.glob("lib/python*/site-packages")
    return list(distributions(path=[str(packages)]))


def write_wheels(folder: Path, installed: Iterable[Distribution]) -> dict[str, str]:
    """Write a wheel for each distribution, and one for a newer release of each.

    `folder/simple` is an index of them: pip reads all wheels of a plain folder for each package that it looks for.

    Returns:
        The SHA-256 of each wheel of an installed release, by canonical name.
    """
    digests = {}
    for distribution in installed:
        name = str(canonicalize_name(distribution.metadata["Name"]))
        version = Version(distribution.version)
        wheels = [_write_wheel(folder, name, item, distribution) for item in (version, newer_than(version))]
        digests[name] = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        page = folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("".join(f'<a href="{wheel.as_uri()}">{wheel.name}</a>' for wheel in wheels))
    return digests


def newer_than(version: Version) -> Version:
    """Return a later release that the usual ranges (`<3,>=2`, `==2.14.*`) admit: 2.14.3 gives 2.14.3.1."""
    return Version(f"{version.epoch}!{'.'.join(map(str, version.release))}.1")


def _write_wheel(folder: Path, name: str, version: Version, distribution: Distribution) -> Path:
    fields = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    for field in KEPT_FIELDS:
        fields += [f"{field}: {' '.join(value.split())}\n" for value in distribution.metadata.get_all(field) or ()]
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "".join(fields))
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def with_digests(lock: str, digests: dict[str, str]) -> str:
    """Return a lock in which each requirement has the digest of its local wheel.

    A requirement whose marker excludes this machine has no wheel, and keeps a digest of zeros.
    """
    lines = []
    for line in lock.splitlines():
        found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==[^\\]+", line)
        if found:
            digest = digests.get(str(canonicalize_name(found[1])), "0" * 64)
            lines.append(f"{found[0].strip()} --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"
