"""The environment file: what an environment is meant to be, in git and reviewed, `environments/prod.toml` for prod."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from cloudformation.config import ConfigurationError, require_profile

FOLDER = Path(__file__).parent / "environments"
_OWN_KEYS = {"region", "profile"}


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """What the file says: `assignments` are `Name=Value`, as on the command line."""

    path: Path
    region: str = ""
    profile: str = ""
    assignments: dict[str, str] = field(default_factory=dict)


def read(environment: str, folder: Path = FOLDER) -> EnvironmentFile:
    """Return the file of an environment; an empty one if there is none.

    Raises:
        ConfigurationError: the file is not valid TOML, or holds a value that is not a text, number or boolean.
    """
    path = folder / f"{environment}.toml"
    if not path.exists():
        return EnvironmentFile(path)
    try:
        content = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{path} is not valid TOML: {error}. Expected lines like AlarmEmail = 'a@b.example'."
        ) from error
    own = {key: content.pop(key) for key in _OWN_KEYS & content.keys()}
    for key, value in own.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{path}: {key} is {value!r}; expected a text in quotes.")
    profile = own.get("profile", "")
    require_profile(profile, f"profile in {path}")
    assignments = {name: _text(path, name, value) for name, value in content.items()}
    return EnvironmentFile(path, region=own.get("region", ""), profile=profile, assignments=assignments)


def _text(path: Path, name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)):
        return str(value)
    raise ConfigurationError(f"{path}: {name} is {value!r}; expected a text, a whole number, true or false.")
