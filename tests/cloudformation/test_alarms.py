"""What is watched, who hears of it, and what the dashboard shows."""

import json

from tests.cloudformation.resolving import of_type, resources

EMAIL = "ops@example.com"


def test_alarms_watch_balancer_tasks_models_and_database() -> None:
    alarms = of_type(resources("service"), "CloudWatch::Alarm")
    assert {alarm["MetricName"] for alarm in alarms.values()} == {
        "HTTPCode_ELB_5XX_Count",
        "HTTPCode_Target_5XX_Count",
        "TargetConnectionErrorCount",
        "RejectedConnectionCount",
        "TargetResponseTime",
        "HealthyHostCount",
        "ReplicaFailed",
        "FreeStorageSpace",
        "CPUUtilization",
    }
    assert alarms["SlowAnswers"]["ExtendedStatistic"] == "p99"


def test_one_replica_that_cannot_load_a_model_is_an_alarm_within_a_minute() -> None:
    alarm = of_type(resources("service"), "CloudWatch::Alarm")["ReplicaFailed"]
    assert (alarm["Namespace"], alarm["Threshold"], alarm["Statistic"]) == ("mlapi", 1, "Maximum")
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 60
    assert [dimension["Name"] for dimension in alarm["Dimensions"]] == ["Service"]


def test_no_database_has_no_alarms() -> None:
    alarms = of_type(resources("service", create_database=False), "CloudWatch::Alarm")
    assert not [name for name in alarms if name.startswith("Database")]


def test_alarms_and_failed_deployments_are_mailed_to_the_address_given() -> None:
    found = resources("service", alarm_email=EMAIL)
    topic = found["AlarmTopic"]["Properties"]
    assert topic["Subscription"] == [{"Protocol": "email", "Endpoint": EMAIL}]
    for alarm in of_type(found, "CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    rule = found["DeploymentFailed"]["Properties"]
    assert rule["EventPattern"]["detail"] == {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]}


def test_without_an_address_there_is_no_topic() -> None:
    found = resources("service")
    assert not of_type(found, "SNS::Topic")
    assert not [alarm for alarm in of_type(found, "CloudWatch::Alarm").values() if "AlarmActions" in alarm]


def test_dashboard_is_json_with_a_graph_for_callers_tasks_models_and_database() -> None:
    body = resources("service")["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0]
    titles = [widget["properties"]["title"] for widget in json.loads(body)["widgets"]]
    assert len(titles) == len(set(titles)) == 8
    assert "Replicas that cannot load a model" in titles
