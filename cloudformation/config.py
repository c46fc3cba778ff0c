"""The settings of a deployment: one value for each parameter of the templates."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields, replace
from typing import Self

ENVIRONMENTS = ("dev", "staging", "prod")
NETWORK_MODES = ("public", "nat", "endpoints")
POLICIES = ("manual", "latest")
SIGNATURES = ("off", "warn", "require")
MIN_START_GRACE_SECONDS, MAX_START_GRACE_SECONDS = 60, 300
ARCHITECTURES = ("ARM64", "X86_64")
DOORS = ("balancer", "http-api")
DEPLOYMENT_STRATEGIES = ("ROLLING", "BLUE_GREEN", "LINEAR", "CANARY")
FLOW_LOGS = ("NONE", "REJECT", "ALL")
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 180, 365)
MAX_MIN_TASKS, MAX_MAX_TASKS = 10, 20

# Fargate's table: CPU units -> the memory sizes (MiB) that it offers with them.
TASK_SIZES: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
}


# Environment variables that the template sets in the container, with their parameters, if any.
OWN_VARIABLES: dict[str, str] = {
    "AWS_DEFAULT_REGION": "",
    "DATABASE_HOST": "",
    "DATABASE_NAME": "",
    "DATABASE_PASSWORD": "",
    "DATABASE_PORT": "",
    "DATABASE_URL": "CreateDatabase",
    "DATABASE_USER": "",
    "DJANGO_ALLOWED_HOSTS": "DomainName",
    "DJANGO_CSRF_TRUSTED_ORIGINS": "CsrfTrustedOrigins",
    "DJANGO_SECRET_KEY": "",
    "DJANGO_SUPERUSER_PASSWORD": "",
    "DJANGO_SUPERUSER_USERNAME": "",
    "DRAIN_SECONDS": "",
    "GRPC_PORT": "EnableGrpc",
    "MLAPI_ADMIN_CIDR": "AdminCidr",
    "MLAPI_EMF": "",
    "MLAPI_EXTRA_ENVIRONMENT": "EnvironmentVariables",
    "MLAPI_EXTRA_SECRETS": "SecretVariablesArn",
    "MLAPI_HTTPS": "CertificateArn",
    "MLAPI_LOG_SAMPLE_PERCENT": "LogSamplePercent",
    "MLAPI_OTEL": "OpenTelemetry",
    "MLAPI_PROXY_HEADERS": "Door",
    "MLAPI_REQUIRE_API_KEY": "RequireApiKey",
    "MLAPI_SERVICE": "",
    "MLAPI_TRUSTED_PROXIES": "",
    "MODELS_CACHE": "",
    "MODELS_CHECK_MEMORY_MB": "TaskMemory",
    "MODELS_DEFAULT": "ModelsDefault",
    "MODELS_DISCOVERY_SECONDS": "ModelsDiscoverySeconds",
    "MODELS_POLICY": "ModelsPolicy",
    "MODELS_SIGNATURES": "ModelsSignatures",
    "MODELS_STORAGE": "ModelPrefix",
    "PGSSLMODE": "",
    "PGSSLROOTCERT": "",
    "PORT": "",
    "MODELS_SIGNATURE_KEY": "SignatureKey",
    "MODELS_SIGNATURE_KEY_BASE64": "SignatureKey",
    "WEB_WORKERS": "TaskCpu",
}


DEFAULT_LOCKS = ("requirements.txt",)


class ConfigurationError(Exception):
    """The deployment is not possible as requested; the message has a line for every reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """The network's address ranges: one for the network, and a pair for each kind of subnet."""

    vpc: str = "10.0.0.0/16"
    public: tuple[str, str] = ("10.0.0.0/24", "10.0.1.0/24")
    private: tuple[str, str] = ("10.0.10.0/24", "10.0.11.0/24")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One deployment. Each field is the template parameter of the same name: `task_cpu` is `TaskCpu`.

    The defaults are those of the templates. `region` is the region of the stacks, `role_arn` the role that
    CloudFormation uses (if empty, the caller's permissions); these two are not parameters.
    """

    region: str = "us-east-1"
    role_arn: str = ""
    # network
    project_name: str = "mlapi"
    environment_name: str = "dev"
    network_mode: str = "public"
    door: str = "balancer"
    endpoint_zones: int = 1
    first_zone: str = ""
    second_zone: str = ""
    # data
    create_database: bool = True
    database_instance_class: str = "db.t4g.micro"
    database_engine_version: str = "17"
    database_snapshot: str = ""
    model_prefix: str = "models"
    existing_model_bucket: str = ""
    existing_repository: str = ""
    backup_role_arn: str = ""
    flow_logs: str = "NONE"
    key_arn: str = ""
    # service
    image_tag: str = ""
    image_digest: str = ""
    certificate_arn: str = ""
    domain_name: str = ""
    admin_cidr: str = ""
    task_cpu: int = 256
    task_memory: int = 1024
    cpu_architecture: str = "ARM64"
    use_spot: bool = False
    min_tasks: int = 1
    max_tasks: int = 4
    cpu_target_percent: int = 60
    requests_per_task: int = 0
    start_grace_seconds: int = 120
    models_policy: str = "manual"
    models_default: str = ""
    models_signatures: str = "off"
    signature_key: str = ""
    models_discovery_seconds: int = 30
    allow_admin_upload: bool = False
    require_api_key: bool = False
    csrf_trusted_origins: str = ""
    enable_grpc: bool = False
    environment_variables: str = ""
    secret_variables_arn: str = ""
    open_telemetry: bool = False
    log_sample_percent: int = 100
    log_retention_days: int = 30
    alarm_email: str = ""
    web_acl_arn: str = ""
    rate_limit: int = 0
    managed_rules: bool = False
    throttle_per_second: int = 200
    throttle_burst: int = 400
    enable_exec: bool = False
    permissions_boundary_arn: str = ""
    # signing in to the admin
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret_arn: str = ""
    oidc_scope: str = "openid profile email"
    oidc_authorization_endpoint: str = ""
    oidc_token_endpoint: str = ""
    oidc_user_info_endpoint: str = ""
    sign_in_at: str = "balancer"
    sign_in_groups: str = ""
    emergency_cidr: str = ""
    # how a new image takes over
    deployment_strategy: str = "ROLLING"
    bake_minutes: int = 10
    shift_percent: int = 10
    live_target_group: str = "main"
    # nights without, or with fewer, tasks
    night_from: str = ""
    night_until: str = ""
    night_tasks: int = 0
    night_timezone: str = "UTC"
    wake_days: str = "*"

    @classmethod
    def for_environment(cls, environment: str, *, profile: str = "", region: str = "us-east-1") -> Self:
        """Return the settings of an environment and a profile (if any), before any command-line setting."""
        require_profile(profile, "--profile")
        settings = cls(environment_name=environment, region=region)
        if environment == "prod":
            settings = replace(settings, min_tasks=2, endpoint_zones=2, log_retention_days=90)
        return replace(settings, **PROFILES.get(profile, {}))  # type: ignore[arg-type]

    def with_assignments(self, assignments: list[str], *, source: str = "--set") -> Self:
        """Return these settings with each `Name=Value` applied; later ones win."""
        settings = self
        for assignment in assignments:
            settings = settings.with_assignment(assignment, source=source)
        return settings

    def with_assignment(self, assignment: str, *, source: str = "--set") -> Self:
        """Return these settings with one `Name=Value` applied; an error names its `source`."""
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigurationError(f"{source} {assignment}: expected Name=Value, for example TaskCpu=512.")
        field_name = _FIELD_OF_PARAMETER.get(name)
        if field_name is None:
            close = difflib.get_close_matches(name, _FIELD_OF_PARAMETER, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigurationError(
                f"{source} {assignment}: no template has a parameter {name}.{hint} "
                f"There are {', '.join(sorted(_FIELD_OF_PARAMETER))}."
            )
        return replace(self, **{field_name: _parsed(name, text, like=getattr(self, field_name))})  # type: ignore[arg-type]

    def parameter(self, name: str) -> str:
        """Return the value of the template parameter `name` in CloudFormation's form."""
        value = getattr(self, _FIELD_OF_PARAMETER[name])
        return str(value).lower() if isinstance(value, bool) else str(value)

    @property
    def locks(self) -> tuple[str, ...]:
        """The lock files of the requirements that the image needs."""
        wanted = {"otel": self.open_telemetry, "signing": self.models_signatures != "off"}
        return (*DEFAULT_LOCKS, *(f"requirements/{name}.txt" for name, is_wanted in wanted.items() if is_wanted))

    @property
    def is_prod(self) -> bool:
        return self.environment_name == "prod"


# The three cost profiles: the values that each sets in addition to the templates' defaults.
PROFILES: dict[str, dict[str, object]] = {
    "cheapest": {
        "create_database": False,
        "use_spot": True,
        "min_tasks": 1,
        "max_tasks": 1,
        "models_policy": "latest",
        "models_discovery_seconds": 60,
        "log_retention_days": 7,
    },
    "standard": {"min_tasks": 2},
    "production": {
        "network_mode": "nat",
        "min_tasks": 2,
        "max_tasks": 8,
        "task_cpu": 1024,
        "task_memory": 2048,
        "endpoint_zones": 2,
        "models_discovery_seconds": 10,
        "log_retention_days": 90,
        # 3,333 a second: above the capacity of the tasks, below a flood
        "rate_limit": 1_000_000,
    },
}


def parameter_name(field_name: str) -> str:
    """Return the template's name of a setting: `task_cpu` -> `TaskCpu`."""
    return "".join(word.capitalize() for word in field_name.split("_"))


_NO_PARAMETERS = {"region", "role_arn"}
_FIELD_OF_PARAMETER = {
    parameter_name(field.name): field.name for field in fields(Settings) if field.name not in _NO_PARAMETERS
}


def known_parameter(name: str) -> bool:
    """Return whether a template has the parameter."""
    return name in _FIELD_OF_PARAMETER


def require_profile(profile: str, source: str) -> None:
    """Raise ConfigurationError unless the profile is empty or one of PROFILES."""
    if profile and profile not in PROFILES:
        raise ConfigurationError(
            f"{source} is {profile!r}; expected one of {', '.join(PROFILES)}. "
            "Credentials are chosen by the variable AWS_PROFILE."
        )


def parameter_default(name: str) -> str:
    """Return the default of a template parameter."""
    return Settings().parameter(name)


def _parsed(name: str, text: str, *, like: object) -> object:
    if isinstance(like, bool):
        if text.lower() not in {"true", "false"}:
            raise ConfigurationError(f"{name} is {text!r}; expected true or false.")
        return text.lower() == "true"
    if isinstance(like, int):
        if not re.fullmatch(r"\d+", text):
            raise ConfigurationError(f"{name} is {text!r}; expected a whole number.")
        return int(text)
    return text


_URL = r"|https://[^\s{}]{1,250}"
PATTERNS: dict[str, tuple[str, str]] = {
    # an S3 bucket's generated name starts with the stack's, which starts with this name, in lower case
    "project_name": (r"[a-z][a-z0-9-]{1,19}", "2 to 20 lower-case letters, digits and hyphens, a letter first"),
    "model_prefix": (r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*", "a folder like models or team/models"),
    "image_tag": (r"|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "a tag of a container image"),
    "image_digest": (r"|sha256:[0-9a-f]{64}", "the digest of a container image"),
    "database_engine_version": (r"17(\.\d+)?", "17, whose minor version AWS picks, or a full one such as 17.6"),
    "database_snapshot": (r"|[A-Za-z][A-Za-z0-9-]*|(rds:|arn:aws[a-z-]*:rds:).+", "the name or ARN of a snapshot"),
    "existing_model_bucket": (r"|[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of an S3 bucket"),
    "existing_repository": (r"|[a-z0-9]+([._/-][a-z0-9]+)*", "the name of an ECR repository"),
    "backup_role_arn": (r"|arn:aws[a-z-]*:iam::\d{12}:role/.+", "the ARN of a role that AWS Backup can assume"),
    "key_arn": (r"|arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+", "the ARN of a key in KMS"),
    "first_zone": (r"|[a-z]{2}(-[a-z]+)+-\d[a-z]", "a zone such as us-east-1a"),
    "second_zone": (r"|[a-z]{2}(-[a-z]+)+-\d[a-z]", "a zone such as us-east-1b"),
    "models_default": (r"|[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a model"),
    "signature_key": (r"|[A-Za-z0-9+/]+=*", "a public key in base64, as between the lines of a PEM file, on one line"),
    "csrf_trusted_origins": (r"|https?://[^\s,]+(,https?://[^\s,]+)*", "origins such as https://models.example.com"),
    "environment_variables": (r"|\{.*\}", 'a JSON object of names and texts, {"NAME": "value"}'),
    "secret_variables_arn": (r"|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:.+", "the ARN of a secret"),
    "database_instance_class": (r"db\.[a-z0-9]+\.[a-z0-9]+", "an RDS class such as db.t4g.micro"),
    "domain_name": (r"|[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "a host name without https://"),
    "certificate_arn": (r"|arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[A-Za-z0-9-]+", "an ACM certificate's ARN"),
    "web_acl_arn": (r"|arn:aws[a-z-]*:wafv2:[a-z0-9-]+:\d{12}:regional/webacl/.+", "the ARN of a regional web ACL"),
    "permissions_boundary_arn": (r"|arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+", "the ARN of an IAM policy"),
    "alarm_email": (r"|[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"),
    "oidc_issuer": (_URL, "an address with https://"),
    "oidc_client_id": (r"|[^\s{}]{1,255}", "the client's name at the provider"),
    "oidc_client_secret_arn": (
        r"|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+",
        "the ARN of a secret that holds the client's secret alone",
    ),
    "oidc_scope": (r"openid( [A-Za-z0-9._:/-]+)*", "scopes with spaces between them, openid first"),
    "oidc_authorization_endpoint": (_URL, "an address with https://"),
    "oidc_token_endpoint": (_URL, "an address with https://"),
    "oidc_user_info_endpoint": (_URL, "an address with https://"),
    "sign_in_groups": (r"|[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*", "pairs such as ml-admins=superuser,ml-team=Operators"),
    "emergency_cidr": (r"|\d{1,3}(\.\d{1,3}){3}/\d{1,2}", "an IPv4 range such as 203.0.113.7/32"),
    "night_from": (r"|([01]?[0-9]|2[0-3])", "an hour from 0 to 23"),
    "night_until": (r"|([01]?[0-9]|2[0-3])", "an hour from 0 to 23"),
    "night_timezone": (r"[A-Za-z]+(/[A-Za-z0-9_+-]+)*", "a time zone such as Europe/Oslo"),
    "wake_days": (r"\*|[A-Z]{3}([-,][A-Z]{3})*", "days such as MON-FRI, or *"),
    "admin_cidr": (r"|\d{1,3}(\.\d{1,3}){3}/\d{1,2}", "an IPv4 range such as 203.0.113.7/32"),
}  # fmt: skip
