"""The versions of the libraries that are installed here."""

import platform
from functools import cache
from importlib import metadata


@cache
def installed_version(name: str) -> str:
    """Return the version of a package; its metadata takes milliseconds to read. Raises PackageNotFoundError."""
    return metadata.version(name)


def server_versions() -> dict[str, str]:
    """Return the versions that artifacts are served with."""
    names = ("scikit-learn", "numpy", "scipy", "joblib", "skops", "onnxruntime")
    return {"python": platform.python_version(), **{name: installed_version(name) for name in names}}
