"""Typed environment variables: an invalid value raises ImproperlyConfigured, which stops the start."""

from __future__ import annotations

import base64
import fcntl
import os
import re
import secrets
import sys
import textwrap
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from models_registry.files import whole_file

env = environ.Env()

# libpq's options that detect an unreachable server within eleven seconds, instead of TCP's fifteen minutes.
CONNECTION_TIMEOUTS = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SQLITE = "django.db.backends.sqlite3"
# In milliseconds.
STATEMENT_TIMEOUT = "-c statement_timeout=30000"


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


def public_key_file(body: str, folder: Path) -> str:
    """Write a public key, given as the joined base64 lines of its PEM file; return the path, "" without a key."""
    if not body:
        return ""
    try:
        base64.b64decode(body, validate=True)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"MODELS_SIGNATURE_KEY_BASE64 is not valid base64: {error}. Expected: the lines between BEGIN and END, "
            "joined without line breaks."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "signature-key.pem"
    text = "\n".join(["-----BEGIN PUBLIC KEY-----", *textwrap.wrap(body, 64), "-----END PUBLIC KEY-----", ""])
    # Several workers may start at the same time: each writes a whole file.
    with whole_file(path) as target:
        target.write(text.encode())
    return str(path)


def number(name: str, default: float, *, minimum: float = 0, maximum: float = sys.float_info.max) -> float:
    """Return a number from `minimum` to `maximum`."""
    value = os.environ.get(name, "").strip()
    try:
        result = float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected a number.") from None
    if not minimum <= result <= maximum:
        most = "" if maximum == sys.float_info.max else f" and at most {maximum:g}"
        raise ImproperlyConfigured(f"{name} is {value!r}; expected a number of at least {minimum:g}{most}.")
    return result


def whole(name: str, default: int, *, minimum: int = 0, maximum: float = sys.float_info.max) -> int:
    """Return a whole number from `minimum` to `maximum`."""
    value = number(name, default, minimum=minimum, maximum=maximum)
    if isinstance(value, float) and not value.is_integer():
        raise ImproperlyConfigured(f"{name} is {value!r}; expected a whole number.")
    return int(value)


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of the `allowed` values."""
    value = os.environ.get(name, "").strip().lower() or default
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; expected one of {', '.join(allowed)}.")
    return value


def header_prefix(name: str, default: str) -> str:
    """Return a variable that is the prefix of header names."""
    value = os.environ.get(name, "").strip() or default
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*", value):
        raise ImproperlyConfigured(
            f"{name} is {value!r}; expected the beginning of a header's name, such as X-Forwarded."
        )
    return value


def wsgi_name(header: str) -> str:
    """Return a header's name as its key in Django's `META`."""
    return f"HTTP_{header.upper().replace('-', '_')}"


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Return a list that is separated by commas."""
    value = os.environ.get(name, "")
    return [word.strip() for word in value.split(",") if word.strip()] or list(default)


def origins(name: str) -> list[str]:
    """Return a list of origins as in the Origin header, e.g. `https://app.example.com`, or * for all."""
    found = [word.lower() for word in words(name)]
    for word in found:
        if word != "*" and not re.fullmatch(r"https?://[^/?#@*\s]+", word):
            raise ImproperlyConfigured(
                f"{name} contains {word!r}; expected origins without a path such as https://app.example.com, or *."
            )
    return found


def pairs(name: str) -> dict[str, str]:
    """Return a mapping, written as comma-separated pairs `left=right`."""
    found = {}
    for word in words(name):
        left, equals, right = (part.strip() for part in word.rpartition("="))
        if not (left and equals and right):
            raise ImproperlyConfigured(f"{name} contains {word!r}; expected pairs such as team-a=Operators.")
        found[left] = right
    return found


def networks(given: list[str], *, name: str) -> list[IPv4Network | IPv6Network]:
    """Return a list of networks in CIDR notation, e.g. `10.0.0.0/8`, from the variable `name`."""
    try:
        return [ip_network(word, strict=False) for word in given]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} cannot be read ({error}); expected networks like 10.0.0.0/8.") from None


def text(name: str, default: str = "") -> str:
    """Return a variable unchanged."""
    return os.environ.get(name, "") or default


def database(default_path: Path) -> dict[str, Any]:
    """Return Django's settings of the registry database.

    From `DATABASE_URL`, else from `DATABASE_HOST`, `_PORT`, `_NAME`, `_USER`, `_PASSWORD` (containers get the password
    separately), else SQLite at `default_path`.
    """
    host = text("DATABASE_HOST")
    url = text("DATABASE_URL")
    if not url and host:
        user, password = text("DATABASE_USER", "mlapi"), text("DATABASE_PASSWORD")
        url = f"postgres://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{text('DATABASE_PORT', '5432')}"
        url += f"/{text('DATABASE_NAME', 'mlapi')}"
    try:
        # The default path is not written as a URL, because it may contain #, ? or +.
        config: dict[str, Any] = _database_at(url) if url else {"ENGINE": SQLITE, "NAME": str(default_path)}
    except (ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read ({error}); expected postgres://user:password@host:5432/name "
            "or sqlite:////an/absolute/path."
        ) from error
    options = config.setdefault("OPTIONS", {})
    if config["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE takes the write lock at the start of a transaction: a later lock upgrade would fail at once.
        options.update(
            timeout=20,
            transaction_mode="IMMEDIATE",
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
        )
    elif config["ENGINE"].endswith("postgresql"):
        # The URL's options win: if -c is repeated, the server uses the last one.
        given = str(options.get("options", ""))
        options.update({**CONNECTION_TIMEOUTS, **options, "options": f"{STATEMENT_TIMEOUT} {given}".rstrip()})
        config["CONN_MAX_AGE"] = 600
        config["CONN_HEALTH_CHECKS"] = True
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL names neither PostgreSQL nor SQLite; expected postgres://… or sqlite:///…"
        )
    return config


def _database_at(url: str) -> dict[str, Any]:
    # For a URL without a scheme the parser would print a warning with the whole URL, including the password.
    return dict(env.db_url_config(url)) if urlsplit(url).scheme else {"ENGINE": ""}


def kept_secret(path: Path) -> str:
    """Return the secret in the file at `path`.

    If the file is missing or empty, write a new secret, readable by its owner only.
    """
    if held := _held(path):
        return held
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Two processes that start at the same time must use the same secret.
        fcntl.flock(directory, fcntl.LOCK_EX)
        return _held(path) or _write_secret(path)
    finally:
        os.close(directory)


def _held(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def _write_secret(path: Path) -> str:
    secret = secrets.token_urlsafe(50)
    with whole_file(path, mode=0o600) as target:
        target.write(secret.encode())
    return secret
