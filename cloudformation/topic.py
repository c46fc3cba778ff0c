"""Where every alarm of an environment goes: one topic of the data stack. A confirmed address outlives the service."""

from __future__ import annotations

from troposphere import Equals, Not, Ref, Template, sns

from cloudformation.key import key_or
from cloudformation.links import skipped_checks, tags

HAS_EMAIL = "HasAlarmEmail"


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_EMAIL, Not(Equals(Ref("AlarmEmail"), "")))


def add_topic(template: Template) -> sns.Topic:
    """Add the topic, and the subscription of `AlarmEmail` if one is given.

    The topic is always there and costs nothing: were it not, setting the address later would change an export in use.
    """
    topic = template.add_resource(
        sns.Topic(
            "AlarmTopic",
            KmsMasterKeyId=key_or(),
            Metadata=skipped_checks(
                CKV_AWS_26="CloudWatch cannot publish to a topic under AWS's own key; KeyArn chooses a customer key"
            ),
            Tags=tags("alarms"),
        )
    )
    template.add_resource(
        sns.SubscriptionResource(
            "AlarmSubscription",
            Condition=HAS_EMAIL,
            TopicArn=Ref(topic),
            Protocol="email",
            Endpoint=Ref("AlarmEmail"),
        )
    )
    template.add_resource(
        sns.TopicPolicy(
            "AlarmTopicPolicy",
            Topics=[Ref(topic)],
            PolicyDocument={
                "Version": "2012-10-17",
                "Statement": [_may_publish(topic, service) for service in ("cloudwatch", "events")],
            },
        )
    )
    return topic


def _may_publish(topic: sns.Topic, service: str) -> dict[str, object]:
    return {
        "Sid": f"{service.capitalize()}MayPublish",
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": Ref(topic),
        "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
    }
