"""Django's settings. Those of the service come from environment variables, which docs/settings.md describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from mlapi import environment, extra_environment
from mlapi.observability import logging

extra_environment.expand()

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(environment.text("MLAPI_VAR", str(BASE_DIR / "var"))).resolve()

# Addresses and proxies

PORT = environment.whole("PORT", 8000, minimum=1, maximum=65_535)
MLAPI_BIND = environment.text("MLAPI_BIND")
GRPC_PORT = environment.whole("GRPC_PORT", 0, maximum=65_535)
DEBUG = environment.boolean("DJANGO_DEBUG", False)
ALLOWED_HOSTS = environment.words("DJANGO_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = environment.words("DJANGO_CSRF_TRUSTED_ORIGINS")
SECURE = environment.boolean("MLAPI_HTTPS", False)
TRUSTED_PROXIES = environment.whole("MLAPI_TRUSTED_PROXIES", 0)
# Not every proxy may set X-Forwarded-For and X-Forwarded-Proto: API Gateway's HTTP APIs reserve them.
PROXY_HEADERS = environment.header_prefix("MLAPI_PROXY_HEADERS", "X-Forwarded")
MLAPI_ADMIN_CIDR = environment.networks(environment.words("MLAPI_ADMIN_CIDR"), name="MLAPI_ADMIN_CIDR")
WEB_THREADS = environment.whole("WEB_THREADS", 16, minimum=1)


def _secret_key() -> str:
    """Return the secret key: the given one, or a stored random key for the local default."""
    given = environment.text("DJANGO_SECRET_KEY")
    if given:
        return given
    local = set(ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]", "testserver"}
    if not local:
        raise ImproperlyConfigured(
            "DJANGO_SECRET_KEY is not set, and DJANGO_ALLOWED_HOSTS names more than this machine. Set it to a long "
            "random text, the same for every container: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )
    return environment.kept_secret(VAR_DIR / "secret-key")


SECRET_KEY = _secret_key()

# Registry

MODELS_STORAGE = environment.text("MODELS_STORAGE", (VAR_DIR / "models").as_uri())
MODELS_DEFAULT = environment.text("MODELS_DEFAULT")
MODELS_POLL_SECONDS = environment.number("MODELS_POLL_SECONDS", 2, minimum=0.05)
MODELS_DISCOVERY_SECONDS = environment.number("MODELS_DISCOVERY_SECONDS", 10, minimum=0.5)
MODELS_QUEUE_URL = environment.text("MODELS_QUEUE_URL")
MODELS_MLFLOW_URI = environment.words("MODELS_MLFLOW_URI")
MODELS_BATCH_LOCATIONS = environment.words("MODELS_BATCH_LOCATIONS")
MODELS_POLICY = environment.choice("MODELS_POLICY", "manual", ("manual", "latest"))
MODELS_FOUR_EYES = environment.boolean("MODELS_FOUR_EYES", False)
MODELS_LOG_STORAGE = environment.text("MODELS_LOG_STORAGE", (VAR_DIR / "predictions").as_uri())
MODELS_CACHE = Path(environment.text("MODELS_CACHE", str(VAR_DIR / "cache")))
MODELS_CACHE_MB = environment.whole("MODELS_CACHE_MB", 5000, minimum=1)
MODELS_STORAGE_SECONDS = environment.number("MODELS_STORAGE_SECONDS", 60, minimum=1)
MODELS_LOADING = environment.choice("MODELS_LOADING", "eager", ("eager", "lazy"))
MODELS_LOADING_SECONDS = environment.number("MODELS_LOADING_SECONDS", 30, minimum=0.1)
MODELS_MEMORY_MB = environment.whole("MODELS_MEMORY_MB", 0)
MODELS_PINNED = environment.words("MODELS_PINNED")
MODELS_START_SECONDS = environment.number("MODELS_START_SECONDS", 30)

# Artifact policy

MODELS_CHECK_SECONDS = environment.number("MODELS_CHECK_SECONDS", 120, minimum=1)
MODELS_CHECK_MEMORY_MB = environment.whole("MODELS_CHECK_MEMORY_MB", 4096, minimum=256)
MODELS_MAX_ARTIFACT_MB = environment.whole("MODELS_MAX_ARTIFACT_MB", 4096, minimum=1)
MODELS_TRUSTED_GLOBALS = environment.words("MODELS_TRUSTED_GLOBALS")
MODELS_ALLOW_ANY_PICKLE = environment.boolean("MODELS_ALLOW_ANY_PICKLE", False)
MODELS_SIGNATURES = environment.choice("MODELS_SIGNATURES", "off", ("off", "warn", "require"))
MODELS_SIGNATURE_KEY = environment.text("MODELS_SIGNATURE_KEY") or environment.public_key_file(
    environment.text("MODELS_SIGNATURE_KEY_BASE64"), VAR_DIR
)

# Notifications

MODELS_WEBHOOK_URLS = environment.words("MODELS_WEBHOOK_URLS")
MODELS_WEBHOOK_SECRETS = environment.words("MODELS_WEBHOOK_SECRETS")
MODELS_WEBHOOK_PRIVATE_HOSTS = environment.words("MODELS_WEBHOOK_PRIVATE_HOSTS")

# Predictions

MODELS_ACCELERATION = environment.boolean("MODELS_ACCELERATION", True)
MLAPI_PLAYGROUND = environment.boolean("MLAPI_PLAYGROUND", True)
MLAPI_REQUIRE_API_KEY = environment.boolean("MLAPI_REQUIRE_API_KEY", False)
MLAPI_CORS_ORIGINS = environment.origins("MLAPI_CORS_ORIGINS")
MLAPI_LOG_SAMPLE_PERCENT = environment.number("MLAPI_LOG_SAMPLE_PERCENT", 100, maximum=100)
MLAPI_LOG_FEATURES = environment.boolean("MLAPI_LOG_FEATURES", False)
MLAPI_METRICS_TOKEN = environment.text("MLAPI_METRICS_TOKEN")
MLAPI_METRICS_MODELS = environment.whole("MLAPI_METRICS_MODELS", 100, minimum=1)
MLAPI_EMF = environment.boolean("MLAPI_EMF", False)
MLAPI_SERVICE = environment.text("MLAPI_SERVICE", "mlapi")
MLAPI_OTEL = environment.boolean("MLAPI_OTEL", False)
# gunicorn.conf.py has the same path, because the master clears this directory at its start.
METRICS_DIR = VAR_DIR / "metrics"
MLAPI_MAX_BODY_MB = environment.number("MLAPI_MAX_BODY_MB", 32)
MLAPI_MAX_IN_FLIGHT = environment.whole("MLAPI_MAX_IN_FLIGHT", 112, minimum=1)
MLAPI_QUEUE_TIMEOUT_SECONDS = environment.number("MLAPI_QUEUE_TIMEOUT_SECONDS", 0.5, maximum=10)
MLAPI_PREDICTION_SECONDS = environment.number("MLAPI_PREDICTION_SECONDS", 60, minimum=1)

# Sign-in: at the balancer or at an identity provider, in addition to passwords

MLAPI_OIDC_ISSUER = environment.text("MLAPI_OIDC_ISSUER")
MLAPI_OIDC_CLIENT_ID = environment.text("MLAPI_OIDC_CLIENT_ID")
MLAPI_OIDC_NAME = environment.text("MLAPI_OIDC_NAME", "single sign-on")
MLAPI_ALB_SIGNER = environment.text("MLAPI_ALB_SIGNER")
MLAPI_ALB_KEYS_URL = environment.text("MLAPI_ALB_KEYS_URL")
MLAPI_SIGN_IN_USERNAME_CLAIM = environment.text("MLAPI_SIGN_IN_USERNAME_CLAIM", "email")
MLAPI_SIGN_IN_GROUPS_CLAIM = environment.text("MLAPI_SIGN_IN_GROUPS_CLAIM", "groups")
MLAPI_SIGN_IN_GROUPS = environment.pairs("MLAPI_SIGN_IN_GROUPS")
MLAPI_SIGN_IN_HOURS = environment.number("MLAPI_SIGN_IN_HOURS", 8, minimum=0.1, maximum=24 * 30)
# If the balancer signs users in, the service offers no OpenID Connect itself.
OIDC_LOGIN = bool(MLAPI_OIDC_ISSUER and not MLAPI_ALB_SIGNER)

# Django

INSTALLED_APPS = [
    "unfold",
    "mlapi.admin_app.LazyAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "models_registry",
    # After the registry, whose command stores tokens as digests.
    "rest_framework.authtoken",
    "mlapi",
    "mlapi.sign_in.apps.SignInConfig",
]

MIDDLEWARE = [
    "mlapi.middleware.AdminNetworks",
    "mlapi.middleware.BodyLimits",
    "mlapi.middleware.ContentPolicy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "mlapi.sign_in.middleware.BalancerSignIn",
    "mlapi.sign_in.middleware.OneTimePasswordOnly",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

# The uploads of artifacts and tables set their own handlers; no other path accepts files.
FILE_UPLOAD_HANDLERS = ["mlapi.body_limits.NoFiles"]

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# All clients share the balancer's address: a lock on the address alone would lock out every user.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "mlapi.http.clients.client_address_of"
AXES_USERNAME_CALLABLE = "mlapi.logins.name_of"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True

if OIDC_LOGIN:
    INSTALLED_APPS += [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ]
    MIDDLEWARE.append("allauth.account.middleware.AccountMiddleware")
    SOCIALACCOUNT_ADAPTER = "mlapi.sign_in.oidc.Adapter"
    SOCIALACCOUNT_LOGIN_ON_GET = True  # the button of the login page is the confirmation
    SOCIALACCOUNT_REQUESTS_TIMEOUT = 5
    SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "oidc",
                    "name": MLAPI_OIDC_NAME,
                    "client_id": MLAPI_OIDC_CLIENT_ID,
                    "secret": environment.text("MLAPI_OIDC_CLIENT_SECRET"),
                    "settings": {
                        "server_url": MLAPI_OIDC_ISSUER.rstrip("/"),
                        "scope": environment.words("MLAPI_OIDC_SCOPES", ("openid", "profile", "email")),
                    },
                }
            ],
        }
    }

LOGIN_REDIRECT_URL = "admin:index"
ROOT_URLCONF = "mlapi.urls"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": environment.database(VAR_DIR / "registry.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
] + [{"NAME": "mlapi.sign_in.one_time.NotTheOneTimePassword"}]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = Path(environment.text("MLAPI_STATIC", str(VAR_DIR / "static")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Hashed file names, so that browsers may cache the files forever.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "mlapi.api.authentication.ApiToken",
        "mlapi.api.authentication.HeaderSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "mlapi.http.errors.handle_api_exception",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api",
    # Request and response schemas differ: a file is sent as bytes.
    "COMPONENT_SPLIT_REQUEST": True,
}


# These functions import late, because the apps are not loaded yet.


def _may(request: Any, right: str) -> bool:
    from models_registry.permissions import may

    return may(request.user, right)


def _may_everywhere(request: Any, right: str) -> bool:
    from models_registry.permissions import may_everywhere

    return may_everywhere(request.user, right)


UNFOLD = {
    "SITE_TITLE": "mlapi",
    "SITE_HEADER": "mlapi",
    "SITE_SUBHEADER": "Model registry",
    "SITE_SYMBOL": "deployed_code",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("models_registry/icon.svg")}],
    "SCRIPTS": [lambda _: static("models_registry/keyboard.js")],
    "DASHBOARD_CALLBACK": "models_registry.admin.home.overview",
    "LOGIN": {"form": "mlapi.login_form.LoginForm"},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Registry",
                "items": [
                    {
                        "title": "Models",
                        "icon": "deployed_code",
                        "link": reverse_lazy("admin:models_registry_registeredmodel_changelist"),
                    },
                    {
                        "title": "Versions",
                        "icon": "layers",
                        "link": reverse_lazy("admin:models_registry_modelversion_changelist"),
                    },
                    {
                        "title": "History",
                        "icon": "history",
                        "link": reverse_lazy("admin:models_registry_activation_changelist"),
                    },
                    {
                        "title": "Replicas",
                        "icon": "dns",
                        "link": reverse_lazy("admin:models_registry_replica_changelist"),
                    },
                    {
                        "title": "Batches",
                        "icon": "table_rows",
                        "link": reverse_lazy("admin:models_registry_batchjob_changelist"),
                        "permission": lambda request: _may(request, "models_registry.view_batchjob"),
                    },
                    {
                        "title": "Webhooks",
                        "icon": "webhook",
                        "link": reverse_lazy("admin:models_registry_webhookdelivery_changelist"),
                        "permission": lambda request: _may_everywhere(request, "models_registry.view_webhookdelivery"),
                    },
                ],
            },
            {
                "title": "Access",
                "items": [
                    {
                        "title": title,
                        "icon": icon,
                        "link": reverse_lazy(f"admin:{name}_changelist"),
                        "permission": lambda request, needed=needed: _may_everywhere(request, needed),
                    }
                    for title, icon, name, needed in (
                        ("Users", "person", "auth_user", "auth.view_user"),
                        ("Groups", "group", "auth_group", "auth.view_group"),
                        ("API keys", "vpn_key", "models_registry_apikey", "models_registry.view_apikey"),
                        ("API tokens", "key", "authtoken_tokenproxy", "authtoken.view_tokenproxy"),
                    )
                ],
            },
        ],
    },
}

# Security: the balancer terminates TLS; MLAPI_HTTPS turns on the settings that need it.

SECURE_SSL_REDIRECT = False  # the balancer redirects, and its health checks speak plain HTTP
SESSION_COOKIE_SECURE = SECURE
CSRF_COOKIE_SECURE = SECURE
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SECURE_HSTS_PRELOAD = SECURE
SECURE_PROXY_SSL_HEADER = (
    (environment.wsgi_name(f"{PROXY_HEADERS}-Proto"), "https") if SECURE and TRUSTED_PROXIES else None
)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = ["security.W008"]  # no redirect here: see SECURE_SSL_REDIRECT

# Logs: one JSON line per event, or readable text on a terminal.

LOGGING_CONFIG = None
logging.configure(environment.choice("MLAPI_LOG_FORMAT", "auto", ("auto", "json", "text")))
