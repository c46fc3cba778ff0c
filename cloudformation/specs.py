"""The parameters of the templates, in a table for each stack: type, limits and description."""

from __future__ import annotations

from cloudformation.config import DOORS, FLOW_LOGS, Settings
from cloudformation.service_specs import GRPC, HTTP_API, NIGHT, SERVICE, SHIFT, SIGN_IN, WEB_ACL
from cloudformation.spec import CREATE_DATABASE, ENVIRONMENT, KEY, NETWORK_MODE, PROJECT, STRATEGY, Spec

HTTP_API_DOOR = "http-api"

NETWORK = (
    PROJECT,
    ENVIRONMENT,
    NETWORK_MODE,
    Spec(
        "Door",
        "The way in",
        "Door",
        "balancer: an application load balancer. http-api: an HTTP API, cheaper for few requests. "
        "Also selects the templates of the service and of the monitoring.",
        allowed=DOORS,
    ),
    Spec(
        "EndpointZones",
        "How tasks reach AWS",
        "Zones with interface endpoints",
        "Only for the mode endpoints: each endpoint is billed in each zone.",
        allowed=(1, 2),
        is_number=True,
    ),
    Spec(
        "FirstZone",
        "How tasks reach AWS",
        "First zone",
        "For example us-east-1a; some zones have no Fargate. Empty: the account's first zone. Cannot be changed later.",
        pattern_of="first_zone",
    ),
    Spec(
        "SecondZone",
        "How tasks reach AWS",
        "Second zone",
        "Like the first zone; set both or neither.",
        pattern_of="second_zone",
    ),
)

DATA = (
    PROJECT,
    ENVIRONMENT,
    Spec(
        "ModelPrefix",
        "Models",
        "Folder of the models in the bucket",
        "The service may read only objects in this folder.",
        pattern_of="model_prefix",
    ),
    CREATE_DATABASE,
    Spec(
        "DatabaseInstanceClass",
        "Registry database",
        "Instance class",
        "db.t4g.micro is large enough for a registry.",
        pattern_of="database_instance_class",
    ),
    Spec(
        "DatabaseEngineVersion",
        "Registry database",
        "PostgreSQL version",
        "17: AWS chooses the minor version, and upgrades it automatically.",
        pattern_of="database_engine_version",
    ),
    Spec(
        "DatabaseSnapshot",
        "Existing data",
        "Snapshot to restore the database from",
        "An existing database is replaced by the restored one. Keep this value set afterwards.",
        pattern_of="database_snapshot",
    ),
    Spec(
        "ExistingModelBucket",
        "Existing data",
        "Bucket with models",
        "Must be versioned, in this account and region; no bucket is created then.",
        pattern_of="existing_model_bucket",
    ),
    Spec(
        "ExistingRepository",
        "Existing data",
        "Image repository",
        "In this account and region; no repository is created then.",
        pattern_of="existing_repository",
    ),
    Spec(
        "BackupRoleArn",
        "Existing data",
        "Role of AWS Backup",
        "If set, the database and the models are backed up every night and kept for 35 days.",
        pattern_of="backup_role_arn",
    ),
    Spec(
        "FlowLogs",
        "Watching it",
        "VPC flow logs",
        "The network traffic that is logged to the log bucket (billed per GB).",
        allowed=FLOW_LOGS,
    ),
    KEY,
    Spec(
        "AlarmEmail",
        "Watching it",
        "Address for alarms",
        "Receives every alarm of this environment; must confirm the subscription by mail. Empty: no mail.",
        pattern_of="alarm_email",
    ),
)

MONITORING = (PROJECT, ENVIRONMENT, CREATE_DATABASE, STRATEGY, *WEB_ACL)

SPECS = {"network": NETWORK, "data": DATA, "service": (*SERVICE, GRPC, *NIGHT), "monitoring": MONITORING}

# The service's template has variants, because one template with all resources exceeds CloudFormation's size limit.
TEMPLATE_SPECS = SPECS | {
    "service-sign-in": (*SERVICE, GRPC, *SIGN_IN),
    # There, tasks are scaled only by CPU, because requests are counted by target group.
    "service-shift": (*(spec for spec in SERVICE if spec.name != "RequestsPerTask"), *SHIFT),
    "service-http-api": (*(spec for spec in SERVICE if spec.name != "RequestsPerTask"), *NIGHT, *HTTP_API),
    "monitoring-http-api": (PROJECT, ENVIRONMENT, CREATE_DATABASE),
}


def template_of(stack: str, settings: Settings) -> str:
    """Return the template with which a stack is deployed under the settings."""
    if settings.door == HTTP_API_DOOR and stack in {"service", "monitoring"}:
        return f"{stack}-{HTTP_API_DOOR}"
    if stack != "service":
        return stack
    if settings.deployment_strategy != "ROLLING":
        return "service-shift"
    return "service-sign-in" if settings.oidc_issuer else stack
