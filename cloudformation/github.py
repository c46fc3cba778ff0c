"""Roles for a workflow on GitHub: it proves who it is by OpenID Connect, so that no access key is stored there."""

from __future__ import annotations

from troposphere import Equals, GetAtt, If, Not, NoValue, Output, Parameter, Ref, Sub, Template, iam

from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK
from cloudformation.standalone import add_parameter, new_template

MAKES_PROVIDER, HAS_BOUNDARY = "MakesProvider", "HasBoundary"
_ISSUER = "token.actions.githubusercontent.com"
_STACKS = (
    "arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${ProjectName}-${EnvironmentName}-*"
)
_ROLES = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${ProjectName}-${EnvironmentName}-*"


def github_stack() -> Template:
    """Return the template of a workflow's role, and of the role under which CloudFormation changes the service."""
    template = new_template("mlapi: roles for a workflow on GitHub")
    _add_parameters(template)
    template.add_condition(MAKES_PROVIDER, Equals(Ref("ExistingProviderArn"), ""))
    template.add_condition(HAS_BOUNDARY, Not(Equals(Ref("PermissionsBoundaryArn"), "")))
    provider = template.add_resource(
        iam.OIDCProvider(
            "Provider",
            Condition=MAKES_PROVIDER,
            Url=f"https://{_ISSUER}",
            ClientIdList=["sts.amazonaws.com"],
            Tags=tags("github"),
        )
    )
    stack_role = template.add_resource(_stack_role())
    role = template.add_resource(_workflow_role(provider, stack_role))
    for name, part, description in (
        ("WorkflowRoleArn", role, "The variable AWS_ROLE_ARN of the environment on GitHub"),
        ("StackRoleArn", stack_role, "The variable AWS_STACK_ROLE_ARN of the environment on GitHub"),
    ):
        template.add_output(Output(name, Value=GetAtt(part, "Arn"), Description=description))
    return template


def _add_parameters(template: Template) -> None:
    for name, default, pattern, description in (
        (DATA_STACK, "mlapi-dev-data", "[A-Za-z][A-Za-z0-9-]{0,127}", "Name of the data stack, with the repository."),
        ("GithubRepository", "", r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", "Owner and name, such as example/models."),
        ("ExistingProviderArn", None, r"|arn:aws[a-z-]*:iam::\d{12}:oidc-provider/.+",
         "The account's provider for GitHub, if it exists already. An account can have only one."),
        ("PermissionsBoundaryArn", None, r"|arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+",
         "Policy that bounds both roles, and every role that a workflow makes."),
    ):  # fmt: skip
        # a repository has no default: a wrong one would let strangers deploy
        given = {} if default == "" else {"Default": default or ""}
        add_parameter(
            template,
            Parameter(name, Type="String", AllowedPattern=f"^({pattern})$", Description=description, **given),
        )


def _workflow_role(provider: iam.OIDCProvider, stack_role: iam.Role) -> iam.Role:
    return iam.Role(
        "WorkflowRole",
        MaxSessionDuration=3600,
        PermissionsBoundary=If(HAS_BOUNDARY, Ref("PermissionsBoundaryArn"), NoValue),
        AssumeRolePolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Federated": If(MAKES_PROVIDER, Ref(provider), Ref("ExistingProviderArn"))},
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {
                        "StringEquals": {
                            f"{_ISSUER}:aud": "sts.amazonaws.com",
                            # The environment, not a branch: GitHub's own rules say who may deploy to it.
                            f"{_ISSUER}:sub": Sub("repo:${GithubRepository}:environment:${EnvironmentName}"),
                        }
                    },
                }
            ],
        },
        Policies=[
            iam.Policy(
                PolicyName="Deploy",
                PolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [*_images(), *_stacks(), _pass(stack_role), *_looks()],
                },
            )
        ],
        Tags=tags("workflow"),
    )


def _images() -> list[dict[str, object]]:
    return [
        {"Sid": "LogInToEcr", "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {
            "Sid": "PushAndReadImages",
            "Effect": "Allow",
            "Action": [
                "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
                "ecr:DescribeImageScanFindings", "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload",
                "ecr:ListImages", "ecr:PutImage", "ecr:UploadLayerPart",
            ],
            "Resource": imported(DATA_STACK, "RepositoryArn"),
        },
    ]  # fmt: skip


def _stacks() -> list[dict[str, object]]:
    return [
        {
            "Sid": "DeployStacks",
            "Effect": "Allow",
            "Action": [
                "cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet", "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents", "cloudformation:DescribeStackResources",
                "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet", "cloudformation:GetTemplate",
                "cloudformation:UpdateTerminationProtection",
            ],
            "Resource": Sub(f"{_STACKS}/*"),
        },
        {
            "Sid": "ReadTemplates",
            "Effect": "Allow",
            "Action": ["cloudformation:GetTemplateSummary", "cloudformation:ValidateTemplate"],
            "Resource": "*",
        },
    ]  # fmt: skip


def _pass(stack_role: iam.Role) -> dict[str, object]:
    return {
        "Sid": "HandOverTheStackRole",
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": GetAtt(stack_role, "Arn"),
        "Condition": {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
    }


def _looks() -> list[dict[str, object]]:
    """What a deployment looks at before and after: alarms, the service, the traffic, the roles that AWS makes."""
    account = "${AWS::Region}:${AWS::AccountId}"
    own = "${ProjectName}-${EnvironmentName}-*"
    linked = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/*"
    return [
        _look("Alarms", "cloudwatch:DescribeAlarms", Sub(f"arn:${{AWS::Partition}}:cloudwatch:{account}:alarm:{own}")),
        _look("Service", "ecs:DescribeServices", Sub(f"arn:${{AWS::Partition}}:ecs:{account}:service/{own}")),
        _look("Roles", "iam:GetRole", Sub(linked)),
        # these know no resource
        _look("Traffic", ["cloudwatch:GetMetricStatistics", "elasticloadbalancing:DescribeRules"], "*"),
    ]


def _look(name: str, action: str | list[str], resource: object) -> dict[str, object]:
    return {"Sid": f"LookAt{name}", "Effect": "Allow", "Action": action, "Resource": resource}


def _stack_role() -> iam.Role:
    return iam.Role(
        "StackRole",
        PermissionsBoundary=If(HAS_BOUNDARY, Ref("PermissionsBoundaryArn"), NoValue),
        AssumeRolePolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudformation.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
                }
            ],
        },
        Policies=[
            iam.Policy(
                PolicyName="ChangeTheService",
                PolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [_service_parts(), _tasks_port(), *_service_roles()],
                },
            )
        ],
        Metadata=skipped_checks(
            CKV_AWS_111="CloudFormation names what it makes by itself; only the service's kinds of parts are allowed",
            CKV_AWS_109="It may manage roles under the environment's own names alone, bounded where a boundary is set",
        ),
        Tags=tags("stacks"),
    )


def _service_parts() -> dict[str, object]:
    """The kinds of parts of the stacks service and monitoring. The network and the data stay an administrator's."""
    return {
        "Sid": "ChangeServiceAndMonitoring",
        "Effect": "Allow",
        "Action": [
            "application-autoscaling:*", "cloudwatch:*", "ecs:*", "elasticloadbalancing:*", "events:*",
            "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DescribeLogGroups", "logs:ListTagsForResource",
            "apigateway:*", "servicediscovery:*", "route53:CreateHostedZone", "route53:DeleteHostedZone",
            "route53:GetHostedZone", "route53:ListHostedZonesByName", "route53:ChangeResourceRecordSets",
            "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeResourcePolicies", "logs:GetLogDelivery",
            "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
            "logs:PutRetentionPolicy", "logs:AssociateKmsKey", "logs:TagResource", "logs:UntagResource", "lambda:*",
            "wafv2:*",
            "ec2:Describe*", "ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress",
        ],
        "Resource": "*",
    }  # fmt: skip


def _tasks_port() -> dict[str, object]:
    """Return the statement that lets the service's stack open the port of gRPC: in the tasks' own group alone."""
    return {
        "Sid": "OpenTheTasksPort",
        "Effect": "Allow",
        "Action": ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"],
        "Resource": Sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:security-group/*"),
        "Condition": {"StringEquals": {"aws:ResourceTag/Name": Sub("${ProjectName}-${EnvironmentName}-tasks")}},
    }


def _service_roles() -> list[dict[str, object]]:
    bounded = {"ArnEquals": {"iam:PermissionsBoundary": Ref("PermissionsBoundaryArn")}}
    making = {
        "Sid": "MakeTheServicesRoles",
        "Effect": "Allow",
        "Action": ["iam:CreateRole", "iam:PutRolePolicy"],
        "Resource": Sub(_ROLES),
    }
    return [
        # A new role carries the boundary if there is one, so that a workflow cannot make itself a mightier role.
        If(HAS_BOUNDARY, {**making, "Condition": bounded}, making),
        {
            "Sid": "ChangeTheServicesRoles",
            "Effect": "Allow",
            "Action": [
                "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy", "iam:TagRole",
                "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
            ],
            "Resource": Sub(_ROLES),
        },
        {
            "Sid": "HandOverTheServicesRoles",
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": Sub(_ROLES),
            "Condition": {
                "StringEquals": {
                    "iam:PassedToService": ["ecs-tasks.amazonaws.com", "ecs.amazonaws.com", "lambda.amazonaws.com"]
                }
            },
        },
    ]  # fmt: skip
