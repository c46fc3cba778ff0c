"""The parameters of the templates, a table for each stack: type, limits and wording, each said once."""

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
        "balancer: an application load balancer. http-api: an HTTP API, cheaper where requests are few. "
        "Chooses the templates of the service and of the monitoring too.",
        allowed=DOORS,
    ),
    Spec(
        "EndpointZones",
        "How tasks reach AWS",
        "Zones with interface endpoints",
        "Of the mode endpoints only: each endpoint is paid for in each zone.",
        allowed=(1, 2),
        is_number=True,
    ),
    Spec(
        "FirstZone",
        "How tasks reach AWS",
        "First zone",
        "For example us-east-1a; some zones run no Fargate. Empty: the account's first. Fixed once it is made.",
        pattern_of="first_zone",
    ),
    Spec("SecondZone", "How tasks reach AWS", "Second zone", "As the first; both or none.", pattern_of="second_zone"),
)

DATA = (
    PROJECT,
    ENVIRONMENT,
    Spec(
        "ModelPrefix",
        "Models",
        "Folder of the models in the bucket",
        "The service may read what is under it, and nothing else.",
        pattern_of="model_prefix",
    ),
    CREATE_DATABASE,
    Spec(
        "DatabaseInstanceClass",
        "Registry database",
        "Instance class",
        "db.t4g.micro is plenty for a registry.",
        pattern_of="database_instance_class",
    ),
    Spec(
        "DatabaseEngineVersion",
        "Registry database",
        "PostgreSQL version",
        "17: AWS picks the minor version, and takes new ones by itself.",
        pattern_of="database_engine_version",
    ),
    Spec(
        "DatabaseSnapshot",
        "Data that is there already",
        "Snapshot that the database comes from",
        "A database that stands is replaced by one made of the snapshot. Keep it set afterwards.",
        pattern_of="database_snapshot",
    ),
    Spec(
        "ExistingModelBucket",
        "Data that is there already",
        "Bucket with models",
        "Versioned, in this account and region; none is made then.",
        pattern_of="existing_model_bucket",
    ),
    Spec(
        "ExistingRepository",
        "Data that is there already",
        "Image repository",
        "Of this account and region; none is made then.",
        pattern_of="existing_repository",
    ),
    Spec(
        "BackupRoleArn",
        "Data that is there already",
        "Role of AWS Backup",
        "With it the database and the models are backed up each night for 35 days.",
        pattern_of="backup_role_arn",
    ),
    Spec(
        "FlowLogs",
        "Watching it",
        "VPC flow logs",
        "Which traffic of the network is logged, to the log bucket (billed by GB).",
        allowed=FLOW_LOGS,
    ),
    KEY,
    Spec(
        "AlarmEmail",
        "Watching it",
        "Address for alarms",
        "Hears of every alarm of this environment; must confirm by mail. Empty: nobody does.",
        pattern_of="alarm_email",
    ),
)

MONITORING = (PROJECT, ENVIRONMENT, CREATE_DATABASE, STRATEGY, *WEB_ACL)

SPECS = {"network": NETWORK, "data": DATA, "service": (*SERVICE, GRPC, *NIGHT), "monitoring": MONITORING}

# The service's template has forms, since one with everything is larger than CloudFormation takes.
TEMPLATE_SPECS = SPECS | {
    "service-sign-in": (*SERVICE, GRPC, *SIGN_IN),
    # Tasks are scaled by their CPU alone there, since requests are counted by target group.
    "service-shift": (*(spec for spec in SERVICE if spec.name != "RequestsPerTask"), *SHIFT),
    "service-http-api": (*(spec for spec in SERVICE if spec.name != "RequestsPerTask"), *NIGHT, *HTTP_API),
    "monitoring-http-api": (PROJECT, ENVIRONMENT, CREATE_DATABASE),
}


def template_of(stack: str, settings: Settings) -> str:
    """Return the template by which a stack is deployed under the settings."""
    if settings.door == HTTP_API_DOOR and stack in {"service", "monitoring"}:
        return f"{stack}-{HTTP_API_DOOR}"
    if stack != "service":
        return stack
    if settings.deployment_strategy != "ROLLING":
        return "service-shift"
    return "service-sign-in" if settings.oidc_issuer else stack
