"""The container's health check: exits 0 when the process answers 200 on its port, at /health/live or the given path.

Needs no curl, which the image lacks.
"""

import os
import sys
import urllib.error
import urllib.request

SECONDS = 4  # below the 5 s after which the check counts as failed


def is_healthy(port: str, path: str = "/health/live") -> bool:
    """Return whether the service answers 200 at the path."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError) as error:
        print(error, file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(os.environ.get("PORT") or "8000", *sys.argv[1:2]) else 1)
