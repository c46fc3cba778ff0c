"""What runs: the cluster, the task definition with its one container, and the service that keeps it running."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Join, Not, NoValue, Ref, Split, Sub, Tags, Template, ecs, logs

from cloudformation import canary, sign_in
from cloudformation.alb import DRAIN_SECONDS, HAS_ADMIN_CIDR, HAS_CERTIFICATE, Balancer
from cloudformation.iam import HAS_DATABASE, HAS_EXEC, HAS_SECRETS, Roles
from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK, NETWORK_STACK
from cloudformation.secrets import DATABASE_NAME, DATABASE_USER
from cloudformation.security_groups import POSTGRES, SERVICE_PORT
from cloudformation.sizes import by_cpu, by_memory

USES_SPOT, HAS_DOMAIN, IN_PUBLIC = "UsesSpot", "HasDomain", "TasksInPublicSubnets"
HAS_DIGEST = "HasImageDigest"
# Set where the parameter is: the condition, the variable, the parameter.
OPTIONAL_VARIABLES = {
    "HasDefaultModel": ("MODELS_DEFAULT", "ModelsDefault"),
    "HasSignatureKey": ("MODELS_SIGNATURE_KEY_BASE64", "SignatureKey"),
    "HasCsrfOrigins": ("DJANGO_CSRF_TRUSTED_ORIGINS", "CsrfTrustedOrigins"),
    "HasVariables": ("MLAPI_EXTRA_ENVIRONMENT", "EnvironmentVariables"),
}
CONTAINER = "mlapi"
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
    template: Template, balancer: Balancer, roles: Roles, log_group: logs.LogGroup, *, deployment_alarms: list[Ref]
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
    task = template.add_resource(_task(balancer, roles, log_group))
    service = template.add_resource(_service(cluster, task, balancer, deployment_alarms))
    return Service(cluster, task, service)


def _task(balancer: Balancer, roles: Roles, log_group: logs.LogGroup) -> ecs.TaskDefinition:
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
        ContainerDefinitions=[_container(balancer, log_group), If(HAS_DATABASE, _database_role(log_group), NoValue)],
        Tags=tags("task"),
    )


def _container(balancer: Balancer, log_group: logs.LogGroup) -> ecs.ContainerDefinition:
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
            InitProcessEnabled=True,  # reaps what a killed probe leaves behind
            Capabilities=ecs.KernelCapabilities(Drop=["ALL"]),
        ),
        PortMappings=[ecs.PortMapping(ContainerPort=SERVICE_PORT, Protocol="tcp")],
        HealthCheck=ecs.HealthCheck(
            # live, not ready: a task that waits for its storage must not be killed for it
            Command=["CMD", "python", "docker/healthcheck.py"],
            Interval=15,
            Timeout=5,
            Retries=3,
            StartPeriod=Ref("StartGraceSeconds"),
        ),
        StopTimeout=STOP_SECONDS,
        Environment=_environment(balancer),
        Secrets=_secrets(balancer.form),
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


def _environment(balancer: Balancer) -> list[object]:
    address = GetAtt(balancer.load_balancer, "DNSName")
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
        "DJANGO_ALLOWED_HOSTS": If(HAS_DOMAIN, Join(",", [address, Ref("DomainName")]), address),
        "DJANGO_SUPERUSER_USERNAME": "admin",
        "AWS_DEFAULT_REGION": Ref("AWS::Region"),
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "MLAPI_TRUSTED_PROXIES": "1",  # the balancer, which says who called and whether over TLS
        "MLAPI_HTTPS": If(HAS_CERTIFICATE, "on", "off"),
    }
    return [
        *(_variable(name, value) for name, value in always.items()),
        *(If(HAS_DATABASE, _variable(name, value), NoValue) for name, value in _database_variables().items()),
        If(HAS_DATABASE, NoValue, _variable("DATABASE_URL", "sqlite:////tmp/registry.sqlite3")),
        *(
            If(condition, _variable(name, Ref(parameter)), NoValue)
            for condition, (name, parameter) in OPTIONAL_VARIABLES.items()
        ),
        *(sign_in.variables(balancer.load_balancer) if balancer.form == "service-sign-in" else []),
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
        # The secret knows the address too. An export of it would forbid another snapshot's instance in its place.
        If(HAS_SECRETS, ecs.Secret(Name="MLAPI_EXTRA_SECRETS", ValueFrom=Ref("SecretVariablesArn")), NoValue),
        If(HAS_DATABASE, ecs.Secret(Name="DATABASE_HOST", ValueFrom=_of_database("host")), NoValue),
        If(HAS_DATABASE, ecs.Secret(Name="DATABASE_PASSWORD", ValueFrom=_of_registry("password")), NoValue),
        *(sign_in.secrets() if form == "service-sign-in" else []),
    ]


def _of_registry(key: str) -> Sub:
    return Sub(f"${{Secret}}:{key}::", {"Secret": imported(DATA_STACK, "RegistryCredentialsArn")})


def _of_database(key: str) -> Sub:
    return Sub(f"${{Secret}}:{key}::", {"Secret": imported(DATA_STACK, "DatabaseCredentialsArn")})


def _service(
    cluster: ecs.Cluster, task: ecs.TaskDefinition, balancer: Balancer, deployment_alarms: list[Ref]
) -> ecs.Service:
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
        LoadBalancers=_load_balancers(balancer),
        HealthCheckGracePeriodSeconds=Ref("StartGraceSeconds"),
        DeploymentConfiguration=ecs.DeploymentConfiguration(
            MinimumHealthyPercent=100,
            MaximumPercent=200,
            DeploymentCircuitBreaker=ecs.DeploymentCircuitBreaker(Enable=True, Rollback=True),
            Alarms=ecs.DeploymentAlarms(AlarmNames=deployment_alarms, Enable=True, Rollback=True),
            **(canary.deployment_options(balancer.load_balancer, url=url(balancer)) if balancer.api else {}),
        ),
        EnableExecuteCommand=If(HAS_EXEC, True, False),
        EnableECSManagedTags=True,
        PropagateTags="SERVICE",
        # ECS refuses a target group that no listener forwards to yet. Naming the listener waits for it, where
        # DependsOn could not name one that exists only with a certificate.
        Tags=tags("service") + Tags(Listener=If(HAS_CERTIFICATE, Ref(balancer.https), Ref(balancer.http))),
    )


def url(balancer: Balancer) -> Join:
    """Return where callers reach the service."""
    host = If(HAS_DOMAIN, Ref("DomainName"), GetAtt(balancer.load_balancer, "DNSName"))
    return Join("", [If(HAS_CERTIFICATE, "https", "http"), "://", host])


def _load_balancers(balancer: Balancer) -> list[object]:
    """Return the service's target groups: of the API, and of the admin where its rule has groups of its own."""

    def entry(group: object, **options: object) -> ecs.LoadBalancer:
        return ecs.LoadBalancer(
            ContainerName=CONTAINER, ContainerPort=SERVICE_PORT, TargetGroupArn=Ref(group), **options
        )

    if balancer.api is None or balancer.admin is None:
        return [entry(balancer.target_group)]
    api = canary.advanced(balancer.api, Ref("HttpsServes"), test_rule=Ref("HttpsTests"))
    admin = canary.advanced(balancer.admin, Ref("HttpsAdmitsAdmin"))
    return [
        entry(balancer.api.main, AdvancedConfiguration=api),
        If(HAS_ADMIN_CIDR, entry(balancer.admin.main, AdvancedConfiguration=admin), NoValue),
    ]
