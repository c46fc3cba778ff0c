"""A web ACL in front of the balancer: the one given, one with a rate limit or AWS's managed rules, or none.

It belongs to the monitoring stack, which knows the balancer by its name.
"""

from __future__ import annotations

from troposphere import Condition, Equals, GetAtt, If, Not, NoValue, Or, Ref, Sub, Template, wafv2

from cloudformation.links import imported, tags
from cloudformation.parameters import SERVICE_STACK

HAS_WEB_ACL, MAKES_WEB_ACL = "HasWebAcl", "MakesWebAcl"
HAS_RATE_LIMIT, HAS_MANAGED_RULES = "HasRateLimit", "HasManagedRules"
# AWS's rule groups, and the rules of each that only count: predictions have bodies over 8 KB, and a program that calls
# an API may send no User-Agent.
MANAGED_RULES: dict[str, tuple[str, ...]] = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesKnownBadInputsRuleSet": (),
    "AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY", "NoUserAgent_HEADER"),
}


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_WEB_ACL, Not(Equals(Ref("WebAclArn"), "")))
    template.add_condition(HAS_RATE_LIMIT, Not(Equals(Ref("RateLimit"), "0")))
    template.add_condition(HAS_MANAGED_RULES, Equals(Ref("ManagedRules"), "true"))
    template.add_condition(MAKES_WEB_ACL, Or(Condition(HAS_RATE_LIMIT), Condition(HAS_MANAGED_RULES)))


def add_web_acl(template: Template) -> None:
    """Add the association with the web ACL that was given, or a web ACL with the rules that were asked for."""
    acl = template.add_resource(_web_acl())
    for name, condition, arn in (
        ("GivenWebAcl", HAS_WEB_ACL, Ref("WebAclArn")),
        ("WebAclAssociation", MAKES_WEB_ACL, GetAtt(acl, "Arn")),
    ):
        template.add_resource(
            wafv2.WebACLAssociation(name, Condition=condition, ResourceArn=_balancer(), WebACLArn=arn)
        )


def _balancer() -> Sub:
    return Sub(
        "arn:${AWS::Partition}:elasticloadbalancing:${AWS::Region}:${AWS::AccountId}:loadbalancer/${Name}",
        {"Name": imported(SERVICE_STACK, "LoadBalancerFullName")},
    )


def _web_acl() -> wafv2.WebACL:
    managed = [_managed(name, counted, priority=at) for at, (name, counted) in enumerate(MANAGED_RULES.items(), 1)]
    return wafv2.WebACL(
        "WebAcl",
        Condition=MAKES_WEB_ACL,
        Scope="REGIONAL",
        DefaultAction=wafv2.DefaultAction(Allow=wafv2.AllowAction()),
        VisibilityConfig=_visible("web-acl"),
        Rules=[
            If(HAS_RATE_LIMIT, _rate_limit(), NoValue),
            *(If(HAS_MANAGED_RULES, rule, NoValue) for rule in managed),
        ],
        Tags=tags("web-acl"),
    )


def _rate_limit() -> wafv2.WebACLRule:
    return wafv2.WebACLRule(
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


def _managed(name: str, counted: tuple[str, ...], *, priority: int) -> wafv2.WebACLRule:
    overrides = [
        wafv2.RuleActionOverride(Name=rule, ActionToUse=wafv2.RuleAction(Count=wafv2.CountAction())) for rule in counted
    ]
    group = wafv2.ManagedRuleGroupStatement(VendorName="AWS", Name=name)
    if overrides:
        group.RuleActionOverrides = overrides
    return wafv2.WebACLRule(
        Name=name,
        Priority=priority,
        OverrideAction=wafv2.OverrideAction(**{"None": {}}),
        Statement=wafv2.Statement(ManagedRuleGroupStatement=group),
        VisibilityConfig=_visible(name),
    )


def _visible(name: str) -> wafv2.VisibilityConfig:
    return wafv2.VisibilityConfig(
        CloudWatchMetricsEnabled=True,
        SampledRequestsEnabled=True,
        MetricName=Sub(f"${{ProjectName}}-${{EnvironmentName}}-{name}"),
    )
