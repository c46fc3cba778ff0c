"""Alarms: their metrics, the rollback of a deployment, the receivers of mails, and the dashboard."""

import json
from typing import Any

import pytest

from tests.cloudformation.resolving import of_type, resources

EMAIL = "ops@example.com"
TOPIC = {"Fn::ImportValue": "mlapi-dev-data-AlarmTopicArn"}


def alarms(stack: str, **settings: Any) -> dict[str, dict[str, Any]]:
    return of_type(resources(stack, **settings), "CloudWatch::Alarm")


def test_alarms_watch_balancer_tasks_models_and_database() -> None:
    names = {name for stack in ("data", "service", "monitoring") for name in alarms(stack)}
    assert names == {
        "TargetErrors",
        "ReplicaFailed",
        "BalancerErrors",
        "ConnectionErrors",
        "RejectedConnections",
        "SlowAnswers",
        "NoHealthyTarget",
        "DatabaseStorage",
        "DatabaseCpu",
    }
    assert alarms("monitoring")["SlowAnswers"]["ExtendedStatistic"] == "p99"


def test_rollback_alarm_is_a_rate_with_minimum_requests() -> None:
    alarm = alarms("service")["TargetErrors"]
    # each request is a sample of 0 or 100: p90 is 100 where one in ten failed
    assert (alarm["MetricName"], alarm["ExtendedStatistic"], alarm["Threshold"]) == ("FailurePercent", "p90", 50)
    # CloudWatch evaluates no p90 of fewer than 10 / (1 - 0.9) samples then, and leaves the alarm as it was
    assert alarm["EvaluateLowSampleCountPercentile"] == "ignore"
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 300


def test_rollback_counts_predictions_and_no_health_checks() -> None:
    # the balancer's count of 5xx has the 503 of a readiness probe in it
    assert {alarm["Namespace"] for alarm in alarms("service").values()} == {"mlapi"}


def test_replica_that_cannot_load_raises_alarm_within_minute() -> None:
    alarm = alarms("service")["ReplicaFailed"]
    assert (alarm["Namespace"], alarm["Threshold"], alarm["Statistic"]) == ("mlapi", 1, "Maximum")
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 60
    assert [dimension["Name"] for dimension in alarm["Dimensions"]] == ["Service"]


def test_no_database_has_no_alarms() -> None:
    assert alarms("data", create_database=False) == {}


@pytest.mark.parametrize("stack", ["data", "service", "monitoring"])
def test_every_alarm_goes_to_the_topic(stack: str) -> None:
    topic = {"Ref": "AlarmTopic"} if stack == "data" else TOPIC
    for alarm in alarms(stack).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def test_topic_mails_the_address_and_receives_failed_deployments() -> None:
    subscription = resources("data", alarm_email=EMAIL)["AlarmSubscription"]["Properties"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", EMAIL)
    rule = resources("monitoring")["DeploymentFailed"]["Properties"]
    assert rule["EventPattern"]["detail"] == {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]}
    assert rule["Targets"][0]["Arn"] == TOPIC


def test_without_an_address_nobody_is_subscribed() -> None:
    assert not of_type(resources("data"), "SNS::Subscription")


@pytest.mark.parametrize(("database", "graphs"), [(True, 9), (False, 7)])
def test_dashboard_json_graphs_callers_tasks_models_and_database(*, database: bool, graphs: int) -> None:
    template, values = resources("monitoring", create_database=database)["Dashboard"]["Properties"]["DashboardBody"][
        "Fn::Sub"
    ]
    more = values["Database"]
    text = template.replace("${Database}", more["Fn::Sub"][0] if more else "")
    titles = [widget["properties"]["title"] for widget in json.loads(text)["widgets"]]
    assert len(titles) == len(set(titles)) == graphs
    assert "Replicas that cannot load a model" in titles
