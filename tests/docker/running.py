"""Runs a command in a mounted image as ECS does: its user, a read-only root, an empty /tmp, the image's variables."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.docker.conftest import BUILDAH

# In a mount name space of its own, so that nothing of it is left behind.
_SCRIPT = """
set -e
root=$1; models=$2; shift 2
mount --bind "$root" "$root"
if [ -n "$models" ]; then mkdir -p "$root/opt/ml/model"; mount --bind "$models" "$root/opt/ml/model"; fi
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
cd /
exec chroot --userspec=10001:10001 --groups= "$root" /usr/bin/env --ignore-environment --chdir=/app "$@"
"""


def image_config(image: str) -> dict[str, object]:
    """Return what the image says of itself: user, command, variables, health check."""
    done = subprocess.run([*BUILDAH, "inspect", "--type", "image", image], capture_output=True, text=True, check=True)
    config: dict[str, object] = json.loads(done.stdout)["Docker"]["config"]
    return config


def start(
    root: Path, image: str, *command: str, models: Path | None = None, log: Path, **environment: str
) -> subprocess.Popen[bytes]:
    """Start a command, the image's own by default, and return its process."""
    config = image_config(image)
    variables = [*map(str, config["Env"]), *(f"{name}={value}" for name, value in environment.items())]  # type: ignore[call-overload]
    words = command or tuple(map(str, config["Cmd"]))  # type: ignore[call-overload]
    script = ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(root), str(models or ""), *variables, *words]
    with log.open("wb") as output:
        return subprocess.Popen(script, stdout=output, stderr=subprocess.STDOUT)


def answer(port: int, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Return status and JSON of a GET, or of a POST where there is a body; status 0 where nobody answers."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None
