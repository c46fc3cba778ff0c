"""Properties 12, 21, 22 and 23: the task, its one container, and how deployments go."""

from typing import Any

import pytest

from cloudformation.config import OWN_VARIABLES, TASK_SIZES
from tests.cloudformation.resolving import of_type, resources


def task(**settings: Any) -> dict[str, Any]:
    part: dict[str, Any] = resources("service", **settings)["TaskDefinition"]["Properties"]
    return part


def container(**settings: Any) -> dict[str, Any]:
    part: dict[str, Any] = task(**settings)["ContainerDefinitions"][0]
    return part


def role_container(**settings: Any) -> dict[str, Any]:
    _, part = task(**settings)["ContainerDefinitions"]
    assert isinstance(part, dict)
    return part


def environment(**settings: Any) -> dict[str, Any]:
    return {variable["Name"]: variable["Value"] for variable in container(**settings)["Environment"]}


@pytest.mark.parametrize("architecture", ["ARM64", "X86_64"])
def test_task_is_of_fargate_with_the_processor_asked_for(architecture: str) -> None:
    part = task(cpu_architecture=architecture)
    assert (part["RequiresCompatibilities"], part["NetworkMode"]) == (["FARGATE"], "awsvpc")
    assert part["RuntimePlatform"]["CpuArchitecture"] == architecture


def test_default_size_is_one_that_fargate_sells() -> None:
    part = task()
    assert int(part["Memory"]) in TASK_SIZES[int(part["Cpu"])]


def test_container_is_unprivileged_and_writes_to_tmp_only() -> None:
    part = container()
    assert part["User"] == "10001:10001"
    assert part["ReadonlyRootFilesystem"] is True
    assert part["MountPoints"] == [{"SourceVolume": "tmp", "ContainerPath": "/tmp", "ReadOnly": False}]
    assert task()["Volumes"] == [{"Name": "tmp"}]
    assert part["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_container_checks_its_own_life_without_curl() -> None:
    assert container()["HealthCheck"]["Command"] == ["CMD", "python", "docker/healthcheck.py"]


def test_container_logs_and_has_90_seconds_to_stop() -> None:
    part = container()
    assert part["LogConfiguration"]["LogDriver"] == "awslogs"
    assert part["LogConfiguration"]["Options"]["awslogs-group"] == {"Ref": "LogGroup"}
    assert part["StopTimeout"] == 90


def test_drain_and_graceful_stop_fit_into_the_stop_timeout() -> None:
    graceful_seconds = 50  # gunicorn's
    assert int(environment()["DRAIN_SECONDS"]) + graceful_seconds < container()["StopTimeout"]


def test_no_secret_is_in_a_plain_variable() -> None:
    plain = environment()
    assert not [name for name in plain if "PASSWORD" in name or "SECRET" in name or "TOKEN" in name]
    secret = {part["Name"] for part in container()["Secrets"]}
    assert secret == {"DJANGO_SECRET_KEY", "DJANGO_SUPERUSER_PASSWORD", "DATABASE_HOST", "DATABASE_PASSWORD"}


def test_with_a_database_the_registry_is_there_over_tls() -> None:
    plain = environment()
    assert {"DATABASE_PORT", "DATABASE_NAME", "DATABASE_USER"} <= set(plain)
    assert (plain["PGSSLMODE"], plain["PGSSLROOTCERT"]) == ("verify-full", "/app/docker/rds-ca.pem")
    assert "DATABASE_URL" not in plain


def test_without_a_database_the_registry_is_sqlite_under_tmp() -> None:
    plain = environment(create_database=False, models_policy="latest")
    assert plain["DATABASE_URL"] == "sqlite:////tmp/registry.sqlite3"
    assert plain["MODELS_POLICY"] == "latest"
    assert not [name for name in plain if name.startswith("DATABASE_H")]
    assert "DATABASE_PASSWORD" not in {part["Name"] for part in container(create_database=False)["Secrets"]}


@pytest.mark.parametrize(("certificate", "https"), [("", "off"), ("arn:aws:acm:us-east-1:1:certificate/x", "on")])
def test_service_knows_its_balancer_and_where_tls_ends(certificate: str, https: str) -> None:
    plain = environment(certificate_arn=certificate)
    assert (plain["MLAPI_TRUSTED_PROXIES"], plain["MLAPI_HTTPS"]) == ("1", https)


def test_writable_root_is_set_for_a_shell_only() -> None:
    assert container(enable_exec=True)["ReadonlyRootFilesystem"] is False
    assert resources("service", enable_exec=True)["Service"]["Properties"]["EnableExecuteCommand"] is True
    assert resources("service")["Service"]["Properties"]["EnableExecuteCommand"] is False


def test_deployment_that_cannot_start_or_alarms_is_rolled_back() -> None:
    configuration = resources("service")["Service"]["Properties"]["DeploymentConfiguration"]
    assert configuration["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert configuration["Alarms"] == {
        "AlarmNames": [{"Ref": "TargetErrors"}, {"Ref": "ReplicaFailed"}],
        "Enable": True,
        "Rollback": True,
    }
    assert (configuration["MinimumHealthyPercent"], configuration["MaximumPercent"]) == (100, 200)


def test_cold_task_has_time_and_autoscaling_keeps_count() -> None:
    part = resources("service", start_grace_seconds=240)["Service"]["Properties"]
    assert part["HealthCheckGracePeriodSeconds"] == "240"
    assert container(start_grace_seconds=240)["HealthCheck"]["StartPeriod"] == "240"
    assert "DesiredCount" not in part


@pytest.mark.parametrize(("spot", "provider"), [(False, "FARGATE"), (True, "FARGATE_SPOT")])
def test_capacity_is_the_chosen_one(spot: bool, provider: str) -> None:
    part = resources("service", use_spot=spot)["Service"]["Properties"]
    assert [item["CapacityProvider"] for item in part["CapacityProviderStrategy"]] == [provider]
    assert part["PlatformVersion"] == "1.4.0"


@pytest.mark.parametrize(
    ("mode", "address", "kind"),
    [("public", "ENABLED", "Public"), ("nat", "DISABLED", "Private"), ("endpoints", "DISABLED", "Private")],
)
def test_tasks_stand_in_the_subnets_of_the_mode(mode: str, address: str, kind: str) -> None:
    service = resources("service", network_mode=mode)["Service"]["Properties"]
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == address
    assert network["Subnets"]["Fn::Split"][1] == {"Fn::ImportValue": f"mlapi-dev-network-{kind}Subnets"}


def test_service_waits_for_the_listener_that_forwards_to_it() -> None:
    for certificate, listener in (("", "HttpListener"), ("arn:aws:acm:us-east-1:1:certificate/x", "HttpsListener")):
        part = resources("service", certificate_arn=certificate)["Service"]["Properties"]
        assert {"Key": "Listener", "Value": {"Ref": listener}} in part["Tags"]


def test_there_is_one_service_and_one_task() -> None:
    found = resources("service")
    assert len(of_type(found, "ECS::Service")) == len(of_type(found, "ECS::TaskDefinition")) == 1


@pytest.mark.parametrize(("cpu", "memory", "workers", "check"), [
    (256, 512, "1", "256"), (512, 2048, "1", "1024"), (1024, 2048, "1", "1024"),
    (2048, 4096, "2", "2048"), (4096, 30720, "4", "15360"),
])  # fmt: skip
def test_workers_follow_the_cpu_and_limits_the_memory(cpu: int, memory: int, workers: str, check: str) -> None:
    plain = environment(task_cpu=cpu, task_memory=memory)
    assert (plain["WEB_WORKERS"], plain["MODELS_CHECK_MEMORY_MB"]) == (workers, check)
    # what a container can read of its task's memory is its own limit
    assert container(task_cpu=cpu, task_memory=memory)["Memory"] == str(memory)


def test_only_the_preparing_container_has_the_masters_password() -> None:
    role = role_container()
    assert "DATABASE_MASTER_PASSWORD" in {part["Name"] for part in role["Secrets"]}
    assert not [part for part in container()["Secrets"] if "MASTER" in part["Name"]]
    assert container()["DependsOn"] == [{"ContainerName": role["Name"], "Condition": "SUCCESS"}]
    assert (role["Essential"], role["User"], role["ReadonlyRootFilesystem"]) == (False, "10001:10001", True)
    masters = {str(part["ValueFrom"]) for part in role["Secrets"] if "MASTER" in part["Name"]}
    assert not masters & {str(part["ValueFrom"]) for part in container()["Secrets"]}


def test_single_container_waits_for_no_absent_database() -> None:
    assert len(task(create_database=False)["ContainerDefinitions"]) == 1
    assert "DependsOn" not in container(create_database=False)


@pytest.mark.parametrize(("settings", "variable", "value"), [
    ({"models_default": "churn"}, "MODELS_DEFAULT", "churn"),
    ({"models_signatures": "warn", "signature_key": "QUJD"}, "MODELS_SIGNATURES", "warn"),
    ({"signature_key": "QUJD"}, "MODELS_SIGNATURE_KEY_BASE64", "QUJD"),
    ({"models_discovery_seconds": 60}, "MODELS_DISCOVERY_SECONDS", "60"),
    ({"open_telemetry": True}, "MLAPI_OTEL", "true"),
    ({"log_sample_percent": 5}, "MLAPI_LOG_SAMPLE_PERCENT", "5"),
    ({"csrf_trusted_origins": "https://a.example"}, "DJANGO_CSRF_TRUSTED_ORIGINS", "https://a.example"),
    ({"environment_variables": '{"A": "b"}'}, "MLAPI_EXTRA_ENVIRONMENT", '{"A": "b"}'),
])  # fmt: skip
def test_setting_reaches_the_task(settings: dict[str, Any], variable: str, value: str) -> None:
    assert environment(**settings)[variable] == value


@pytest.mark.parametrize("variable", [
    "MODELS_DEFAULT", "MODELS_SIGNATURE_KEY_BASE64", "DJANGO_CSRF_TRUSTED_ORIGINS", "MLAPI_EXTRA_ENVIRONMENT",
])  # fmt: skip
def test_what_is_not_set_is_no_empty_variable(variable: str) -> None:
    assert variable not in environment()


def test_further_secrets_are_injected_and_may_be_read() -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:more-AbCdEf"
    secrets = {part["Name"]: part["ValueFrom"] for part in container(secret_variables_arn=arn)["Secrets"]}
    assert secrets["MLAPI_EXTRA_SECRETS"] == arn
    role = resources("service", secret_variables_arn=arn)["ExecutionRole"]["Properties"]
    (reads,) = [part for part in role["Policies"] if part["PolicyName"] == "ReadSecrets"]
    assert arn in reads["PolicyDocument"]["Statement"][0]["Resource"]
    assert "MLAPI_EXTRA_SECRETS" not in {part["Name"] for part in container()["Secrets"]}


def test_template_variables_cannot_be_set_freely() -> None:
    everything: dict[str, Any] = {
        "models_default": "a", "signature_key": "QUJD", "csrf_trusted_origins": "https://a.example",
        "environment_variables": "{}", "secret_variables_arn": "arn:aws:secretsmanager:us-east-1:1:secret:a",
    }  # fmt: skip
    named = {part["Name"] for database in (True, False) for part in (
        *container(create_database=database, **everything)["Environment"],
        *container(create_database=database, **everything)["Secrets"],
    )}  # fmt: skip
    assert named <= set(OWN_VARIABLES)
