"""What AWS asks for each part: one dated table, and which resource types are billed at all.

USD in us-east-1, read in AWS's public price pages in November 2026. Other regions differ, most by under a third.
"""

from __future__ import annotations

from dataclasses import dataclass

AS_OF = "November 2026"
REGION = "us-east-1"
HOURS = 730  # of a month, as AWS counts


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs, and the page that says so."""

    usd: float
    unit: str
    source: str


_FARGATE = "https://aws.amazon.com/fargate/pricing/"
_BALANCER = "https://aws.amazon.com/elasticloadbalancing/pricing/"
_VPC = "https://aws.amazon.com/vpc/pricing/"
_PRIVATELINK = "https://aws.amazon.com/privatelink/pricing/"
_RDS = "https://aws.amazon.com/rds/postgresql/pricing/"
_SECRETS = "https://aws.amazon.com/secrets-manager/pricing/"
_ECR = "https://aws.amazon.com/ecr/pricing/"
_S3 = "https://aws.amazon.com/s3/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_WAF = "https://aws.amazon.com/waf/pricing/"

PRICES: dict[str, Price] = {
    "fargate-vcpu-arm64": Price(0.03238, "vCPU-hour", _FARGATE),
    "fargate-gb-arm64": Price(0.00356, "GB-hour", _FARGATE),
    "fargate-vcpu-x86_64": Price(0.04048, "vCPU-hour", _FARGATE),
    "fargate-gb-x86_64": Price(0.004445, "GB-hour", _FARGATE),
    "balancer": Price(0.0225, "hour", _BALANCER),
    "balancer-capacity": Price(0.008, "LCU-hour", _BALANCER),
    "public-address": Price(0.005, "hour", _VPC),
    "nat-gateway": Price(0.045, "hour", _VPC),
    "nat-data": Price(0.045, "GB", _VPC),
    "endpoint": Price(0.01, "hour and zone", _PRIVATELINK),
    "endpoint-data": Price(0.01, "GB", _PRIVATELINK),
    "db.t4g.micro": Price(0.016, "hour", _RDS),
    "db.t4g.small": Price(0.032, "hour", _RDS),
    "db.t4g.medium": Price(0.065, "hour", _RDS),
    "database-storage": Price(0.115, "GB-month", _RDS),
    "secret": Price(0.40, "secret", _SECRETS),
    "images": Price(0.10, "GB-month", _ECR),
    "bucket": Price(0.023, "GB-month", _S3),
    "logs": Price(0.50, "GB in", _CLOUDWATCH),
    "alarm": Price(0.10, "alarm", _CLOUDWATCH),
    "metric": Price(0.30, "metric", _CLOUDWATCH),
    "dashboard": Price(3.00, "dashboard", _CLOUDWATCH),
    "web-acl": Price(5.00, "web ACL", _WAF),
    "web-acl-rule": Price(1.00, "rule", _WAF),
    "web-acl-requests": Price(0.60, "million requests", _WAF),
}

# Spot is sold at up to 70 % off; the rate moves, so this is the best case and the bill says so.
SPOT_FACTOR = 0.30

# CloudWatch's own free part, for every account and always.
FREE_ALARMS, FREE_METRICS, FREE_DASHBOARDS = 10, 10, 3

# Which prices a resource type brings with it.
BILLED: dict[str, tuple[str, ...]] = {
    "AWS::EC2::EIP": ("public-address",),
    "AWS::EC2::NatGateway": ("nat-gateway", "nat-data"),
    "AWS::EC2::VPCEndpoint": ("endpoint", "endpoint-data"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ("balancer", "balancer-capacity", "public-address"),
    "AWS::ECS::Service": (
        "fargate-vcpu-arm64",
        "fargate-gb-arm64",
        "fargate-vcpu-x86_64",
        "fargate-gb-x86_64",
        "public-address",
    ),
    "AWS::RDS::DBInstance": ("db.t4g.micro", "db.t4g.small", "db.t4g.medium", "database-storage"),
    "AWS::SecretsManager::Secret": ("secret",),
    "AWS::ECR::Repository": ("images",),
    "AWS::S3::Bucket": ("bucket",),
    "AWS::Logs::LogGroup": ("logs",),
    "AWS::CloudWatch::Alarm": ("alarm", "metric"),
    "AWS::CloudWatch::Dashboard": ("dashboard",),
    "AWS::WAFv2::WebACL": ("web-acl", "web-acl-rule", "web-acl-requests"),
}

# What costs nothing by itself.
FREE: frozenset[str] = frozenset(
    {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::ECS::Cluster",
        "AWS::ECS::TaskDefinition",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::Events::Rule",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::RDS::DBParameterGroup",
        "AWS::RDS::DBSubnetGroup",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",  # a thousand mails a month are free
        "AWS::SNS::TopicPolicy",
        "AWS::SecretsManager::SecretTargetAttachment",
        "AWS::WAFv2::WebACLAssociation",
    }
)
