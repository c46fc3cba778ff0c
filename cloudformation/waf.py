"""A web ACL in front of the balancer: the one given, one that limits each address's rate, or none."""

from __future__ import annotations

from troposphere import Equals, GetAtt, Not, Ref, Sub, Template, wafv2

from cloudformation.alb import Balancer
from cloudformation.links import tags

HAS_WEB_ACL, HAS_RATE_LIMIT = "HasWebAcl", "HasRateLimit"


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_WEB_ACL, Not(Equals(Ref("WebAclArn"), "")))
    template.add_condition(HAS_RATE_LIMIT, Not(Equals(Ref("RateLimit"), "0")))


def add_web_acl(template: Template, balancer: Balancer) -> None:
    """Add the association with the web ACL that was given, or a rate limit where one was asked for."""
    template.add_resource(
        wafv2.WebACLAssociation(
            "GivenWebAcl",
            Condition=HAS_WEB_ACL,
            ResourceArn=Ref(balancer.load_balancer),
            WebACLArn=Ref("WebAclArn"),
        )
    )
    limit = template.add_resource(_rate_limit())
    template.add_resource(
        wafv2.WebACLAssociation(
            "RateLimitAssociation",
            Condition=HAS_RATE_LIMIT,
            ResourceArn=Ref(balancer.load_balancer),
            WebACLArn=GetAtt(limit, "Arn"),
        )
    )


def _rate_limit() -> wafv2.WebACL:
    return wafv2.WebACL(
        "RateLimitAcl",
        Condition=HAS_RATE_LIMIT,
        Scope="REGIONAL",
        DefaultAction=wafv2.DefaultAction(Allow=wafv2.AllowAction()),
        VisibilityConfig=_visible("web-acl"),
        Rules=[
            wafv2.WebACLRule(
                Name="RatePerAddress",
                Priority=0,
                Action=wafv2.RuleAction(Block=wafv2.BlockAction()),
                Statement=wafv2.Statement(
                    RateBasedStatement=wafv2.RateBasedStatement(
                        AggregateKeyType="IP", Limit=Ref("RateLimit"), EvaluationWindowSec=300
                    )
                ),
                VisibilityConfig=_visible("rate-per-address"),
            )
        ],
        Tags=tags("rate-limit"),
    )


def _visible(name: str) -> wafv2.VisibilityConfig:
    return wafv2.VisibilityConfig(
        CloudWatchMetricsEnabled=True,
        SampledRequestsEnabled=True,
        MetricName=Sub(f"${{ProjectName}}-${{EnvironmentName}}-{name}"),
    )
