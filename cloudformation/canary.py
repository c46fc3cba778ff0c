"""A new image beside the old one: ECS shifts the traffic in one step, in a few or by a canary, and bakes it.

The service's template has its own form for it, since each rule that forwards needs two target groups.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from troposphere import Equals, GetAtt, If, NoValue, Ref, Sub, Template, awslambda, ecs, iam
from troposphere import elasticloadbalancingv2 as elb

from cloudformation.links import export, imported, skipped_checks, tags
from cloudformation.parameters import SHIFT_STACK
from cloudformation.standalone import new_template

IS_CANARY, IS_LINEAR, ALTERNATE_IS_LIVE = "ShiftsByCanary", "ShiftsLinearly", "AlternateIsLive"
# A request with this header goes to the new image before anybody else's does.
TEST_HEADER = "X-Mlapi-Revision"
_SMOKE_SECONDS = 120
_SOURCE = Path(__file__).with_name("smoke_test.py")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two target groups for one listener rule: ECS moves the rule's weights from one to the other."""

    main: elb.TargetGroup
    alternate: elb.TargetGroup

    def forward(self, *, order: int = 1) -> elb.ListenerRuleAction:
        """Return the action that forwards to the group that is live now.

        CloudFormation writes the weights again whenever it changes the rule. So they say what is live, or a changed
        condition would send the traffic to a group without tasks.
        """
        weights = ((self.main, If(ALTERNATE_IS_LIVE, 0, 100)), (self.alternate, If(ALTERNATE_IS_LIVE, 100, 0)))
        groups = [elb.TargetGroupTuple(TargetGroupArn=Ref(group), Weight=weight) for group, weight in weights]
        return elb.ListenerRuleAction(Type="forward", Order=order, ForwardConfig=elb.ForwardConfig(TargetGroups=groups))


def add_conditions(template: Template) -> None:
    """Name what the parameters mean for the shift of traffic."""
    template.add_condition(IS_CANARY, Equals(Ref("DeploymentStrategy"), "CANARY"))
    template.add_condition(IS_LINEAR, Equals(Ref("DeploymentStrategy"), "LINEAR"))
    template.add_condition(ALTERNATE_IS_LIVE, Equals(Ref("LiveTargetGroup"), "alternate"))


def deployment_options(load_balancer: elb.LoadBalancer, *, url: object) -> dict[str, object]:
    """Return what a deployment configuration says of the shift; `url` is where callers reach the service."""
    percent, minutes = Ref("ShiftPercent"), Ref("BakeMinutes")
    by_canary = ecs.CanaryConfiguration(CanaryPercent=percent, CanaryBakeTimeInMinutes=minutes)
    linearly = ecs.LinearConfiguration(StepPercent=percent, StepBakeTimeInMinutes=minutes)
    smoke_test = ecs.DeploymentLifecycleHook(
        HookTargetArn=imported(SHIFT_STACK, "SmokeTestArn"),
        RoleArn=imported(SHIFT_STACK, "SmokeTestCallerArn"),
        LifecycleStages=["POST_TEST_TRAFFIC_SHIFT"],
        HookDetails={
            "url": url,
            "address": GetAtt(load_balancer, "DNSName"),
            "headers": {TEST_HEADER: Ref("AWS::StackName")},
        },
    )
    return {
        "Strategy": Ref("DeploymentStrategy"),
        "BakeTimeInMinutes": minutes,
        "CanaryConfiguration": If(IS_CANARY, by_canary, NoValue),
        "LinearConfiguration": If(IS_LINEAR, linearly, NoValue),
        "LifecycleHooks": [smoke_test],
    }


def advanced(pair: Pair, rule: object, *, test_rule: object = NoValue) -> ecs.AdvancedConfiguration:
    """Return what ECS needs to move a rule from one target group to the other."""
    return ecs.AdvancedConfiguration(
        AlternateTargetGroupArn=Ref(pair.alternate),
        ProductionListenerRule=rule,
        TestListenerRule=test_rule,
        RoleArn=imported(SHIFT_STACK, "TrafficShifterArn"),
    )


def shift_stack() -> Template:
    """Return the template of what a shift of traffic needs: the smoke test, and the roles of ECS."""
    template = new_template("mlapi: the smoke test before a shift of traffic, and the roles of ECS for it")
    shifter = template.add_resource(service_role("TrafficShifter", "ecs", "ShiftTraffic", _shift_traffic()))
    runner = template.add_resource(service_role("SmokeTestRole", "lambda", "WriteLogs", write_lambda_logs()))
    function = template.add_resource(_smoke_test(runner))
    invoke = [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": GetAtt(function, "Arn")}]
    caller = template.add_resource(service_role("SmokeTestCaller", "ecs", "CallSmokeTest", invoke))
    export(template, "SmokeTestArn", GetAtt(function, "Arn"), "ECS calls it before it shifts traffic")
    export(template, "SmokeTestCallerArn", GetAtt(caller, "Arn"), "The role under which ECS calls it")
    export(template, "TrafficShifterArn", GetAtt(shifter, "Arn"), "The role under which ECS moves rules and tasks")
    return template


def service_role(name: str, service: str, policy: str, statements: Sequence[object]) -> iam.Role:
    """Return a role of one service of this account, with one policy."""
    return iam.Role(
        name,
        AssumeRolePolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": f"{service}.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
                }
            ],
        },
        Policies=[
            iam.Policy(PolicyName=policy, PolicyDocument={"Version": "2012-10-17", "Statement": statements}),
        ],
        Tags=tags(name),
    )


def _shift_traffic() -> list[dict[str, object]]:
    balancers = "arn:${AWS::Partition}:elasticloadbalancing:${AWS::Region}:${AWS::AccountId}"
    return [
        {
            "Sid": "LookAtTheBalancer",  # these know no resource
            "Effect": "Allow",
            "Action": [
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
            ],
            "Resource": "*",
        },
        {
            "Sid": "MoveRules",
            "Effect": "Allow",
            "Action": "elasticloadbalancing:ModifyRule",
            "Resource": Sub(f"{balancers}:listener-rule/*/*/*/*/*"),
        },
        {
            "Sid": "MoveTasks",
            "Effect": "Allow",
            "Action": ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
            "Resource": Sub(f"{balancers}:targetgroup/*/*"),
        },
    ]


def write_lambda_logs() -> list[dict[str, object]]:
    """Return the statements that let a function of the stack write its log."""
    group = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/lambda/${AWS::StackName}-*"
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    return [{"Effect": "Allow", "Action": actions, "Resource": Sub(group)}]


def _smoke_test(role: iam.Role) -> awslambda.Function:
    return awslambda.Function(
        "SmokeTest",
        Runtime="python3.13",
        Architectures=["arm64"],
        Handler="index.handler",
        Timeout=_SMOKE_SECONDS,
        Role=GetAtt(role, "Arn"),
        Code=awslambda.Code(ZipFile=source()),
        Metadata=skipped_checks(
            CKV_AWS_115="ECS calls it once a deployment; reserved capacity would be taken from other functions",
            CKV_AWS_116="Its answer is what counts; without one ECS rolls back",
            CKV_AWS_117="It calls the public balancer, as callers do",
        ),
        Tags=tags("smoke-test"),
    )


def source(path: Path = _SOURCE) -> str:
    """Return a function's code without its docstrings and comments, as a template carries it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.unparse(tree)
