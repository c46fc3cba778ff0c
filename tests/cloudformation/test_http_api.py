"""The HTTP API in place of the balancer: its way to the tasks, its headers, and refused parameters."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from cloudformation.config import ConfigurationError, Settings
from cloudformation.http_api import PROXY_HEADERS
from cloudformation.plan import order, plan
from cloudformation.problems import problems_of, require_deployable
from cloudformation.resolution import Deployed
from cloudformation.stacks import TEMPLATE_MAKERS
from tests.cloudformation.conftest import CERTIFICATE, Emulator
from tests.cloudformation.resolving import of_type, resources

DOOR: dict[str, Any] = {"door": "http-api"}
DOMAIN = {"domain_name": "api.example.com", "certificate_arn": CERTIFICATE}
HOST = {"Fn::Sub": "${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}


def service(**settings: Any) -> dict[str, dict[str, Any]]:
    return resources("service", **DOOR, **settings)


def variables(**settings: Any) -> dict[str, Any]:
    container = service(**settings)["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    return {part["Name"]: part["Value"] for part in container["Environment"]}


def test_no_balancer_and_no_web_acl_is_left() -> None:
    made = {part["Type"] for stack in ("service", "monitoring") for part in resources(stack, **DOOR).values()}
    assert not {kind for kind in made if "ElasticLoadBalancing" in kind or "WAF" in kind}


def test_requests_reach_the_tasks_by_the_link_alone() -> None:
    parts = service()
    integration = parts["Integration"]["Properties"]
    assert (integration["IntegrationType"], integration["ConnectionType"]) == ("HTTP_PROXY", "VPC_LINK")
    assert integration["IntegrationUri"] == {"Fn::GetAtt": ["Discovery", "Arn"]}
    assert integration["ConnectionId"] == {"Ref": "VpcLink"}
    (route,) = of_type(parts, "ApiGatewayV2::Route").values()
    assert (route["RouteKey"], route["Target"]) == ("$default", {"Fn::Sub": "integrations/${Integration}"})


def test_link_is_in_private_subnets_with_admitted_group() -> None:
    link = service()["VpcLink"]["Properties"]
    assert "PrivateSubnets" in str(link["SubnetIds"])
    assert "BalancerSecurityGroup" in str(link["SecurityGroupIds"])
    groups = of_type(resources("network", **DOOR), "EC2::SecurityGroup")
    assert groups["BalancerSecurityGroup"]["SecurityGroupIngress"] == []
    (rule,) = groups["TasksSecurityGroup"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"]) == (8000, 8000)
    assert rule["SourceSecurityGroupId"] == {"Fn::GetAtt": ["BalancerSecurityGroup", "GroupId"]}


def test_tasks_register_with_address_and_port() -> None:
    parts = service()
    (record,) = parts["Discovery"]["Properties"]["DnsConfig"]["DnsRecords"]
    assert record["Type"] == "SRV"  # an A record has no port, and API Gateway would ask port 80
    (registry,) = parts["Service"]["Properties"]["ServiceRegistries"]
    assert registry == {
        "RegistryArn": {"Fn::GetAtt": ["Discovery", "Arn"]}, "ContainerName": "mlapi", "ContainerPort": 8000,
    }  # fmt: skip
    # ECS refuses a grace without a balancer
    assert not {"LoadBalancers", "HealthCheckGracePeriodSeconds"} & set(parts["Service"]["Properties"])


def test_task_without_its_models_gets_no_requests() -> None:
    container = service()["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    assert container["HealthCheck"]["Command"][-1] == "/health"
    assert "HealthCheckCustomConfig" in service()["Discovery"]["Properties"]


@pytest.mark.parametrize(("settings", "host"), [({}, HOST), (DOMAIN, "api.example.com")])
def test_service_trusts_only_headers_no_client_can_write(settings: dict[str, Any], host: object) -> None:
    sent = service(**settings)["Integration"]["Properties"]["RequestParameters"]
    assert sent == {
        "overwrite:header.Host": host,
        "overwrite:header.X-Mlapi-For": "$context.identity.sourceIp",
        "overwrite:header.X-Mlapi-Proto": "https",
    }
    found = variables(**settings)
    assert (found["MLAPI_PROXY_HEADERS"], found["MLAPI_TRUSTED_PROXIES"], found["MLAPI_HTTPS"]) == (
        PROXY_HEADERS, "1", "on",
    )  # fmt: skip
    assert str(host) in str(found["DJANGO_ALLOWED_HOSTS"])


@pytest.mark.parametrize(("cidr", "expected"), [("", "127.0.0.1/32"), ("203.0.113.7/32", "203.0.113.7/32")])
def test_service_closes_the_admin_outside_given_addresses(cidr: str, expected: str) -> None:
    assert variables(admin_cidr=cidr)["MLAPI_ADMIN_CIDR"] == expected


def test_domain_is_the_only_address_where_there_is_one() -> None:
    parts = service(**DOMAIN)
    assert parts["Api"]["Properties"]["DisableExecuteApiEndpoint"] is True
    (configuration,) = parts["Domain"]["Properties"]["DomainNameConfigurations"]
    assert (configuration["CertificateArn"], configuration["SecurityPolicy"]) == (CERTIFICATE, "TLS_1_2")
    assert "DomainMapping" in parts
    plain = service()
    assert plain["Api"]["Properties"]["DisableExecuteApiEndpoint"] is False
    assert not {"Domain", "DomainMapping"} & set(plain)


def test_api_is_throttled_and_logs_each_request() -> None:
    stage = service(throttle_per_second=50, throttle_burst=80)["Stage"]["Properties"]
    assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": "50", "ThrottlingBurstLimit": "80"}
    assert stage["AccessLogSettings"]["DestinationArn"] == {"Fn::GetAtt": ["ApiLogGroup", "Arn"]}
    line = json.loads(stage["AccessLogSettings"]["Format"])
    assert {"client", "method", "path", "status", "ms", "error"} <= set(line)
    assert service()["ApiLogGroup"]["Properties"]["RetentionInDays"] == "30"


def test_tasks_are_scaled_by_cpu() -> None:
    policies = of_type(service(), "ApplicationAutoScaling::ScalingPolicy")
    assert list(policies) == ["ScaleByCpu"]


def test_night_works_with_this_door_too() -> None:
    parts = service(night_from="20", night_until="6", wake_days="MON-FRI")
    evening, morning = parts["ScalableTarget"]["Properties"]["ScheduledActions"]
    assert evening["ScalableTargetAction"] == {"MinCapacity": "0", "MaxCapacity": "0"}
    assert (evening["Schedule"], morning["Schedule"]) == ("cron(0 20 ? * * *)", "cron(0 6 ? * MON-FRI *)")
    assert problems_of(Settings(**DOOR, image_tag="v1", night_from="20", night_until="6")) == []


def test_callers_errors_and_times_are_watched() -> None:
    alarms = of_type(resources("monitoring", **DOOR), "CloudWatch::Alarm")
    seen = {name: (part["Namespace"], part["MetricName"]) for name, part in alarms.items()}
    assert seen == {
        "ApiErrors": ("AWS/ApiGateway", "5xx"),
        "SlowAnswers": ("AWS/ApiGateway", "Latency"),
        "NoTask": ("AWS/ECS", "CPUUtilization"),
    }
    assert (alarms["SlowAnswers"]["ExtendedStatistic"], alarms["SlowAnswers"]["Threshold"]) == ("p99", 1000)
    assert (alarms["NoTask"]["Statistic"], alarms["NoTask"]["TreatMissingData"]) == ("SampleCount", "breaching")
    assert set(of_type(service(), "CloudWatch::Alarm")) == {"TargetErrors", "ReplicaFailed"}


def test_prod_needs_no_certificate_of_its_own() -> None:
    settings = {"environment_name": "prod", "min_tasks": 2, "image_tag": "v1"}
    require_deployable(Settings(**settings, **DOOR))
    with pytest.raises(ConfigurationError, match="prod needs a certificate"):
        require_deployable(Settings(**settings))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"door": "window"}, "Door is window; expected one of balancer, http-api"),
        ({"rate_limit": 100}, "RateLimit needs a load balancer"),
        ({"managed_rules": True}, "ManagedRules needs a load balancer"),
        (
            {"web_acl_arn": "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/mine/1"},
            "WebAclArn needs a load balancer",
        ),
        ({"requests_per_task": 100}, "RequestsPerTask needs a load balancer"),
        ({"oidc_issuer": "https://login.example.com"}, "OidcIssuer needs a load balancer"),
        ({"deployment_strategy": "CANARY", **DOMAIN}, "DeploymentStrategy CANARY needs a load balancer"),
        ({"certificate_arn": CERTIFICATE}, "CertificateArn is set without DomainName"),
        ({"domain_name": "api.example.com"}, "without a certificate"),
        ({"throttle_per_second": 0}, "ThrottlePerSecond is 0; expected 1 to 10000"),
        ({"throttle_burst": 10_001}, "ThrottleBurst is 10001; expected 1 to 10000"),
    ],
)
def test_what_needs_a_balancer_is_refused(changes: dict[str, Any], said: str) -> None:
    found = problems_of(Settings(**(DOOR | {"image_tag": "v1"} | changes)))
    assert any(said in problem for problem in found), found


def test_every_import_of_the_forms_is_exported_below() -> None:
    def exports(stack: str) -> set[str]:
        return {name for name, output in TEMPLATE_MAKERS[stack]().to_dict()["Outputs"].items() if "Export" in output}

    below = {
        "NetworkStack": exports("network"), "DataStack": exports("data"), "ServiceStack": exports("service-http-api"),
    }  # fmt: skip
    for form in ("service-http-api", "monitoring-http-api"):
        wanted = re.findall(r"\$\{(\w+Stack)\}-(\w+)", json.dumps(TEMPLATE_MAKERS[form]().to_dict()))
        imports = [(parent, name) for parent, name in wanted if not name.startswith("Database")]
        assert imports
        assert [name for parent, name in imports if name not in below[parent]] == []


# From one door to the other


def standing(door: str, *stacks: str) -> Deployed:
    return Deployed({stack: {"Door": door} if stack == "network" else {} for stack in stacks})


ALL = ("network", "data", "service", "monitoring")


def test_doors_group_closes_after_balancer_and_opens_before() -> None:
    settings = Settings(**DOOR, image_tag="v1")
    assert order(settings, standing("balancer", *ALL[:3])) == ("data", "service", "network", "monitoring")
    assert order(Settings(image_tag="v1"), standing("http-api", *ALL[:3])) == ALL


@pytest.mark.parametrize(("before", "after"), [("balancer", "http-api"), ("http-api", "balancer")])
def test_door_is_changed_once_nothing_watches_the_other(before: str, after: str) -> None:
    settings = Settings(door=after, image_tag="v1")
    with pytest.raises(ConfigurationError, match="delete-stack --region us-east-1 --stack-name mlapi-dev-monitoring"):
        plan(settings, standing(before, *ALL))
    assert plan(settings, standing(before, *ALL[:3]))
    assert plan(settings, standing(after, *ALL))


def test_deployment_made_before_there_were_doors_has_a_balancer() -> None:
    older: Mapping[str, Mapping[str, str]] = {stack: {} for stack in ALL}
    assert plan(Settings(image_tag="v1"), Deployed(older))


# On the emulator


@pytest.fixture(scope="module")
def stacks(emulator: Emulator) -> dict[str, str]:
    settings = Settings(**DOOR, project_name="api", image_tag="v1", admin_cidr="203.0.113.7/32", night_from="20",
                        night_until="6")  # fmt: skip
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    made = emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})
    watched = {"DataStack": data, "ServiceStack": made}
    return {"network": network, "service": made, "monitoring": emulator.deploy_once(settings, "monitoring", watched)}


def test_deployed_api_leads_to_the_tasks_registry(emulator: Emulator, stacks: dict[str, str]) -> None:
    parts = emulator.resources(stacks["service"])
    api = emulator.client("apigatewayv2")
    (integration,) = api.get_integrations(ApiId=parts["Api"])["Items"]
    registry = emulator.client("servicediscovery").get_service(Id=parts["Discovery"])["Service"]
    assert integration["IntegrationUri"] == registry["Arn"]
    assert integration["ConnectionId"] == parts["VpcLink"]
    assert integration["RequestParameters"]["overwrite:header.X-Mlapi-Proto"] == "https"
    (route,) = api.get_routes(ApiId=parts["Api"])["Items"]
    assert (route["RouteKey"], route["Target"]) == ("$default", f"integrations/{integration['IntegrationId']}")
    described = emulator.client("ecs").describe_services(cluster=parts["Cluster"], services=[parts["Service"]])
    (entry,) = described["services"][0]["serviceRegistries"]
    assert (entry["registryArn"], int(entry["containerPort"])) == (registry["Arn"], 8000)


def test_deployed_address_is_https_and_answered_by_service(emulator: Emulator, stacks: dict[str, str]) -> None:
    parts, outputs = emulator.resources(stacks["service"]), emulator.outputs(stacks["service"])
    host = f"{parts['Api']}.execute-api.us-east-1.amazonaws.com"
    assert outputs["Url"] == f"https://{host}"
    task = emulator.client("ecs").describe_task_definition(taskDefinition=parts["TaskDefinition"])["taskDefinition"]
    found = {part["name"]: part["value"] for part in task["containerDefinitions"][0]["environment"]}
    assert (found["DJANGO_ALLOWED_HOSTS"], found["MLAPI_ADMIN_CIDR"]) == (host, "203.0.113.7/32")


def test_deployed_stage_writes_its_log(emulator: Emulator, stacks: dict[str, str]) -> None:
    parts = emulator.resources(stacks["service"])
    (stage,) = emulator.client("apigatewayv2").get_stages(ApiId=parts["Api"])["Items"]
    assert stage["StageName"] == "$default"
    assert parts["ApiLogGroup"] in stage["AccessLogSettings"]["DestinationArn"]


def test_deployed_groups_admit_the_link_alone(emulator: Emulator, stacks: dict[str, str]) -> None:
    parts = emulator.resources(stacks["network"])
    ec2 = emulator.client("ec2")

    def inbound(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ec2.describe_security_groups(GroupIds=[parts[name]])["SecurityGroups"][0][
            "IpPermissions"
        ]
        return found

    assert inbound("BalancerSecurityGroup") == []
    (rule,) = inbound("TasksSecurityGroup")
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [parts["BalancerSecurityGroup"]]
    assert rule["FromPort"] == 8000


def test_deployed_alarms_watch_this_api(emulator: Emulator, stacks: dict[str, str]) -> None:
    api = emulator.resources(stacks["service"])["Api"]
    alarm = emulator.resources(stacks["monitoring"])["ApiErrors"]
    (found,) = emulator.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert found["Dimensions"] == [{"Name": "ApiId", "Value": api}]


PREFLIGHT = """
from cloudformation import preflight
from cloudformation.aws import Aws
from cloudformation.config import Settings

aws = Aws("us-east-1")
preflight.make_service_linked_roles(aws, with_database=False, with_api=True)
preflight.require_traffic(aws, Settings(deployment_strategy="CANARY"), "api-dev-service")
"""


def test_preflight_makes_the_links_role_and_reads_no_traffic(emulator: Emulator, stacks: dict[str, str]) -> None:
    assert stacks["service"] == "api-dev-service"
    done = emulator.run(sys.executable, "-c", PREFLIGHT)
    assert "had 0.0 requests a minute" in done.stderr
    roles = emulator.client("iam").list_roles()["Roles"]
    assert any("ops.apigateway.amazonaws.com" in role["Path"] for role in roles)
