"""What runs: the cluster, the task definition with its one container, and the service that keeps it running."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Not, NoValue, Ref, Split, Sub, Template, ecs, logs

from cloudformation import sign_in
from cloudformation.door import CONTAINER, DRAIN_SECONDS, HAS_DOMAIN, Door, hosts
from cloudformation.iam import HAS_DATABASE, HAS_EXEC, HAS_SECRETS, Roles
from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK, NETWORK_STACK
from cloudformation.secrets import DATABASE_NAME, DATABASE_USER
from cloudformation.security_groups import POSTGRES, SERVICE_PORT
from cloudformation.sizes import by_cpu, by_memory

USES_SPOT, IN_PUBLIC = "UsesSpot", "TasksInPublicSubnets"
HAS_DIGEST = "HasImageDigest"
# Set where the parameter is: the condition, the variable, the parameter.
OPTIONAL_VARIABLES = {
    "HasDefaultModel": ("MODELS_DEFAULT", "ModelsDefault"),
    "HasSignatureKey": ("MODELS_SIGNATURE_KEY_BASE64", "SignatureKey"),
    "HasCsrfOrigins": ("DJANGO_CSRF_TRUSTED_ORIGINS", "CsrfTrustedOrigins"),
    "HasVariables": ("MLAPI_EXTRA_ENVIRONMENT", "EnvironmentVariables"),
}
ROLE_CONTAINER = "database-role"
USER = "10001:10001"  # the image's own user, by number: a host knows no names
STOP_SECONDS = 90  # above the drain, 30 s, and gunicorn's graceful 50 s after it
CERTIFICATES = "/app/docker/rds-ca.pem"  # in the image: the authorities that sign the databases' certificates


@dataclass(frozen=True, slots=True)
class Service:
    cluster: ecs.Cluster
    task: ecs.TaskDefinition
    service: ecs.Service


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_DIGEST, Not(Equals(Ref("ImageDigest"), "")))
    template.add_condition(USES_SPOT, Equals(Ref("UseSpot"), "true"))
    template.add_condition(IN_PUBLIC, Equals(Ref("NetworkMode"), "public"))
    for condition, (_, parameter) in OPTIONAL_VARIABLES.items():
        template.add_condition(condition, Not(Equals(Ref(parameter), "")))
    template.add_condition(HAS_DOMAIN, Not(Equals(Ref("DomainName"), "")))


def add_service(
    template: Template, door: Door, roles: Roles, log_group: logs.LogGroup, *, deployment_alarms: list[Ref]
) -> Service:
    """Add the cluster, the task and the service; a deployment that alarms or cannot start is rolled back."""
    cluster = template.add_resource(
        ecs.Cluster(
            "Cluster",
            CapacityProviders=["FARGATE", "FARGATE_SPOT"],
            ClusterSettings=[ecs.ClusterSetting(Name="containerInsights", Value="disabled")],
            Tags=tags("cluster"),
            Metadata=skipped_checks(
                CKV_AWS_65="Container insights cost more than a small task; the alarms watch the service"
            ),
        )
    )
    task = template.add_resource(_task(door, roles, log_group))
    service = template.add_resource(_service(cluster, task, door, deployment_alarms))
    return Service(cluster, task, service)


def _task(door: Door, roles: Roles, log_group: logs.LogGroup) -> ecs.TaskDefinition:
    return ecs.TaskDefinition(
        "TaskDefinition",
        Family=Ref("AWS::StackName"),
        RequiresCompatibilities=["FARGATE"],
        NetworkMode="awsvpc",
        Cpu=Ref("TaskCpu"),
        Memory=Ref("TaskMemory"),
        RuntimePlatform=ecs.RuntimePlatform(CpuArchitecture=Ref("CpuArchitecture"), OperatingSystemFamily="LINUX"),
        ExecutionRoleArn=GetAtt(roles.execution, "Arn"),
        TaskRoleArn=GetAtt(roles.task, "Arn"),
        Volumes=[ecs.Volume(Name="tmp")],
        ContainerDefinitions=[_container(door, log_group), If(HAS_DATABASE, _database_role(log_group), NoValue)],
        Tags=tags("task"),
    )


def _container(door: Door, log_group: logs.LogGroup) -> ecs.ContainerDefinition:
    return ecs.ContainerDefinition(
        Name=CONTAINER,
        Image=_image(),
        Essential=True,
        # said to the container too, where the service's own check of memory can read it
        Memory=Ref("TaskMemory"),
        User=USER,
        # a shell's agent has to write where it likes
        ReadonlyRootFilesystem=If(HAS_EXEC, False, True),
        MountPoints=[ecs.MountPoint(SourceVolume="tmp", ContainerPath="/tmp", ReadOnly=False)],  # noqa: S108
        LinuxParameters=ecs.LinuxParameters(
            InitProcessEnabled=True,  # reaps what a killed load test leaves behind
            Capabilities=ecs.KernelCapabilities(Drop=["ALL"]),
        ),
        PortMappings=[ecs.PortMapping(ContainerPort=SERVICE_PORT, Protocol="tcp"), *door.port_mappings()],
        HealthCheck=ecs.HealthCheck(
            Command=door.health_check,
            Interval=15,
            Timeout=5,
            Retries=3,
            StartPeriod=Ref("StartGraceSeconds"),
        ),
        StopTimeout=STOP_SECONDS,
        Environment=_environment(door),
        Secrets=_secrets(door.form),
        DependsOn=If(
            HAS_DATABASE, [ecs.ContainerDependency(ContainerName=ROLE_CONTAINER, Condition="SUCCESS")], NoValue
        ),
        LogConfiguration=_logs(log_group),
    )


def _database_role(log_group: logs.LogGroup) -> ecs.ContainerDefinition:
    """Return the container that makes the service's role in the database; it alone gets the master's password."""
    return ecs.ContainerDefinition(
        Name=ROLE_CONTAINER,
        Image=_image(),
        Essential=False,
        User=USER,
        ReadonlyRootFilesystem=True,
        Command=["python", "docker/database_role.py"],
        LinuxParameters=ecs.LinuxParameters(Capabilities=ecs.KernelCapabilities(Drop=["ALL"])),
        Environment=[_variable(name, value) for name, value in _database_variables().items()],
        Secrets=[
            ecs.Secret(Name="DATABASE_HOST", ValueFrom=_of_database("host")),
            ecs.Secret(Name="DATABASE_MASTER_USER", ValueFrom=_of_database("username")),
            ecs.Secret(Name="DATABASE_MASTER_PASSWORD", ValueFrom=_of_database("password")),
            ecs.Secret(Name="DATABASE_PASSWORD", ValueFrom=_of_registry("password")),
        ],
        LogConfiguration=_logs(log_group),
    )


def _image() -> If:
    return If(HAS_DIGEST, _image_by("@${ImageDigest}"), _image_by(":${ImageTag}"))


def _image_by(which: str) -> Sub:
    return Sub(f"${{Repository}}{which}", {"Repository": imported(DATA_STACK, "RepositoryUri")})


def _logs(log_group: logs.LogGroup) -> ecs.LogConfiguration:
    return ecs.LogConfiguration(
        LogDriver="awslogs",
        Options={
            "awslogs-group": Ref(log_group),
            "awslogs-region": Ref("AWS::Region"),
            "awslogs-stream-prefix": CONTAINER,
            "mode": "non-blocking",  # a prediction never waits for a log line
            "max-buffer-size": "8m",
        },
    )


def _environment(door: Door) -> list[object]:
    always: dict[str, object] = {
        "PORT": str(SERVICE_PORT),
        "MODELS_STORAGE": Sub(
            "s3://${Bucket}/${Prefix}",
            {"Bucket": imported(DATA_STACK, "ModelBucket"), "Prefix": imported(DATA_STACK, "ModelPrefix")},
        ),
        "MODELS_CACHE": "/tmp/models",  # noqa: S108
        "MODELS_POLICY": Ref("ModelsPolicy"),
        "MODELS_DISCOVERY_SECONDS": Ref("ModelsDiscoverySeconds"),
        "MODELS_SIGNATURES": Ref("ModelsSignatures"),
        "MODELS_CHECK_MEMORY_MB": by_memory("CheckMemory"),
        "WEB_WORKERS": by_cpu("Workers"),
        "MLAPI_EMF": "on",
        "MLAPI_OTEL": Ref("OpenTelemetry"),
        "MLAPI_LOG_SAMPLE_PERCENT": Ref("LogSamplePercent"),
        "MLAPI_SERVICE": Ref("AWS::StackName"),
        "MLAPI_REQUIRE_API_KEY": Ref("RequireApiKey"),
        "DJANGO_ALLOWED_HOSTS": hosts(door),
        "DJANGO_SUPERUSER_USERNAME": "admin",
        "AWS_DEFAULT_REGION": Ref("AWS::Region"),
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "MLAPI_TRUSTED_PROXIES": "1",  # the door, which says who called and whether over TLS
        "MLAPI_HTTPS": door.https,
    }
    return [
        *(_variable(name, value) for name, value in always.items()),
        *(If(HAS_DATABASE, _variable(name, value), NoValue) for name, value in _database_variables().items()),
        If(HAS_DATABASE, NoValue, _variable("DATABASE_URL", "sqlite:////tmp/registry.sqlite3")),
        *(
            If(condition, _variable(name, Ref(parameter)), NoValue)
            for condition, (name, parameter) in OPTIONAL_VARIABLES.items()
        ),
        *door.variables(),
    ]


def _database_variables() -> dict[str, object]:
    return {
        "DATABASE_PORT": str(POSTGRES),
        "DATABASE_NAME": DATABASE_NAME,
        "DATABASE_USER": DATABASE_USER,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": CERTIFICATES,
    }


def _variable(name: str, value: object) -> ecs.Environment:
    return ecs.Environment(Name=name, Value=value)


def _secrets(form: str) -> list[object]:
    return [
        ecs.Secret(Name="DJANGO_SECRET_KEY", ValueFrom=imported(DATA_STACK, "DjangoSecretKeyArn")),
        ecs.Secret(Name="DJANGO_SUPERUSER_PASSWORD", ValueFrom=imported(DATA_STACK, "AdminPasswordArn")),
        # The secret knows the address too. An export of it would forbid another snapshot's instance instead.
        If(HAS_SECRETS, ecs.Secret(Name="MLAPI_EXTRA_SECRETS", ValueFrom=Ref("SecretVariablesArn")), NoValue),
        If(HAS_DATABASE, ecs.Secret(Name="DATABASE_HOST", ValueFrom=_of_database("host")), NoValue),
        If(HAS_DATABASE, ecs.Secret(Name="DATABASE_PASSWORD", ValueFrom=_of_registry("password")), NoValue),
        *(sign_in.secrets() if form == "service-sign-in" else []),
    ]


def _of_registry(key: str) -> Sub:
    return Sub(f"${{Secret}}:{key}::", {"Secret": imported(DATA_STACK, "RegistryCredentialsArn")})


def _of_database(key: str) -> Sub:
    return Sub(f"${{Secret}}:{key}::", {"Secret": imported(DATA_STACK, "DatabaseCredentialsArn")})


def _service(cluster: ecs.Cluster, task: ecs.TaskDefinition, door: Door, deployment_alarms: list[Ref]) -> ecs.Service:
    # No DesiredCount: it belongs to the autoscaling, and a deployment that set it would undo a scale-out.
    return ecs.Service(
        "Service",
        Cluster=Ref(cluster),
        TaskDefinition=Ref(task),
        CapacityProviderStrategy=[
            ecs.CapacityProviderStrategyItem(
                CapacityProvider=If(USES_SPOT, "FARGATE_SPOT", "FARGATE"), Weight=1, Base=0
            )
        ],
        PlatformVersion="1.4.0",  # the one that has ARM64 on Spot
        NetworkConfiguration=ecs.NetworkConfiguration(
            AwsvpcConfiguration=ecs.AwsvpcConfiguration(
                AssignPublicIp=If(IN_PUBLIC, "ENABLED", "DISABLED"),
                Subnets=If(
                    IN_PUBLIC,
                    Split(",", imported(NETWORK_STACK, "PublicSubnets")),
                    Split(",", imported(NETWORK_STACK, "PrivateSubnets")),
                ),
                SecurityGroups=[imported(NETWORK_STACK, "TasksSecurityGroup")],
            )
        ),
        **door.service_options(),
        DeploymentConfiguration=ecs.DeploymentConfiguration(
            MinimumHealthyPercent=100,
            MaximumPercent=200,
            DeploymentCircuitBreaker=ecs.DeploymentCircuitBreaker(Enable=True, Rollback=True),
            Alarms=ecs.DeploymentAlarms(AlarmNames=deployment_alarms, Enable=True, Rollback=True),
            **door.deployment_options(),
        ),
        EnableExecuteCommand=If(HAS_EXEC, True, False),
        EnableECSManagedTags=True,
        PropagateTags="SERVICE",
        Tags=tags("service") + door.service_tags(),
    )
