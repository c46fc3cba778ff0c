"""Typed reading of the environment: a wrong value is an error with a sentence, at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()


def boolean(name: str, default: bool) -> bool:
    """Return an on/off variable: on, true, yes, 1 or off, false, no, 0."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"on", "true", "yes", "1"}:
        return True
    if value in {"off", "false", "no", "0"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; expected on or off.")


def number(name: str, default: float, *, minimum: float = 0) -> float:
    """Return a number of at least `minimum`."""
    value = os.environ.get(name, "").strip()
    try:
        result = float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected a number.") from None
    if not minimum <= result < float("inf"):
        raise ImproperlyConfigured(f"{name} is {value!r}; expected a number of at least {minimum:g}.")
    return result


def whole(name: str, default: int, *, minimum: int = 0) -> int:
    """Return a whole number of at least `minimum`."""
    value = number(name, default, minimum=minimum)
    if not value.is_integer() if isinstance(value, float) else False:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected a whole number.")
    return int(value)


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the `allowed` words."""
    value = os.environ.get(name, "").strip().lower() or default
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
    return value


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Return a list that is separated by commas."""
    value = os.environ.get(name, "")
    return [word.strip() for word in value.split(",") if word.strip()] or list(default)


def text(name: str, default: str = "") -> str:
    """Return a variable as it stands."""
    return os.environ.get(name, "") or default


def database(default_path: Path) -> dict[str, Any]:
    """Return Django's entry for the registry database.

    `DATABASE_URL`, else `DATABASE_HOST`, `_PORT`, `_NAME`, `_USER`, `_PASSWORD` (as containers get them, the
    password apart), else SQLite at `default_path`.
    """
    host = text("DATABASE_HOST")
    url = text("DATABASE_URL")
    if not url and host:
        user, password = text("DATABASE_USER", "mlapi"), text("DATABASE_PASSWORD")
        url = f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{text('DATABASE_PORT', '5432')}"
        url += f"/{text('DATABASE_NAME', 'mlapi')}"
    try:
        config = dict(env.db_url_config(url or f"sqlite:///{default_path}"))
    except (ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read ({error}); expected postgres://user:password@host:5432/name "
            "or sqlite:////an/absolute/path."
        ) from error
    options = config.setdefault("OPTIONS", {})
    if config["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE takes the write lock where a transaction begins: a later upgrade would fail at once, not wait.
        options.update(
            timeout=20,
            transaction_mode="IMMEDIATE",
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
        )
    elif config["ENGINE"].endswith("postgresql"):
        options.setdefault("connect_timeout", 3)
        config["CONN_MAX_AGE"] = 60
        config["CONN_HEALTH_CHECKS"] = True
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL names neither PostgreSQL nor SQLite; expected postgres://… or sqlite:///…"
        )
    return config
