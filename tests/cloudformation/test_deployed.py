"""What stands after `aws cloudformation deploy` of all stacks, read back: each network mode, with and without
certificate, with and without database. What the emulator does not keep is asserted on the templates, beside this."""

from __future__ import annotations

import json
from typing import Any

from tests.cloudformation.conftest import ACCOUNT, Deployed


def in_vpc(deployed: Deployed) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": [deployed.network_parts["Vpc"]]}]


def default_routes(deployed: Deployed, table: str) -> list[dict[str, Any]]:
    (found,) = deployed.client("ec2").describe_route_tables(RouteTableIds=[deployed.network_parts[table]])[
        "RouteTables"
    ]
    return [route for route in found["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]


def test_network_and_its_four_subnets_in_two_zones(deployed: Deployed) -> None:
    ec2, vpc = deployed.client("ec2"), deployed.network_parts["Vpc"]
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"] == "10.0.0.0/16"
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        answer = ec2.describe_vpc_attribute(VpcId=vpc, Attribute=attribute)
        assert answer[attribute[0].upper() + attribute[1:]]["Value"]
    subnets = ec2.describe_subnets(Filters=in_vpc(deployed))["Subnets"]
    assert {subnet["CidrBlock"]: subnet["AvailabilityZone"][-1] for subnet in subnets} == {
        "10.0.0.0/24": "a",
        "10.0.1.0/24": "b",
        "10.0.10.0/24": "a",
        "10.0.11.0/24": "b",
    }


def test_public_routes_reach_internet_and_private_ones_nat(deployed: Deployed) -> None:
    (public,) = default_routes(deployed, "PublicRoutes")
    assert public["GatewayId"] == deployed.network_parts["InternetGateway"]
    private = default_routes(deployed, "PrivateRoutes") + default_routes(deployed, "PrivateRoutes2")
    if deployed.settings.network_mode == "nat":
        assert [route["NatGatewayId"] for route in private] == [deployed.network_parts["NatGateway"]] * 2
    else:
        assert private == []
        assert not {"NatGateway", "NatAddress"} & set(deployed.network_parts)


def test_endpoints_are_s3_gateway_and_four_in_endpoints_mode(deployed: Deployed) -> None:
    everywhere = deployed.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    found = [part for part in everywhere if part["VpcId"] == deployed.network_parts["Vpc"]]
    services = sorted((part["VpcEndpointType"], part["ServiceName"].split(".", 3)[3]) for part in found)
    expected = [("Gateway", "s3")]
    if deployed.settings.network_mode == "endpoints":
        expected += [("Interface", name) for name in ("ecr.api", "ecr.dkr", "logs", "secretsmanager")]
    assert services == expected


def _openings(group: dict[str, Any], names: dict[str, str]) -> list[tuple[int, list[str], list[str]]]:
    return [
        (
            rule["FromPort"],
            [address["CidrIp"] for address in rule["IpRanges"]],
            [names[caller["GroupId"]] for caller in rule["UserIdGroupPairs"]],
        )
        for rule in group["IpPermissions"]
    ]


def test_groups_admit_only_the_one_in_front_of_them(deployed: Deployed) -> None:
    parts = deployed.network_parts
    ids = {parts[name]: name for name in parts if name.endswith("SecurityGroup")}
    groups = deployed.client("ec2").describe_security_groups(GroupIds=list(ids))["SecurityGroups"]
    inbound = {ids[group["GroupId"]]: sorted(_openings(group, ids)) for group in groups}
    expected: dict[str, list[tuple[int, list[str], list[str]]]] = {
        "BalancerSecurityGroup": [(80, ["0.0.0.0/0"], []), (443, ["0.0.0.0/0"], [])],
        "TasksSecurityGroup": [(8000, [], ["BalancerSecurityGroup"])],
        "DatabaseSecurityGroup": [(5432, [], ["TasksSecurityGroup"])],
    }
    if deployed.settings.network_mode == "endpoints":
        expected["EndpointSecurityGroup"] = [(443, [], ["TasksSecurityGroup"])]
    assert inbound == expected
    to_everywhere = [
        group["GroupName"]
        for group in groups
        for rule in group["IpPermissionsEgress"]
        if rule["IpProtocol"] == "-1" and {"CidrIp": "0.0.0.0/0"} in rule["IpRanges"]
    ]
    assert to_everywhere == []


def test_tasks_have_public_addresses_in_public_mode_only(deployed: Deployed) -> None:
    network = deployed.ecs_service["networkConfiguration"]["awsvpcConfiguration"]
    is_public = deployed.settings.network_mode == "public"
    assert network["assignPublicIp"] == ("ENABLED" if is_public else "DISABLED")
    kind = "Public" if is_public else "Private"
    assert network["subnets"] == [deployed.network_parts[f"{kind}Subnet{zone}"] for zone in (1, 2)]
    assert network["securityGroups"] == [deployed.network_parts["TasksSecurityGroup"]]


def test_target_group_asks_for_readiness_and_drains(deployed: Deployed) -> None:
    elb, arn = deployed.client("elbv2"), deployed.service_parts["TargetGroup"]
    (group,) = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
    assert (group["TargetType"], group["Port"], group["HealthCheckPath"]) == ("ip", 8000, "/health")
    assert group["Matcher"]["HttpCode"] == "200"
    attributes = elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "30"} in attributes


def test_listeners_forward_redirect_and_refuse_as_the_certificate_says(deployed: Deployed) -> None:
    elb = deployed.client("elbv2")
    listeners = {
        listener["Port"]: listener
        for listener in elb.describe_listeners(LoadBalancerArn=deployed.service_parts["LoadBalancer"])["Listeners"]
    }
    actions = {port: listener["DefaultActions"][0]["Type"] for port, listener in listeners.items()}
    if deployed.settings.certificate_arn:
        assert actions == {80: "redirect", 443: "forward"}
        assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["StatusCode"] == "HTTP_301"
        assert listeners[443]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    else:
        assert actions == {80: "forward"}
    rules = elb.describe_rules(ListenerArn=listeners[max(listeners)]["ListenerArn"])["Rules"]
    by_priority = {rule["Priority"]: rule for rule in rules}
    admits, refuses = by_priority["10"], by_priority["20"]
    assert [c["Field"] for c in admits["Conditions"]] == ["path-pattern", "source-ip"]
    assert admits["Actions"][0]["Type"] == "forward"
    assert refuses["Actions"][0]["FixedResponseConfig"]["StatusCode"] == "403"
    assert "/admin/*" in refuses["Conditions"][0]["PathPatternConfig"]["Values"]


def test_balancer_drops_invalid_headers_and_logs_to_bucket(deployed: Deployed) -> None:
    found = deployed.client("elbv2").describe_load_balancer_attributes(
        LoadBalancerArn=deployed.service_parts["LoadBalancer"]
    )["Attributes"]
    attributes = {part["Key"]: part["Value"] for part in found}
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["access_logs.s3.bucket"] == deployed.data_parts["LogBucket"]
    assert attributes["deletion_protection.enabled"] == "false"


def test_repository_scans_and_its_tags_never_move(deployed: Deployed) -> None:
    ecr, name = deployed.client("ecr"), deployed.data_parts["Repository"]
    (repository,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"]["scanOnPush"]
    policy = json.loads(ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"])
    assert len(policy["rules"]) == 3


def test_model_bucket_is_versioned_encrypted_and_closed(deployed: Deployed) -> None:
    s3, bucket = deployed.client("s3"), deployed.data_parts["ModelBucket"]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]


def test_roles_trust_own_tasks_and_have_no_managed_policy(deployed: Deployed) -> None:
    iam = deployed.client("iam")
    for role in ("ExecutionRole", "TaskRole"):
        name = deployed.service_parts[role]
        (trust,) = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == ACCOUNT
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


def test_task_is_fargate_unprivileged_and_has_stop_time(deployed: Deployed) -> None:
    task = deployed.task
    assert (task["requiresCompatibilities"], task["networkMode"]) == (["FARGATE"], "awsvpc")
    assert (task["cpu"], task["memory"]) == ("256", "1024")
    container = task["containerDefinitions"][0]
    assert (container["user"], container["readonlyRootFilesystem"]) == ("10001:10001", True)
    assert container["mountPoints"] == [{"sourceVolume": "tmp", "containerPath": "/tmp", "readOnly": False}]
    assert container["stopTimeout"] == 90
    assert container["image"] == f"{deployed.aws.outputs(deployed.data)['RepositoryUri']}:v1"
    assert container["logConfiguration"]["options"]["awslogs-group"] == deployed.service_parts["LogGroup"]


def test_container_is_told_where_models_and_registry_are(deployed: Deployed) -> None:
    container = deployed.task["containerDefinitions"][0]
    variables = {variable["name"]: variable["value"] for variable in container["environment"]}
    assert variables["MODELS_STORAGE"] == f"s3://{deployed.data_parts['ModelBucket']}/models"
    if deployed.settings.create_database:
        assert variables["DATABASE_NAME"] == "registry"
        assert "DATABASE_URL" not in variables
    else:
        assert variables["DATABASE_URL"].startswith("sqlite:////tmp/")
    assert len(container["secrets"]) == (4 if deployed.settings.create_database else 2)
    assert not [name for name in variables if "PASSWORD" in name or "SECRET" in name]


def test_deployments_are_watched_and_rolled_back(deployed: Deployed) -> None:
    configuration = deployed.ecs_service["deploymentConfiguration"]
    assert configuration["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert configuration["alarms"]["enable"]
    alarms = [deployed.service_parts[name] for name in ("TargetErrors", "ReplicaFailed")]
    assert configuration["alarms"]["alarmNames"] == alarms
    assert (configuration["minimumHealthyPercent"], configuration["maximumPercent"]) == (100, 200)
    assert [item["capacityProvider"] for item in deployed.ecs_service["capacityProviderStrategy"]] == ["FARGATE"]


def test_database_is_private_encrypted_with_its_secrets_password(deployed: Deployed) -> None:
    if not deployed.settings.create_database:
        assert "Database" not in deployed.data_parts
        return
    (database,) = deployed.client("rds").describe_db_instances(DBInstanceIdentifier=deployed.data_parts["Database"])[
        "DBInstances"
    ]
    assert (database["StorageEncrypted"], database["PubliclyAccessible"], database["MultiAZ"]) == (True, False, False)
    assert [group["VpcSecurityGroupId"] for group in database["VpcSecurityGroups"]] == [
        deployed.network_parts["DatabaseSecurityGroup"]
    ]
    secret = deployed.client("secretsmanager").get_secret_value(SecretId=deployed.data_parts["DatabaseCredentials"])
    credentials = json.loads(secret["SecretString"])
    assert credentials["username"] == database["MasterUsername"]
    assert len(credentials["password"]) == 40
    assert credentials["host"] == database["Endpoint"]["Address"]  # where the tasks read it


def test_logs_are_forgotten_and_alarms_and_dashboard_stand(deployed: Deployed) -> None:
    (group,) = deployed.client("logs").describe_log_groups(logGroupNamePrefix=deployed.service_parts["LogGroup"])[
        "logGroups"
    ]
    assert group["retentionInDays"] == 30
    cloudwatch = deployed.client("cloudwatch")
    counts = {
        stack: len(cloudwatch.describe_alarms(AlarmNamePrefix=f"{stack}-")["MetricAlarms"])
        for stack in (deployed.data, deployed.service, deployed.monitoring)
    }
    assert list(counts.values()) == [2 if deployed.settings.create_database else 0, 2, 5]
    body = deployed.client("cloudwatch").get_dashboard(DashboardName=deployed.service)["DashboardBody"]
    assert len(json.loads(body)["widgets"]) == (9 if deployed.settings.create_database else 7)
