"""Properties 12, 21, 22 and 23: the task, its one container, and how deployments go."""

from typing import Any

import pytest

from cloudformation.config import TASK_SIZES
from tests.cloudformation.resolving import of_type, resources


def task(**settings: Any) -> dict[str, Any]:
    part: dict[str, Any] = resources("service", **settings)["TaskDefinition"]["Properties"]
    return part


def container(**settings: Any) -> dict[str, Any]:
    (only,) = task(**settings)["ContainerDefinitions"]
    part: dict[str, Any] = only
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


def test_container_is_not_root_and_can_write_to_tmp_only() -> None:
    part = container()
    assert part["User"] == "10001:10001"
    assert part["ReadonlyRootFilesystem"] is True
    assert part["MountPoints"] == [{"SourceVolume": "tmp", "ContainerPath": "/tmp", "ReadOnly": False}]
    assert task()["Volumes"] == [{"Name": "tmp"}]
    assert part["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_container_checks_its_own_life_without_curl() -> None:
    assert container()["HealthCheck"]["Command"] == ["CMD", "python", "docker/healthcheck.py"]


def test_container_logs_to_its_group_and_has_90_seconds_to_stop() -> None:
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
    assert plain["PGSSLMODE"] == "require"
    assert "DATABASE_URL" not in plain


def test_without_a_database_the_registry_is_sqlite_under_tmp() -> None:
    plain = environment(create_database=False, models_policy="latest")
    assert plain["DATABASE_URL"] == "sqlite:////tmp/registry.sqlite3"
    assert plain["MODELS_POLICY"] == "latest"
    assert not [name for name in plain if name.startswith("DATABASE_H")]
    assert "DATABASE_PASSWORD" not in {part["Name"] for part in container(create_database=False)["Secrets"]}


@pytest.mark.parametrize(("certificate", "https"), [("", "off"), ("arn:aws:acm:us-east-1:1:certificate/x", "on")])
def test_service_knows_the_balancer_before_it_and_whether_tls_ends_there(certificate: str, https: str) -> None:
    plain = environment(certificate_arn=certificate)
    assert (plain["MLAPI_TRUSTED_PROXIES"], plain["MLAPI_HTTPS"]) == ("1", https)


def test_a_shell_needs_a_writable_root_and_gets_it_only_then() -> None:
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


def test_service_gives_a_cold_task_time_and_leaves_the_count_to_autoscaling() -> None:
    part = resources("service")["Service"]["Properties"]
    assert part["HealthCheckGracePeriodSeconds"] >= 60
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
