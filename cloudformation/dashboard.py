"""One page in CloudWatch: what callers see, what the tasks do, which models are served, how the database is."""

from __future__ import annotations

import json

from troposphere import If, Ref, Sub, Template, cloudwatch

from cloudformation.alarms import METRICS_NAMESPACE, database_alarm_arns
from cloudformation.links import imported
from cloudformation.parameters import SERVICE_STACK
from cloudformation.secrets import HAS_DATABASE

_WIDTH, _HEIGHT = 12, 6
_GRAPHS = 7  # those of the service, before the database's


def add_dashboard(template: Template) -> cloudwatch.Dashboard:
    """Add the dashboard, named like the service's stack."""
    cpu, storage = database_alarm_arns()
    values: dict[str, object] = {
        "Balancer": imported(SERVICE_STACK, "LoadBalancerFullName"),
        "Targets": imported(SERVICE_STACK, "TargetGroupFullName"),
        "Cluster": imported(SERVICE_STACK, "Cluster"),
        "Tasks": imported(SERVICE_STACK, "Service"),
        "Service": Ref(SERVICE_STACK),
        "Database": If(HAS_DATABASE, Sub(f",{_body(_database_widgets())}", {"Cpu": cpu, "Storage": storage}), ""),
    }
    body = f'{{"widgets":[{_body(_widgets())}${{Database}}]}}'
    return template.add_resource(
        cloudwatch.Dashboard("Dashboard", DashboardName=Ref(SERVICE_STACK), DashboardBody=Sub(body, values))
    )


def _body(widgets: list[dict[str, object]]) -> str:
    return ",".join(json.dumps(widget, separators=(",", ":")) for widget in widgets)


def _widgets() -> list[dict[str, object]]:
    alb, balancer = "AWS/ApplicationELB", ["LoadBalancer", "${Balancer}"]
    targets = [*balancer, "TargetGroup", "${Targets}"]
    tasks = ["ClusterName", "${Cluster}", "ServiceName", "${Tasks}"]
    own = [METRICS_NAMESPACE, "Service", "Model"]
    graphs: list[tuple[str, list[list[object]]]] = [
        ("Requests and errors", [
            [alb, "RequestCount", *balancer, {"stat": "Sum"}],
            [alb, "HTTPCode_Target_4XX_Count", *targets, {"stat": "Sum"}],
            [alb, "HTTPCode_Target_5XX_Count", *targets, {"stat": "Sum"}],
            [alb, "HTTPCode_ELB_5XX_Count", *balancer, {"stat": "Sum"}],
        ]),
        ("Time to answer (s)", [
            [alb, "TargetResponseTime", *targets, {"stat": stat}] for stat in ("p50", "p90", "p99")
        ]),
        ("Tasks", [
            [alb, "HealthyHostCount", *targets, {"stat": "Minimum"}],
            [alb, "UnHealthyHostCount", *targets, {"stat": "Maximum"}],
        ]),
        ("CPU and memory of the tasks (%)", [
            ["AWS/ECS", "CPUUtilization", *tasks, {"stat": "Average"}],
            ["AWS/ECS", "MemoryUtilization", *tasks, {"stat": "Maximum"}],
        ]),
        ("Predictions by model", [[_search(own, "Requests", "Sum")]]),
        ("Time of a prediction by model, p99 (ms)", [[_search(own, "LatencyMs", "p99")]]),
        ("Replicas that cannot load a model", [[_search(own, "ReplicaFailed", "Maximum")]]),
    ]  # fmt: skip
    return [_graph(index, title, metrics) for index, (title, metrics) in enumerate(graphs)]


def _database_widgets() -> list[dict[str, object]]:
    # An alarm's graph needs no identifier of the instance, which another snapshot's would have changed.
    titles = {"Database: CPU (%)": "${Cpu}", "Database: free storage (bytes)": "${Storage}"}
    return [
        _widget(index, title, {"annotations": {"alarms": [arn]}})
        for index, (title, arn) in enumerate(titles.items(), start=_GRAPHS)
    ]


def _search(schema: list[str], metric: str, statistic: str) -> dict[str, object]:
    dimensions = ",".join(schema)
    # found by search: models come and go without a new template
    expression = f"SEARCH('{{{dimensions}}} MetricName=\"{metric}\" Service=\"${{Service}}\"', '{statistic}', 60)"
    return {"expression": expression, "label": "${!PROP('Dim.Model')}"}


def _graph(index: int, title: str, metrics: list[list[object]]) -> dict[str, object]:
    return _widget(index, title, {"period": 60, "metrics": metrics})


def _widget(index: int, title: str, properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "metric",
        "x": (index % 2) * _WIDTH,
        "y": (index // 2) * _HEIGHT,
        "width": _WIDTH,
        "height": _HEIGHT,
        "properties": {"title": title, "region": "${AWS::Region}", "view": "timeSeries", **properties},
    }
