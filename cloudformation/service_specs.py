"""The parameters of the service's template, and of its forms."""

from __future__ import annotations

from cloudformation.config import (
    ARCHITECTURES,
    LOG_RETENTION_DAYS,
    MAX_MAX_TASKS,
    MAX_MIN_TASKS,
    MAX_START_GRACE_SECONDS,
    MIN_START_GRACE_SECONDS,
    POLICIES,
    SIGNATURES,
    TASK_SIZES,
)
from cloudformation.spec import CREATE_DATABASE, ENVIRONMENT, KEY, NETWORK_MODE, PROJECT, STRATEGY, TRUE_OR_FALSE, Spec

SERVICE = (
    PROJECT,
    ENVIRONMENT,
    NETWORK_MODE,
    Spec("ImageTag", "What runs", "Image tag", "A tag pushed to the data stack's repository.", pattern_of="image_tag"),
    Spec(
        "ImageDigest",
        "What runs",
        "Image digest",
        "Runs exactly this image of the repository. Empty: the one of the tag.",
        pattern_of="image_digest",
    ),
    CREATE_DATABASE,
    KEY,
    Spec(
        "ModelsPolicy",
        "What runs",
        "Policy of newly found models",
        "manual: a person activates. latest: a version that passes its checks is activated by itself.",
        allowed=POLICIES,
    ),
    Spec(
        "AllowAdminUpload",
        "What runs",
        "Uploads through the admin",
        "true lets the service write models; by default it can only read them.",
        allowed=TRUE_OR_FALSE,
    ),
    Spec(
        "ModelsDefault",
        "What runs",
        "Model behind /predict",
        "Empty: the first one registered.",
        pattern_of="models_default",
    ),
    Spec(
        "ModelsSignatures",
        "What runs",
        "Signatures of models",
        "warn or require a valid OpenSSF model signature.",
        allowed=SIGNATURES,
    ),
    Spec(
        "SignatureKey",
        "What runs",
        "Public key of the signatures",
        "The base64 lines of its PEM file, joined.",
        pattern_of="signature_key",
    ),
    Spec(
        "ModelsDiscoverySeconds",
        "What runs",
        "Seconds between two listings of the bucket",
        "Each listing is billed: at 10 seconds 1.31 USD a month.",
        is_number=True,
        minimum=1,
        maximum=3600,
    ),
    Spec(
        "EnvironmentVariables",
        "What runs",
        "Further environment variables",
        'A JSON object, {"MLAPI_MAX_BODY_MB": "64"}.',
        pattern_of="environment_variables",
    ),
    Spec(
        "SecretVariablesArn",
        "What runs",
        "Further secret variables",
        "A secret of Secrets Manager whose JSON keys become environment variables.",
        pattern_of="secret_variables_arn",
    ),
    Spec(
        "RequireApiKey",
        "What runs",
        "Predictions need a key",
        "true refuses predictions without a key of the registry.",
        allowed=TRUE_OR_FALSE,
    ),
    Spec(
        "CertificateArn",
        "The way in",
        "Certificate",
        "ACM certificate in this region. With it HTTP is redirected to HTTPS; without it the service speaks HTTP.",
        pattern_of="certificate_arn",
    ),
    Spec("DomainName", "The way in", "Domain name", "Host name of the certificate, if any.", pattern_of="domain_name"),
    Spec(
        "AdminCidr",
        "The way in",
        "Addresses that may open the admin and the metrics",
        "For example 203.0.113.7/32. Empty: no address of the internet can.",
        pattern_of="admin_cidr",
    ),
    Spec(
        "CsrfTrustedOrigins",
        "The way in",
        "Origins that may post to the admin",
        "For example https://models.example.com, several by commas.",
        pattern_of="csrf_trusted_origins",
    ),
    Spec(
        "TaskCpu",
        "Size",
        "CPU units of a task",
        "1024 is one vCPU; one worker process runs on each.",
        allowed=tuple(TASK_SIZES),
        is_number=True,
    ),
    Spec(
        "TaskMemory",
        "Size",
        "Memory of a task (MiB)",
        "Must be a size that Fargate sells with the CPU units.",
        allowed=tuple(sorted({size for sizes in TASK_SIZES.values() for size in sizes})),
        is_number=True,
    ),
    Spec(
        "CpuArchitecture",
        "Size",
        "Processor",
        "ARM64 is a fifth cheaper; the image must be built for it.",
        allowed=ARCHITECTURES,
    ),
    Spec(
        "UseSpot",
        "Size",
        "Spot capacity",
        "true costs up to 70 % less; AWS may take a task away at two minutes' notice.",
        allowed=TRUE_OR_FALSE,
    ),
    Spec("MinTasks", "Size", "Fewest tasks", "Two or more in prod.", is_number=True, minimum=1, maximum=MAX_MIN_TASKS),
    Spec("MaxTasks", "Size", "Most tasks", "At least MinTasks.", is_number=True, minimum=1, maximum=MAX_MAX_TASKS),
    Spec(
        "CpuTargetPercent",
        "Size",
        "CPU to hold (%)",
        "Tasks are added above it.",
        is_number=True,
        minimum=10,
        maximum=90,
    ),
    Spec(
        "RequestsPerTask",
        "Size",
        "Requests per task and minute to hold",
        "Tasks are added above it. 0: what the benchmark says of TaskCpu.",
        is_number=True,
        minimum=0,
    ),
    Spec(
        "StartGraceSeconds",
        "Size",
        "Seconds for a task's start",
        "Failed health checks count after it; large models need more.",
        is_number=True,
        minimum=MIN_START_GRACE_SECONDS,
        maximum=MAX_START_GRACE_SECONDS,
    ),
    Spec(
        "LogSamplePercent",
        "Watching it",
        "Share of successful requests that are logged (%)",
        "Failures always are.",
        is_number=True,
        minimum=0,
        maximum=100,
    ),
    Spec(
        "OpenTelemetry",
        "Watching it",
        "Traces",
        "true sends traces to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, over HTTPS.",
        allowed=TRUE_OR_FALSE,
    ),
    Spec(
        "LogRetentionDays",
        "Watching it",
        "Days that logs are kept",
        "Of the service's log group.",
        allowed=LOG_RETENTION_DAYS,
        is_number=True,
    ),
    Spec(
        "EnableExec",
        "Watching it",
        "A shell in the task",
        "true allows aws ecs execute-command; the container's root file system is then writable.",
        allowed=TRUE_OR_FALSE,
    ),
    Spec(
        "PermissionsBoundaryArn",
        "Watching it",
        "Permissions boundary",
        "Policy that bounds both roles, where your account demands one.",
        pattern_of="permissions_boundary_arn",
    ),
)

GRPC = Spec("EnableGrpc", "The way in", "gRPC", "true opens the Open Inference Protocol over gRPC, on 443. It needs a "
            "certificate.", allowed=TRUE_OR_FALSE)  # fmt: skip

SIGN_IN = (
    Spec("SignInAt", "Signing in", "Who signs people in", "balancer: without a sign-in the admin is not reached; "
         "needs a certificate. service: the service itself.", allowed=("balancer", "service")),
    Spec("OidcIssuer", "Signing in", "Issuer", "Of the OpenID Connect provider. Empty: passwords alone.",
         pattern_of="oidc_issuer"),
    Spec("OidcClientId", "Signing in", "Client", "The service's name at the provider.", pattern_of="oidc_client_id"),
    Spec("OidcClientSecretArn", "Signing in", "Client's secret", "A secret in Secrets Manager that holds it as text.",
         pattern_of="oidc_client_secret_arn"),
    Spec("OidcScope", "Signing in", "Scopes", "Some providers need groups too.", pattern_of="oidc_scope"),
    Spec("OidcAuthorizationEndpoint", "Signing in", "Authorization endpoint", "The balancer alone needs it.",
         pattern_of="oidc_authorization_endpoint"),
    Spec("OidcTokenEndpoint", "Signing in", "Token endpoint", "The balancer alone needs it.",
         pattern_of="oidc_token_endpoint"),
    Spec("OidcUserInfoEndpoint", "Signing in", "Userinfo endpoint", "The balancer alone needs it.",
         pattern_of="oidc_user_info_endpoint"),
    Spec("SignInGroups", "Signing in", "Groups", "Provider's groups and what they are here: ml-admins=superuser.",
         pattern_of="sign_in_groups"),
    Spec("EmergencyCidr", "Signing in", "Addresses around the sign-in",
         "Reach the admin by password while the provider is away. Empty: none.", pattern_of="emergency_cidr"),
)  # fmt: skip

SHIFT = (
    STRATEGY,
    Spec("BakeMinutes", "How a new image takes over", "Minutes of each step",
         "So long the alarms watch a step, and the old image stands by.", is_number=True, minimum=0, maximum=1440),
    Spec("ShiftPercent", "How a new image takes over", "Traffic of a step (%)",
         "Of LINEAR each step's, of CANARY the first one's.", is_number=True, minimum=3, maximum=50),
    Spec("LiveTargetGroup", "How a new image takes over", "Live target group",
         "Which one has the traffic now; the deployment looks and sets it.", allowed=("main", "alternate")),
)  # fmt: skip

NIGHT = (
    Spec("NightFrom", "Nights", "Hour that the night begins", "Empty: no nights.", pattern_of="night_from"),
    Spec("NightUntil", "Nights", "Hour that it ends", "At this hour tasks come back.", pattern_of="night_until"),
    Spec("NightTasks", "Nights", "Tasks at night", "0: nothing answers until the morning.", is_number=True, minimum=0,
         maximum=MAX_MIN_TASKS),
    Spec("NightTimezone", "Nights", "Time zone", "Of the hours.", pattern_of="night_timezone"),
    Spec("WakeDays", "Nights", "Days with a morning", "MON-FRI leaves the weekend to the night.",
         pattern_of="wake_days"),
)  # fmt: skip

WEB_ACL = (
    Spec("WebAclArn", "The way in", "Web ACL", "A regional WAF web ACL that you already have.",
         pattern_of="web_acl_arn"),
    Spec("RateLimit", "The way in", "Requests per address in five minutes",
         "Above 0 makes a web ACL that refuses an address beyond it (WAF costs extra). 0: none.", is_number=True,
         minimum=0),
    Spec("ManagedRules", "The way in", "AWS's managed rules",
         "true makes a web ACL with AWS's rules against known attacks (WAF costs extra).", allowed=TRUE_OR_FALSE),
)  # fmt: skip

# An HTTP API takes no web ACL, and its requests are not counted by target group.
HTTP_API = (
    Spec("ThrottlePerSecond", "The way in", "Requests a second", "Of all callers together; beyond it they get a 429.",
         is_number=True, minimum=1),
    Spec("ThrottleBurst", "The way in", "Requests at once", "So many more may come in one burst.", is_number=True,
         minimum=1),
)  # fmt: skip
