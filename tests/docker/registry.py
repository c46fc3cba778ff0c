"""A real image registry that stands where ECR would: its name, its certificate, its password."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

# ECR's addresses have no port, so it is 443.
ADDRESS = "127.0.0.2"
PROGRAM = "docker-registry"
PROGRAMS = (PROGRAM, "htpasswd", "openssl")
# What a command sees in a mount name space of its own: the registry's name, and the authority that vouches for it.
_SCRIPT = """
set -e
hosts=$1; shift
mount --bind "$hosts" /etc/hosts
exec "$@"
"""
_CONFIG = """
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "{address}:443", tls: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}}}
auth: {{htpasswd: {{realm: registry, path: {folder}/passwords}}}}
"""


@dataclass(frozen=True)
class Registry:
    """A registry on loopback that is known as `host` to those who run in its name space."""

    host: str
    folder: Path
    password: str

    def inside(self, *command: str | Path) -> list[str]:
        """Return `command` as it is run where `host` leads here."""
        return ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(self.folder / "hosts"), *map(str, command)]

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to trust the registry's certificate, and a place for its login."""
        return {
            "SSL_CERT_FILE": str(self.folder / "cert.pem"),
            "REGISTRY_AUTH_FILE": str(self.folder / "login.json"),
        }

    def get(self, path: str) -> Any:
        """Return what the registry's API says at `path`."""
        token = base64.b64encode(f"AWS:{self.password}".encode()).decode()
        manifest = "application/vnd.docker.distribution.manifest.v2+json"
        request = urllib.request.Request(
            f"https://{ADDRESS}/v2/{path}", headers={"Authorization": f"Basic {token}", "Accept": manifest}
        )
        with urllib.request.urlopen(request, context=self._context(), timeout=10) as reply:
            return json.loads(reply.read())

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        context.check_hostname = False  # it is asked by its address here
        return context


@contextlib.contextmanager
def registry_running(host: str, password: str, folder: Path) -> Iterator[Registry]:
    """Run a registry for the user AWS with `password` under the name `host`."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}",
         "-addext", f"subjectAltName=DNS:{host}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    hashed = subprocess.run(["htpasswd", "-niB", "AWS"], input=password, capture_output=True, text=True, check=True)
    (folder / "passwords").write_text(hashed.stdout)
    (folder / "hosts").write_text(f"{ADDRESS} {host}\n" + Path("/etc/hosts").read_text())
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, address=ADDRESS))
    registry = Registry(host, folder, password)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        eventually(lambda: _answers(registry, process, folder / "log"), seconds=20)
        yield registry
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(registry: Registry, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        registry.get("_catalog")
    except OSError:
        return False
    return True
