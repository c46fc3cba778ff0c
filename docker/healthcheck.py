"""The container's health check: exits 0 if the service answers 200 at /health/live, or at the given path.

A Python program, because the image has no curl.
"""

import os
import sys
import urllib.error
import urllib.request

# Below the Dockerfile's health check timeout of 5 s.
TIMEOUT_SECONDS = 4


def is_healthy(port: str, path: str = "/health/live") -> bool:
    """Return whether the service answers 200 at `path` on `port`; print the error if it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT_SECONDS) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError) as error:
        print(error, file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(os.environ.get("PORT") or "8000", *sys.argv[1:2]) else 1)
