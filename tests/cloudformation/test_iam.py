"""Properties 18 to 20 as they are written; test_policies.py tries them."""

from typing import Any

import pytest

from tests.cloudformation.resolving import of_type, resources


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    return [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]


@pytest.mark.parametrize("role", ["ExecutionRole", "TaskRole"])
def test_role_trusts_own_tasks_and_has_no_managed_policy(role: str) -> None:
    properties = resources("service")[role]["Properties"]
    (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert "ManagedPolicyArns" not in properties
    assert "RoleName" not in properties  # a fixed name would ask for CAPABILITY_NAMED_IAM


def test_execution_role_names_everything_but_the_login() -> None:
    everything = [s for s in statements(resources("service")["ExecutionRole"]["Properties"]) if s["Resource"] == "*"]
    assert [s["Action"] for s in everything] == ["ecr:GetAuthorizationToken"]


def test_task_role_lists_and_reads_models_and_nothing_else() -> None:
    found = resources("service")
    actions = [action for s in statements(found["TaskRole"]["Properties"]) for action in s["Action"]]
    assert actions == ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"]
    assert not of_type(found, "IAM::Policy")


def test_uploads_are_allowed_when_asked_for_and_deletes_never() -> None:
    (policy,) = of_type(resources("service", allow_admin_upload=True), "IAM::Policy").values()
    assert [s["Action"] for s in policy["PolicyDocument"]["Statement"]] == ["s3:PutObject"]


def test_shell_gets_its_messages_only_while_it_is_enabled() -> None:
    (policy,) = of_type(resources("service", enable_exec=True), "IAM::Policy").values()
    assert {a.partition(":")[0] for a in policy["PolicyDocument"]["Statement"][0]["Action"]} == {"ssmmessages"}


@pytest.mark.parametrize("boundary", ["", "arn:aws:iam::123456789012:policy/developers"])
def test_permissions_boundary_bounds_both_roles_where_given(boundary: str) -> None:
    roles = of_type(resources("service", permissions_boundary_arn=boundary), "IAM::Role").values()
    assert [role.get("PermissionsBoundary", "") for role in roles] == [boundary, boundary]
