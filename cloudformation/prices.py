"""What AWS asks for each part: one dated table, and which resource types are billed at all.

USD in us-east-1, of AWS's public price pages in November 2026. Other regions differ, most by under a third.
Not read on AWS's own page: traffic to the internet and AWS Backup, which other pages of 2026 confirm, and SageMaker
serverless, which is unconfirmed.
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
_API_GATEWAY = "https://aws.amazon.com/api-gateway/pricing/"
_ROUTE_53 = "https://aws.amazon.com/route53/pricing/"
_VPC = "https://aws.amazon.com/vpc/pricing/"
_PRIVATELINK = "https://aws.amazon.com/privatelink/pricing/"
_RDS = "https://aws.amazon.com/rds/postgresql/pricing/"
_SECRETS = "https://aws.amazon.com/secrets-manager/pricing/"
_ECR = "https://aws.amazon.com/ecr/pricing/"
_S3 = "https://aws.amazon.com/s3/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_BACKUP = "https://aws.amazon.com/backup/pricing/"
_EC2 = "https://aws.amazon.com/ec2/pricing/on-demand/"
_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_SAGEMAKER = "https://aws.amazon.com/sagemaker/ai/pricing/"
_KMS = "https://aws.amazon.com/kms/pricing/"
_WAF = "https://aws.amazon.com/waf/pricing/"

PRICES: dict[str, Price] = {
    "fargate-vcpu-arm64": Price(0.03238, "vCPU-hour", _FARGATE),
    "fargate-gb-arm64": Price(0.00356, "GB-hour", _FARGATE),
    "fargate-vcpu-x86_64": Price(0.04048, "vCPU-hour", _FARGATE),
    "fargate-gb-x86_64": Price(0.004445, "GB-hour", _FARGATE),
    "balancer": Price(0.0225, "hour", _BALANCER),
    "balancer-capacity": Price(0.008, "LCU-hour", _BALANCER),
    "api-requests": Price(1.00, "million requests", _API_GATEWAY),
    "private-zone": Price(0.50, "zone", _ROUTE_53),
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
    "key": Price(1.00, "key", _KMS),
    "images": Price(0.10, "GB-month", _ECR),
    "data-out": Price(0.09, "GB", _EC2),
    "bucket-listing": Price(0.005, "thousand", _S3),
    "bucket": Price(0.023, "GB-month", _S3),
    "backup-database": Price(0.095, "GB-month", _BACKUP),
    "backup-bucket": Price(0.05, "GB-month", _BACKUP),
    "logs": Price(0.50, "GB in", _CLOUDWATCH),
    "flow-logs": Price(0.25, "GB in", _CLOUDWATCH),
    "alarm": Price(0.10, "alarm", _CLOUDWATCH),
    "metric": Price(0.30, "metric", _CLOUDWATCH),
    "dashboard": Price(3.00, "dashboard", _CLOUDWATCH),
    "lambda-requests": Price(0.20, "million requests", _LAMBDA),
    "lambda-gb-second": Price(0.0000133334, "GB-second", _LAMBDA),
    "sagemaker-serverless-2gb": Price(0.00004, "second", _SAGEMAKER),
    "sagemaker-data": Price(0.016, "GB", _SAGEMAKER),
    "ml.m5.large": Price(0.115, "hour", _SAGEMAKER),
    "web-acl": Price(5.00, "web ACL", _WAF),
    "web-acl-rule": Price(1.00, "rule", _WAF),
    "web-acl-requests": Price(0.60, "million requests", _WAF),
}

# Spot is sold at up to 70 % off; the rate moves, so this is the best case and the bill says so.
SPOT_FACTOR = 0.30

# Traffic to the internet, and CloudWatch's own free part, for every account and always.
FREE_OUT_GB = 100
FREE_ALARMS, FREE_METRICS, FREE_DASHBOARDS = 10, 10, 3

# Which prices a resource type brings with it.
BILLED: dict[str, tuple[str, ...]] = {
    # a request over 512 KB counts as several; the VPC link itself is free
    "AWS::ApiGatewayV2::Api": ("api-requests", "data-out"),
    "AWS::Backup::BackupVault": ("backup-database", "backup-bucket"),
    "AWS::EC2::EIP": ("public-address",),
    "AWS::EC2::FlowLog": ("flow-logs",),
    "AWS::EC2::NatGateway": ("nat-gateway", "nat-data"),
    "AWS::EC2::VPCEndpoint": ("endpoint", "endpoint-data"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ("balancer", "balancer-capacity", "public-address", "data-out"),
    "AWS::ECS::Service": (
        "fargate-vcpu-arm64",
        "fargate-gb-arm64",
        "fargate-vcpu-x86_64",
        "fargate-gb-x86_64",
        "public-address",
    ),
    "AWS::KMS::Key": ("key",),
    "AWS::RDS::DBInstance": ("db.t4g.micro", "db.t4g.small", "db.t4g.medium", "database-storage"),
    "AWS::SecretsManager::Secret": ("secret",),
    "AWS::ServiceDiscovery::PrivateDnsNamespace": ("private-zone",),
    "AWS::ECR::Repository": ("images",),
    "AWS::S3::Bucket": ("bucket", "bucket-listing"),
    "AWS::Logs::LogGroup": ("logs",),
    "AWS::CloudWatch::Alarm": ("alarm", "metric"),
    "AWS::CloudWatch::Dashboard": ("dashboard",),
    "AWS::WAFv2::WebACL": ("web-acl", "web-acl-rule", "web-acl-requests"),
}

# What is priced for the comparison with other ways alone.
ELSEWHERE: frozenset[str] = frozenset(
    {"lambda-requests", "lambda-gb-second", "sagemaker-serverless-2gb", "sagemaker-data", "ml.m5.large"}
)

# What costs nothing by itself.
FREE: frozenset[str] = frozenset(
    {
        "AWS::ApiGatewayV2::ApiMapping",
        "AWS::ApiGatewayV2::DomainName",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::ApiGatewayV2::VpcLink",
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::Backup::BackupPlan",
        "AWS::Backup::BackupSelection",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
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
        "AWS::KMS::Alias",
        "AWS::RDS::DBParameterGroup",
        "AWS::RDS::DBSubnetGroup",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",  # a thousand mails a month are free
        "AWS::SNS::TopicPolicy",
        "AWS::SecretsManager::SecretTargetAttachment",
        "AWS::ServiceDiscovery::Service",
        "AWS::WAFv2::WebACLAssociation",
    }
)
